"""What is ready to be appended: while one append is under way, what comes is the next batch."""

import asyncio
from collections import deque

from gateway.log.store import NewEvent

MAX_EVENTS = 1_000
#: A larger one, as PostgreSQL's text for arrays of bytes, would go to PostgreSQL in pieces.
MAX_BYTES = 500_000

#: An event with its source's number.
Numbered = tuple[NewEvent, int | None]


class Batches:
    """Between one who adds events and one who appends them."""

    def __init__(self) -> None:
        self._waiting: deque[Numbered] = deque()
        self._bytes = 0
        self._under_way = False
        self._ended = False
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()

    def add(self, event: NewEvent, number: int | None) -> None:
        self._waiting.append((event, number))
        self._bytes += len(event.data)

    @property
    def has_more(self) -> bool:
        """Whether something waits, beside what is being appended."""
        return bool(self._waiting)

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._under_way

    async def handed_in(self) -> None:
        """Have appended what was added; waits while too much is waiting already."""
        self._changed.set()
        while len(self._waiting) >= MAX_EVENTS or self._bytes >= MAX_BYTES:
            self._taken.clear()
            await self._taken.wait()

    async def stored(self) -> None:
        """Wait until all that was added is stored."""
        self._changed.set()
        while self._waiting or self._under_way:
            self._taken.clear()
            await self._taken.wait()

    def end(self) -> None:
        """Nothing will be added any more."""
        self._ended = True
        self._changed.set()

    async def next(self) -> list[Numbered]:
        """The next batch, once there is one; empty at the end. Asking for it says that the one before is stored."""
        self._under_way = False
        self._taken.set()
        while not self._waiting:
            if self._ended:
                return []
            self._changed.clear()
            await self._changed.wait()
        self._under_way = True
        self._taken.set()
        if len(self._waiting) <= MAX_EVENTS and self._bytes < MAX_BYTES:
            batch = list(self._waiting)
            self._waiting.clear()
            self._bytes = 0
            return batch
        batch = []
        size = 0
        while self._waiting and len(batch) < MAX_EVENTS and size < MAX_BYTES:
            batch.append(self._waiting.popleft())
            size += len(batch[-1][0].data)
        self._bytes -= size
        return batch
