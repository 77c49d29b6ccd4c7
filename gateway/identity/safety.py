"""What of a configuration would let in whom nobody meant: refused at the start, with what would be right."""

from urllib.parse import urlsplit

from gateway.config.schema import Config, IdentityConfig, is_loopback
from gateway.errors import ConfigError
from gateway.identity.local import LocalMode
from gateway.identity.proxy import ProxyMode
from gateway.wire.hosts import parse_host


def refuse_unsafe(config: Config) -> None:
    """Raises ``ConfigError``."""
    identity, host = config.identity, config.server.host
    if ProxyMode.name in identity.modes and not identity.proxy_addresses:
        raise ConfigError(
            "identity.modes names proxy, but identity.proxy_addresses is empty: name the addresses from which the "
            f"header {identity.proxy_header} is to be believed"
        )
    if ProxyMode.name in identity.modes and identity.proxy_header.lower() in _forwarded(config):
        raise ConfigError(
            f"containers.forward_headers names {identity.proxy_header}, in which the proxy names the user "
            "(identity.proxy_header): containers are not told who asks, and somebody else might have sent it"
        )
    if "jwt" in identity.modes:
        _refuse_incomplete(identity)
    _refuse_shared_hosts(config)
    if is_loopback(host):
        return
    if not identity.modes:
        raise ConfigError(
            f"server.host is {host!r}, but identity.modes is empty: say with it how those who reach the gateway "
            "there identify themselves (tokens, jwt, proxy), or set server.host to 127.0.0.1 or ::1"
        )
    if LocalMode.name in identity.modes:
        raise ConfigError(
            f"server.host is {host!r}, but identity.modes names local, for which whoever reaches the gateway is its "
            "one user: set server.host to 127.0.0.1 or ::1, or identity.modes to tokens, jwt or proxy"
        )
    if not identity.allowed_hosts:
        raise ConfigError(
            f"server.host is {host!r}, but identity.allowed_hosts is empty: name the hosts by which clients reach the "
            "gateway, without ports; requests for other names are refused"
        )


def _forwarded(config: Config) -> set[str]:
    return {name.lower() for name in config.containers.forward_headers}


def _refuse_shared_hosts(config: Config) -> None:
    """A project's page would have the origin of the gateway, or the rights of a page that may do everything."""
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
            raise ConfigError(f"identity.modes names jwt, but identity.{name} is empty: a JWT could be anybody's")
    try:
        url = urlsplit(identity.jwt_jwks_url)
        host = url.hostname or ""
    except ValueError:
        raise ConfigError(f"identity.jwt_jwks_url: {identity.jwt_jwks_url!r} is no URL") from None
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(host)):
        raise ConfigError(
            f"identity.jwt_jwks_url: {identity.jwt_jwks_url!r} must begin with https://, or whoever is in between "
            "could put keys of their own there"
        )
