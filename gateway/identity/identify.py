"""Who asks, by whichever of the configured modes knows."""

from collections.abc import Sequence

from gateway.config import IdentityConfig
from gateway.db.pool import Database
from gateway.errors import Unauthenticated
from gateway.identity.caller import Caller, Mode, Presented
from gateway.identity.jwt import JwtMode
from gateway.identity.local import LocalMode
from gateway.identity.proxy import Proxies, ProxyMode
from gateway.identity.tokens import Tokens


class Identity:
    """The configured modes, tried one after the other; ``local``, which knows everybody, is the last."""

    def __init__(self, modes: Sequence[Mode]) -> None:
        self._modes = sorted(modes, key=lambda mode: mode.name == LocalMode.name)

    async def identify(self, presented: Presented) -> Caller:
        """The caller; ``Unauthenticated`` where no mode knows them."""
        for mode in self._modes:
            caller = await mode.identify(presented)
            if caller is not None:
                return caller
        raise Unauthenticated(f"The request must show {', or '.join(mode.wants for mode in self._modes)}.")


def configured(config: IdentityConfig, database: Database) -> Identity:
    """The modes that the configuration names."""
    modes: dict[str, Mode] = {
        "local": LocalMode(),
        "tokens": Tokens(database),
        "jwt": JwtMode(config),
        "proxy": ProxyMode(Proxies(config.proxy_addresses), config.proxy_header),
    }
    return Identity([modes[name] for name in config.modes])
