"""The newest events of each watched project in memory, and who waits for more.

A tail is a hint and a cache, never the truth: it holds one unbroken run of events up to the newest that this process
knows; whoever stands before that run reads from the database. Appends of this process arrive at once; those of other
processes are found by polling the watched heads, which is the guarantee.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from gateway.errors import GatewayError
from gateway.log.store import Appended, Log
from gateway.wire.events import Cursor, Event

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0


@attrs.frozen
class Entry:
    """An event with its frame, encoded once for all who read it."""

    event: Event
    frame: bytes


@attrs.define(eq=False)
class Tail:
    """One project's newest events."""

    max_bytes: int
    entries: deque[Entry] = attrs.field(factory=deque)
    bytes: int = 0
    epoch: int = 0
    head: int = 0
    watchers: int = 0
    #: The project has been deleted.
    gone: bool = False
    _moved: asyncio.Event = attrs.field(factory=asyncio.Event)

    def extend(self, appended: Appended) -> None:
        """Take what was committed; what is out of order or behind a hole is left to the database."""
        for event in appended.events:
            if event.cursor.epoch != self.epoch or event.seq > self.head + 1:
                self._restart(event.cursor.epoch)
            elif event.seq <= self.head:
                continue
            self._push(event)
        self._wake()

    def move(self, head: Cursor) -> None:
        """The log's head is at least here."""
        if (head.epoch, head.seq) > (self.epoch, self.head):
            self._restart(head.epoch)
            self.head = head.seq
            self._wake()

    def vanish(self) -> None:
        """The project has been deleted: nothing will come any more."""
        self.gone = True
        self._wake()

    def after(self, cursor: Cursor, limit_bytes: int) -> list[Entry] | None:
        """The entries after a place; None where the tail does not reach back that far."""
        if cursor.epoch != self.epoch or not self.entries or cursor.seq < self.entries[0].event.seq - 1:
            return None
        skip = cursor.seq + 1 - self.entries[0].event.seq
        found: list[Entry] = []
        size = 0
        for index in range(skip, len(self.entries)):
            found.append(self.entries[index])
            size += len(found[-1].frame)
            if size >= limit_bytes:
                break
        return found

    async def wait(self, cursor: Cursor, seconds: float) -> bool:
        """Wait until the head is beyond a place; False when it took too long."""
        try:
            async with asyncio.timeout(seconds):
                while (self.epoch, self.head) <= (cursor.epoch, cursor.seq) and not self.gone:
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    def _push(self, event: Event) -> None:
        entry = Entry(event, event.frame())
        self.entries.append(entry)
        self.bytes += len(entry.frame)
        self.head = event.seq
        while self.bytes > self.max_bytes and len(self.entries) > 1:
            self.bytes -= len(self.entries.popleft().frame)

    def _restart(self, epoch: int) -> None:
        self.entries.clear()
        self.bytes = 0
        self.epoch = epoch

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


class Tails:
    """The tails of the projects that somebody watches, and the task that polls their heads."""

    def __init__(self, log: Log, *, max_bytes: int) -> None:
        self._log = log
        self._max_bytes = max_bytes
        self._tails: dict[str, Tail] = {}
        log.listen(self._extend)

    @asynccontextmanager
    async def watch(self, project_id: str) -> AsyncIterator[Tail]:
        """The project's tail, kept up to date for as long as this is open. Raises ``ProjectNotFound``."""
        tail = self._tails.setdefault(project_id, Tail(max_bytes=self._max_bytes))
        tail.watchers += 1
        try:
            tail.move((await self._log.head(project_id)).cursor)
            yield tail
        finally:
            tail.watchers -= 1
            if not tail.watchers and self._tails.get(project_id) is tail:
                del self._tails[project_id]

    def watched(self) -> list[str]:
        return list(self._tails)

    async def poll(self) -> None:
        """Find what other processes appended, once a second, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                watched = self.watched()
                heads = await self._log.heads(watched) if watched else {}
            except GatewayError as exc:
                logger.warning("heads of watched logs could not be read", extra={"error": str(exc)})
                continue
            for project_id in watched:
                tail = self._tails.get(project_id)
                if tail is not None and project_id in heads:
                    tail.move(heads[project_id])
                elif tail is not None:
                    tail.vanish()

    def _extend(self, project_id: str, appended: Appended) -> None:
        if tail := self._tails.get(project_id):
            tail.extend(appended)
