"""How much of requests' bodies is in memory at once for one user: who sends more waits, and nobody else does."""

import asyncio
from collections import Counter
from typing import Final

from gateway.errors import TooManyRequests

#: Bytes. A body that is larger alone comes in alone. What becomes of a body takes some ten times as much.
MOST_BYTES: Final = 4_194_304
#: How long a body waits for those before it.
WAIT_SECONDS: Final = 30.0


class Bodies:
    """The bodies that this process holds."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        #: Set, and forgotten, when a user's bodies become less.
        self._less: dict[str, asyncio.Event] = {}

    def place(self, user_id: str) -> "Place":
        """For the bodies of one request."""
        return Place(self, user_id)

    async def take(self, user_id: str, size: int) -> None:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while self._held[user_id] and self._held[user_id] + size > MOST_BYTES:
                    await self._less.setdefault(user_id, asyncio.Event()).wait()
        except TimeoutError:
            raise TooManyRequests(
                f"At most {MOST_BYTES} bytes of one user's requests are taken at once, and others have not ended for "
                f"{WAIT_SECONDS:g} seconds.",
                headers={"Retry-After": "5"},
            ) from None
        finally:
            # To look has made an entry.
            if not self._held[user_id]:
                del self._held[user_id]
        self._held[user_id] += size

    def give_back(self, user_id: str, size: int) -> None:
        self._held[user_id] -= size
        if not self._held[user_id]:
            del self._held[user_id]
        if less := self._less.pop(user_id, None):
            less.set()


class Place:
    """Where the body of one request is held. ``leave`` when the request is over, or needs it no longer."""

    def __init__(self, bodies: Bodies, user_id: str) -> None:
        self._bodies = bodies
        self._user_id = user_id
        self._size = 0

    async def take(self, size: int) -> None:
        """Hold so many bytes, once there is room; ``TooManyRequests`` where there is none for long."""
        await self._bodies.take(self._user_id, size)
        self._size += size

    def keep(self, size: int) -> None:
        """Hold no more than so many bytes from now on."""
        if size < self._size:
            self._bodies.give_back(self._user_id, self._size - size)
            self._size = size

    def leave(self) -> None:
        self.keep(0)
