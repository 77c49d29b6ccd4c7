"""What of a configuration would let in whom nobody meant: refused at the start, with what would be right."""

from gateway.config import Config, is_loopback
from gateway.errors import ConfigError
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
