"""Batches for appending: what arrives during one append is the next batch."""

import asyncio
from collections import deque

from gateway.log.store import NewEvent

MAX_EVENTS = 1_000
#: PostgreSQL would receive a larger one, as text of a bytea array, in several packets.
MAX_BYTES = 500_000

#: An event with its source's number.
Numbered = tuple[NewEvent, int | None]


class Batches:
    """Between the task that adds events and the one that appends them."""

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
        """Whether events wait, besides those being appended."""
        return bool(self._waiting)

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._under_way

    async def handed_in(self) -> None:
        """Submit what was added; waits while too much is waiting."""
        self._changed.set()
        while len(self._waiting) >= MAX_EVENTS or self._bytes >= MAX_BYTES:
            self._taken.clear()
            await self._taken.wait()

    async def stored(self) -> None:
        """Wait until everything that was added is stored."""
        self._changed.set()
        while self._waiting or self._under_way:
            self._taken.clear()
            await self._taken.wait()

    def end(self) -> None:
        """No more events will be added."""
        self._ended = True
        self._changed.set()

    async def next(self) -> list[Numbered]:
        """The next batch; empty at the end. The call means that the previous one is stored."""
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
