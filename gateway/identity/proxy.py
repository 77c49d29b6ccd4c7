"""``proxy``: a fronting proxy has signed the user in, and names them in a header of each request.

The header is believed where the connection comes from one of the named addresses. From anywhere else it is as if it
were not there: it could be anybody's.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from multidict import CIMultiDictProxy

from gateway.errors import Unauthenticated
from gateway.identity.caller import LOCAL_USER, Caller, Presented, flaw_of_user_id

_WITH_PORT = re.compile(r"\[([^]]+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")


class Proxies:
    """The addresses of the fronting proxies that are believed."""

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
        """The address of who asks: behind our proxies, the last one in ``X-Forwarded-For`` that is none of them.

        What stands there and is no address says nothing, and nothing of what stands before it is believed.
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
        """The scheme by which a client has asked, where the connection to us has ``seen``: behind our proxies, what the
        last one says in ``X-Forwarded-Proto``."""
        said = headers.getall("X-Forwarded-Proto", ())
        if not said or peer not in self:
            return seen
        scheme = said[-1].rpartition(",")[2].strip().lower()
        return scheme if scheme in ("http", "https") else seen


def _address(hop: str) -> str | None:
    """The address alone: some proxies write the client's port behind it."""
    match = _WITH_PORT.fullmatch(hop)
    text = (match[1] or match[2]) if match else hop
    try:
        return str(ip_address(text))
    except ValueError:
        return None


class ProxyMode:
    """Identifies those whom a proxy names."""

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
            # One may be what the client had sent itself.
            raise Unauthenticated(f"The header {self._header} comes more than once; the proxy must replace it.")
        user_id = named[0]
        flaw = flaw_of_user_id(user_id)
        if flaw is None and user_id == LOCAL_USER:
            flaw = f"{LOCAL_USER!r} is whoever uses the gateway's own machine"
        if flaw is not None:
            raise Unauthenticated(f"The user that the proxy names cannot be one: {flaw}.")
        return Caller(user_id=user_id, mode=self.name)
