"""Who may read the metrics: configured networks, by default this machine, or callers with the token.

Against DNS rebinding, others must use one of the gateway's names or, as Prometheus does, an address.
"""

import hmac

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from gateway.config.schema import MetricsConfig
from gateway.identity.proxy import Proxies
from gateway.identity.sites import Asked
from gateway.wire.pages import is_address

#: A request with one of these was forwarded, so the connection's address is not the client's.
_PASSED_ON = ("Forwarded", hdrs.X_FORWARDED_FOR, "Via")


class Scrapers:
    """``proxies``: those that are trusted to name the client's address."""

    def __init__(self, config: MetricsConfig, proxies: Proxies) -> None:
        self._proxies = proxies
        self.change(config)

    def change(self, config: MetricsConfig) -> None:
        self._networks = Proxies(config.allow)
        self._token = config.token.encode()

    def is_near(self, headers: CIMultiDictProxy[str], peer: str | None, asked: Asked) -> bool:
        """Whether the request comes from an allowed network, and uses one of the gateway's names or an address."""
        if peer not in self._proxies and any(name in headers for name in _PASSED_ON):
            return False
        if not asked.is_known and (asked.host is None or not is_address(asked.host.name)):
            return False
        return self._proxies.client_of(headers, peer) in self._networks

    def has_token(self, authorization: str) -> bool:
        """Whether this is the configured token."""
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        return bool(self._token) and scheme.lower() == "bearer" and hmac.compare_digest(given, self._token)
