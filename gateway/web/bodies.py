"""How much of requests' bodies is in memory at once for one sender: who sends more waits, and nobody else does.

A sender is a user; before anybody has said who they are it is the address that a request comes from.
"""

import asyncio
from collections import Counter
from typing import Final

from gateway.errors import TooManyRequests
from gateway.identity.throttle import network_of

#: Bytes. A body that is larger alone comes in alone. What becomes of a body takes some ten times as much.
MOST_BYTES: Final = 4_194_304
#: How long a body waits for those before it.
WAIT_SECONDS: Final = 30.0


class Bodies:
    """The bodies that this process holds."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        #: Set, and forgotten, when a sender's bodies become less.
        self._less: dict[str, asyncio.Event] = {}

    def place(self, user_id: str) -> "Place":
        """For the bodies of one request."""
        return Place(self, user_id, WAIT_SECONDS)

    def strangers_place(self, address: str | None) -> "Place":
        """For the bodies of one request of nobody knows whom. It does not wait: aiohttp reads ahead meanwhile."""
        # No user's id has a line break.
        return Place(self, f"address\n{network_of(address)}", 0.0)

    async def take(self, sender: str, size: int, wait: float) -> None:
        try:
            async with asyncio.timeout(wait):
                while self._held[sender] and self._held[sender] + size > MOST_BYTES:
                    await self._less.setdefault(sender, asyncio.Event()).wait()
        except TimeoutError:
            raise TooManyRequests(
                f"At most {MOST_BYTES} bytes of requests of one user, or of one address, are taken at once, and others "
                f"have not ended within {wait:g} seconds.",
                headers={"Retry-After": "5"},
            ) from None
        finally:
            # To look has made an entry.
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
    """Where the body of one request is held. ``leave`` when the request is over, or needs it no longer."""

    def __init__(self, bodies: Bodies, sender: str, wait: float) -> None:
        self._bodies = bodies
        self._sender = sender
        self._wait = wait
        self._size = 0

    async def take(self, size: int) -> None:
        """Hold so many bytes, once there is room; ``TooManyRequests`` where there is none in time."""
        await self._bodies.take(self._sender, size, self._wait)
        self._size += size

    def keep(self, size: int) -> None:
        """Hold no more than so many bytes from now on."""
        if size < self._size:
            self._bodies.give_back(self._sender, self._size - size)
            self._size = size

    def leave(self) -> None:
        self.keep(0)
