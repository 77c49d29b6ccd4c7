"""What of a configuration would let in whom nobody meant: refused at the start, with what would be right."""

from urllib.parse import urlsplit

from gateway.config import Config, IdentityConfig, is_loopback
from gateway.errors import ConfigError
from gateway.identity.jwt import JwtMode
from gateway.identity.local import LocalMode
from gateway.identity.proxy import ProxyMode


def refuse_unsafe(config: Config) -> None:
    """Raises ``ConfigError``."""
    identity, host = config.identity, config.server.host
    if ProxyMode.name in identity.modes and not identity.proxy_addresses:
        raise ConfigError(
            "identity.modes names proxy, but identity.proxy_addresses is empty: name the addresses from which the "
            f"header {identity.proxy_header} is to be believed"
        )
    if JwtMode.name in identity.modes:
        _refuse_incomplete(identity)
    if is_loopback(host):
        return
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
