"""Bounds the memory of request bodies by sender: a sender who exceeds it waits, others do not.

A sender is a user or, before authentication, a client address.
"""

import asyncio
from collections import Counter
from typing import Final

from gateway.errors import TooManyRequests
from gateway.identity.throttle import network_of

#: Bytes. A single larger body is admitted alone. Parsed, a body takes about ten times as much.
MOST_BYTES: Final = 4_194_304
WAIT_SECONDS: Final = 30.0


class Bodies:
    """The bytes of bodies that this process holds, by sender."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        #: Set, and removed, when a sender's total falls.
        self._less: dict[str, asyncio.Event] = {}

    def place(self, user_id: str) -> "Place":
        return Place(self, user_id, WAIT_SECONDS)

    def strangers_place(self, address: str | None) -> "Place":
        """For an unauthenticated request. It never waits, because aiohttp would read ahead meanwhile."""
        # A line break, so that it is no user's id.
        return Place(self, f"address\n{network_of(address)}", 0.0)

    async def take(self, sender: str, size: int, wait: float) -> None:
        try:
            async with asyncio.timeout(wait):
                while self._held[sender] and self._held[sender] + size > MOST_BYTES:
                    await self._less.setdefault(sender, asyncio.Event()).wait()
        except TimeoutError:
            raise TooManyRequests(
                f"One user or address may send at most {MOST_BYTES} bytes of requests at once, and earlier ones did "
                f"not finish within {wait:g} seconds.",
                headers={"Retry-After": "5"},
            ) from None
        finally:
            # Reading a defaultdict key has created it.
            if not self._held[sender]:
                del self._held[sender]
        self._held[sender] += size

    def give_back(self, sender: str, size: int) -> None:
        self._held[sender] -= size
        if not self._held[sender]:
            del self._held[sender]
        if less := self._less.pop(sender, None):
            less.set()


class Place:
    """The body of one request. Call ``leave`` when the request has ended or no longer needs it."""

    def __init__(self, bodies: Bodies, sender: str, wait: float) -> None:
        self._bodies = bodies
        self._sender = sender
        self._wait = wait
        self._size = 0

    async def take(self, size: int) -> None:
        """Hold ``size`` more bytes once there is room; ``TooManyRequests`` if there is none in time."""
        await self._bodies.take(self._sender, size, self._wait)
        self._size += size

    def keep(self, size: int) -> None:
        """Hold at most ``size`` bytes from now on."""
        if size < self._size:
            self._bodies.give_back(self._sender, self._size - size)
            self._size = size

    def leave(self) -> None:
        self.keep(0)
