"""Who may read the gateway's figures: named networks, or whoever has a token. By default this machine alone.

A web page whose name was made to lead here comes from a browser of such a network, so that without the token only
names of the gateway's own are answered, and addresses, by which Prometheus finds it in a cluster.
"""

import hmac

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from gateway.config.schema import MetricsConfig
from gateway.identity.proxy import Proxies
from gateway.identity.sites import Asked
from gateway.wire.pages import is_address

#: A request with one of these has come through somebody else's hands, and its sender's address says nothing.
_PASSED_ON = ("Forwarded", hdrs.X_FORWARDED_FOR, "Via")


class Scrapers:
    """Decides for one configuration. ``proxies``: those whose word on a client's address is believed."""

    def __init__(self, config: MetricsConfig, proxies: Proxies) -> None:
        self._proxies = proxies
        self.change(config)

    def change(self, config: MetricsConfig) -> None:
        """From now on it is this."""
        self._networks = Proxies(config.allow)
        self._token = config.token.encode()

    def is_near(self, headers: CIMultiDictProxy[str], peer: str | None, asked: Asked) -> bool:
        """Whether it is asked from a network that may read them, by a name of the gateway's or by an address."""
        if peer not in self._proxies and any(name in headers for name in _PASSED_ON):
            return False
        if not asked.is_known and (asked.host is None or not is_address(asked.host.name)):
            return False
        return self._proxies.client_of(headers, peer) in self._networks

    def has_token(self, authorization: str) -> bool:
        """Whether this is the token; there may be none."""
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        return bool(self._token) and scheme.lower() == "bearer" and hmac.compare_digest(given, self._token)
