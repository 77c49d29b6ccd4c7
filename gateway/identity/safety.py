"""Refuses configurations at startup that would let in unintended callers."""

from urllib.parse import urlsplit

from gateway.config.schema import Config, IdentityConfig, is_loopback
from gateway.errors import ConfigError
from gateway.identity.local import LocalMode
from gateway.identity.proxy import ProxyMode
from gateway.wire.hosts import parse_host


def refuse_unsafe(config: Config) -> None:
    """Raises ``ConfigError``, which says what would be right."""
    identity, host = config.identity, config.server.host
    if ProxyMode.name in identity.modes and not identity.proxy_addresses:
        raise ConfigError(
            "identity.modes contains proxy, but identity.proxy_addresses is empty: list the addresses from which the "
            f"header {identity.proxy_header} is trusted"
        )
    if ProxyMode.name in identity.modes and identity.proxy_header.lower() in _forwarded(config):
        raise ConfigError(
            f"containers.forward_headers contains {identity.proxy_header}, in which the proxy names the user "
            "(identity.proxy_header): it must not reach containers, and a client might have sent it"
        )
    if "jwt" in identity.modes:
        _refuse_incomplete(identity)
    _refuse_shared_hosts(config)
    if is_loopback(host):
        return
    if not identity.modes:
        raise ConfigError(
            f"server.host is {host!r}, but identity.modes is empty: set it to how callers identify themselves (tokens, "
            "jwt, proxy), or set server.host to 127.0.0.1 or ::1"
        )
    if LocalMode.name in identity.modes:
        raise ConfigError(
            f"server.host is {host!r}, but identity.modes contains local, with which everybody who reaches the gateway "
            "is its one user: set server.host to 127.0.0.1 or ::1, or identity.modes to tokens, jwt or proxy"
        )
    if not identity.allowed_hosts:
        raise ConfigError(
            f"server.host is {host!r}, but identity.allowed_hosts is empty: list the host names, without ports, that "
            "clients use for the gateway; requests for other names are refused"
        )


def _forwarded(config: Config) -> set[str]:
    return {name.lower() for name in config.containers.forward_headers}


def _refuse_shared_hosts(config: Config) -> None:
    """Otherwise a project's page would have the gateway's origin, or the rights of an allowed origin."""
    suffix = config.server.project_hosts.removeprefix("*").lower()
    if not suffix:
        return
    identity = config.identity
    for setting, names in (
        ("identity.allowed_hosts", [name.lower() for name in identity.allowed_hosts]),
        ("identity.allowed_origins", [_host_of(origin) for origin in identity.allowed_origins]),
        ("server.public_url", [_host_of(config.server.public_url)]),
    ):
        for name in names:
            if name.endswith(suffix) and "." not in name.removesuffix(suffix):
                raise ConfigError(f"{setting}: {name} is a project's host by server.project_hosts; use another name")


def _host_of(address: str) -> str:
    host = parse_host(address.partition("://")[2].partition("/")[0])
    return "" if host is None else host.name


def _refuse_incomplete(identity: IdentityConfig) -> None:
    for name in ("jwt_issuer", "jwt_audience", "jwt_jwks_url"):
        if not getattr(identity, name):
            raise ConfigError(f"identity.modes contains jwt, but identity.{name} is empty: anybody could make a JWT")
    try:
        url = urlsplit(identity.jwt_jwks_url)
        host = url.hostname or ""
    except ValueError:
        raise ConfigError(f"identity.jwt_jwks_url: {identity.jwt_jwks_url!r} is not a URL") from None
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(host)):
        raise ConfigError(
            f"identity.jwt_jwks_url: {identity.jwt_jwks_url!r} must begin with https://, otherwise the keys could be "
            "replaced on the way"
        )
