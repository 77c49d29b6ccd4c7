"""Identifies callers by the configured modes."""

from collections.abc import Callable, Sequence

from aiohttp import hdrs

from gateway.config.schema import IdentityConfig
from gateway.db.pool import Database
from gateway.errors import Unauthenticated
from gateway.identity.caller import Caller, Mode, Presented
from gateway.identity.local import LocalMode
from gateway.identity.proxy import Proxies, ProxyMode
from gateway.identity.throttle import Throttle
from gateway.identity.tokens import Tokens


class Identity:
    """The configured modes, tried in order; ``local``, which accepts everybody, comes last."""

    def __init__(self, modes: Sequence[Mode], throttle: Throttle, proxies: Proxies) -> None:
        self._modes = sorted(modes, key=lambda mode: mode.name == LocalMode.name)
        self._throttle = throttle
        self._proxies = proxies

    async def identify(self, presented: Presented) -> Caller:
        """The caller; ``Unauthenticated`` if no mode identifies them, ``TooManyRequests`` after too many failures."""
        secret = presented.headers.get(hdrs.AUTHORIZATION)
        if secret is None:
            return await self._tried(presented)
        client = self._proxies.client_of(presented.headers, presented.peer)
        self._throttle.check(client, secret)
        try:
            caller = await self._tried(presented)
        except Unauthenticated as exc:
            if exc.error is not None:
                self._throttle.failed(client)
            raise
        self._throttle.held(client, secret)
        return caller

    async def _tried(self, presented: Presented) -> Caller:
        for mode in self._modes:
            caller = await mode.identify(presented)
            if caller is not None:
                return caller
        if not self._modes:
            raise Unauthenticated("This gateway has no users: its identity.modes is empty.")
        raise Unauthenticated(f"The request must have {', or '.join(mode.wants for mode in self._modes)}.")


def configured(config: IdentityConfig, database: Database, throttle: Throttle, proxies: Proxies) -> Identity:
    """The modes that the configuration names. Without any nobody is known."""
    make: dict[str, Callable[[], Mode]] = {
        "local": LocalMode,
        "tokens": lambda: Tokens(database),
        "jwt": lambda: _jwt(config),
        "proxy": lambda: ProxyMode(proxies, config.proxy_header),
    }
    return Identity([make[name]() for name in config.modes], throttle, proxies)


def _jwt(config: IdentityConfig) -> Mode:
    # PyJWT and cryptography take a tenth of a second to import, and few gateways need them.
    from gateway.identity.jwt import JwtMode

    return JwtMode(config)
