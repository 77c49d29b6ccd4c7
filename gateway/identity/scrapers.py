"""Who may read the gateway's figures: named networks, or whoever has a token. By default this machine alone.

A web page whose name was made to lead here comes from a browser of such a network, so that without the token only
names of the gateway's own are answered, and addresses, by which Prometheus finds it in a cluster.
"""

import hmac
from collections.abc import Sequence

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from gateway.config.schema import MetricsConfig
from gateway.identity.proxy import Proxies
from gateway.wire.hosts import parse_host
from gateway.wire.pages import is_address, is_loopback, is_named

#: A request with one of these has come through somebody else's hands, and its sender's address says nothing.
_PASSED_ON = ("Forwarded", hdrs.X_FORWARDED_FOR, "Via")


class Scrapers:
    """Decides for one configuration. ``proxies``: those whose word on a client's address is believed."""

    def __init__(self, config: MetricsConfig, proxies: Proxies, hosts: Sequence[str]) -> None:
        """``hosts``: the names by which the gateway is asked beside this machine's."""
        self._proxies = proxies
        self.change(config, hosts)

    def change(self, config: MetricsConfig, hosts: Sequence[str]) -> None:
        """From now on it is these."""
        self._hosts = tuple(hosts)
        self._networks = Proxies(config.allow)
        self._token = config.token.encode()

    def is_near(self, headers: CIMultiDictProxy[str], peer: str | None) -> bool:
        """Whether it is asked from a network that may read them."""
        if peer not in self._proxies and any(name in headers for name in _PASSED_ON):
            return False
        if not self._is_named(headers.get(hdrs.HOST)):
            return False
        return self._proxies.client_of(headers, peer) in self._networks

    def has_token(self, authorization: str) -> bool:
        """Whether this is the token; there may be none."""
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        return bool(self._token) and scheme.lower() == "bearer" and hmac.compare_digest(given, self._token)

    def _is_named(self, field: str | None) -> bool:
        if field is None:
            return True
        host = parse_host(field)
        return host is not None and (is_address(host.name) or is_loopback(host.name) or is_named(host, self._hosts))
