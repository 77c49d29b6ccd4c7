"""Names of containers become addresses here, once for each connection, and only allowed ones come out."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.proxy.policy import AddressPolicy, ForbiddenAddress

#: A name's addresses, each with its family.
Lookup = Callable[[str], Awaitable[list[tuple[int, str]]]]
#: Those of a name's addresses that may be connected to on a port, whatever else is allowed. ``OSError`` where it cannot
#: be told.
Guard = Callable[[str, int, Sequence[str]], Awaitable[Sequence[str]]]
#: Addresses of one name. Whoever registers a name decides how many it has, and each costs work at every connection.
MAX_ADDRESSES: Final = 32


async def system_lookup(host: str) -> list[tuple[int, str]]:
    """As the machine resolves names; ``OSError`` where it cannot.

    Of a name with more than ``MAX_ADDRESSES`` these are the same ones each time, whatever the order of the answer. The
    others do not exist for this gateway: they are neither compared with other projects' nor connected to.
    """
    infos = await asyncio.get_running_loop().getaddrinfo(
        host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    found: list[tuple[int, str]] = list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in infos))
    if len(found) <= MAX_ADDRESSES:
        return found
    kept = set(sorted(found)[:MAX_ADDRESSES])
    return [one for one in found if one in kept]


class PolicyResolver(AbstractResolver):
    """What is connected to is an address that was checked: nobody asks for the name a second time.

    ``ForbiddenAddress`` where all that the name stands for is forbidden.
    """

    def __init__(self, policy: AddressPolicy, lookup: Lookup, guard: Guard | None = None) -> None:
        #: May be replaced at any time.
        self.policy = policy
        self._lookup = lookup
        self._guard = guard

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[ResolveResult]:
        found = await self._lookup(host)
        allowed = self.policy.allowed(host, [address for _, address in found])
        if self._guard is not None:
            allowed = list(await self._guard(host, port, allowed))
            if not allowed:
                raise ForbiddenAddress(f"the name {host} leads to the container of another project")
        kept = set(allowed)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=kind,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, address in found
            if address in kept and family in (socket.AF_UNSPEC, kind)
        ]

    async def close(self) -> None:
        return None
