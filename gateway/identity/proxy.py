"""``proxy``: a proxy in front signs users in and names them in a header.

The header is trusted only on connections from the configured addresses, and otherwise ignored.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from multidict import CIMultiDictProxy

from gateway.errors import Unauthenticated
from gateway.identity.caller import Caller, Presented, flaw_of_user_id

_WITH_PORT = re.compile(r"\[([^]]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")


class Proxies:
    """The addresses of trusted proxies."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._networks = [ip_network(address) for address in addresses]

    def __contains__(self, peer: object) -> bool:
        try:
            address = ip_address(str(peer))
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)

    def client_of(self, headers: CIMultiDictProxy[str], peer: str | None) -> str | None:
        """The client's address: the last one in ``X-Forwarded-For`` that is not a trusted proxy's.

        An entry that is not an address, and everything before it, is not trusted.
        """
        client = peer
        hops = [hop.strip() for value in headers.getall("X-Forwarded-For", ()) for hop in value.split(",")]
        while client in self and hops:
            if hop := hops.pop():
                address = _address(hop)
                if address is None:
                    break
                client = address
        return client

    def scheme_of(self, headers: CIMultiDictProxy[str], peer: str | None, seen: str) -> str:
        """The scheme that the client used: behind our proxies, the last ``X-Forwarded-Proto``; otherwise ``seen``."""
        said = headers.getall("X-Forwarded-Proto", ())
        if not said or peer not in self:
            return seen
        scheme = said[-1].rpartition(",")[2].strip().lower()
        return scheme if scheme in ("http", "https") else seen


def _address(hop: str) -> str | None:
    """The address without the port that some proxies append."""
    match = _WITH_PORT.fullmatch(hop)
    text = (match[1] or match[2]) if match else hop
    try:
        return str(ip_address(text))
    except ValueError:
        return None


class ProxyMode:
    """Identifies the users that a proxy names."""

    name = "proxy"
    wants = "the user that a proxy in front of the gateway names"

    def __init__(self, proxies: Proxies, header: str) -> None:
        self._proxies = proxies
        self._header = header

    async def identify(self, presented: Presented) -> Caller | None:
        named = presented.headers.getall(self._header, ())
        if not named or presented.peer not in self._proxies:
            return None
        if len(named) > 1:
            # The client may have sent one of them.
            raise Unauthenticated(f"The header {self._header} comes more than once; the proxy must replace it.")
        user_id = named[0]
        if (flaw := flaw_of_user_id(user_id, is_foreign=True)) is not None:
            raise Unauthenticated(f"The proxy names an invalid user: {flaw}.")
        return Caller(user_id=user_id, mode=self.name)
