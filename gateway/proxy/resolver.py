"""Names of containers become addresses here, once for each connection, and only allowed ones come out."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.proxy.policy import AddressPolicy, ForbiddenAddress

#: A name's addresses, each with its family.
Lookup = Callable[[str], Awaitable[list[tuple[int, str]]]]
#: Those of a name's addresses that may be connected to on a port, whatever else is allowed. ``OSError`` where it cannot
#: be told.
Guard = Callable[[str, int, Sequence[str]], Awaitable[Sequence[str]]]


async def system_lookup(host: str) -> list[tuple[int, str]]:
    """As the machine resolves names; ``OSError`` where it cannot."""
    infos = await asyncio.get_running_loop().getaddrinfo(
        host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return [(family, str(address[0])) for family, _, _, _, address in infos]


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
            if address in allowed and family in (socket.AF_UNSPEC, kind)
        ]

    async def close(self) -> None:
        return None
