"""Resolves container names, once for each connection, to allowed addresses only."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.proxy.policy import AddressPolicy, ForbiddenAddress

#: A name's addresses with their families.
Lookup = Callable[[str], Awaitable[list[tuple[int, str]]]]
#: The addresses of a name that may be connected to on a port, in addition to the policy. ``OSError`` if that cannot be
#: determined.
Guard = Callable[[str, int, Sequence[str]], Awaitable[Sequence[str]]]
#: Addresses of one name. Its owner decides how many it has, and each costs work at every connection.
MAX_ADDRESSES: Final = 32


async def system_lookup(host: str) -> list[tuple[int, str]]:
    """The system's resolution; ``OSError`` if it fails.

    Of more than ``MAX_ADDRESSES`` the same ones are kept each time, in any order of the answer. The others are ignored:
    neither compared with other projects' nor connected to.
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
    """Connections go to the address that was checked: the name is not resolved again.

    ``ForbiddenAddress`` if all addresses are forbidden.
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
