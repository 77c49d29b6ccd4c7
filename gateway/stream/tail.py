"""The newest events of each watched log in memory, and who waits for more.

A tail is a cache: it has one unbroken run of events, and streams before that run read the database. This process's
appends arrive at once. Those of others are found by a wake-up or, as the guarantee, by polling the heads of watched
logs; they are read once for all.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import attrs

from gateway.db.every import every
from gateway.log.ids import LogId
from gateway.log.run import Run
from gateway.log.store import Appended, Log
from gateway.wire.events import FOR_EVERY_SESSION, Cursor, Event

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
#: A place that no log and no cursor has.
UNKNOWN = Cursor(-1, 0)


@attrs.define(eq=False)
class Tail:
    """One log's newest events: those after ``since`` up to ``loaded``; the log goes on to ``head`` at least."""

    max_bytes: int
    #: Earlier epochs ended at a failover, however late somebody tells of them.
    first_epoch: int = 0
    epoch: int = UNKNOWN.epoch
    head: int = UNKNOWN.seq
    since: int = 0
    loaded: int = 0
    #: Whether the events are read; otherwise only the head is.
    is_read: bool = False
    watchers: int = 0
    #: No more events: the project was deleted or, if ``ended``, the log is no longer recorded.
    gone: bool = False
    ended: bool = False
    #: Since when live streams lack events, by the monotonic clock; 0: they do not.
    waiting_since: float = 0.0
    #: Set at the next change, and then replaced.
    changed: asyncio.Event = attrs.field(factory=asyncio.Event)
    _all: Run = attrs.field(factory=Run)
    _owners: list[str | None] = attrs.field(factory=list)
    _sessions: dict[str, Run] = attrs.field(factory=dict)
    #: The project's gaps and changes, which concern every session.
    _common: Run = attrs.field(factory=Run)

    def extend(self, appended: Appended) -> None:
        """Take what was committed here; after a hole, which others have filled, it must be loaded."""
        self.move(appended.cursor, loading=self.is_read)
        if self.is_read:
            self.load(appended.events)

    def load(self, events: Iterable[Event]) -> None:
        """Take the next events; known ones, and those after a hole, are ignored."""
        if not self.is_read:
            return
        for event in events:
            if event.cursor.epoch == self.epoch and event.seq == self.loaded + 1:
                self._push(event)
        self._shrink()
        self.wake()

    def move(self, head: Cursor, *, loading: bool = False) -> None:
        """The log's head is at least here; ``loading``: its events are about to be loaded."""
        if head.epoch > self.epoch:
            if head.epoch >= self.first_epoch:
                self.restart(head)
        elif head.epoch == self.epoch and head.seq > self.head:
            self.head = head.seq
            if not self.is_read:
                self.since = self.loaded = head.seq
            elif not self.waiting_since:
                self.waiting_since = time.monotonic()
            if not loading:
                self.wake()

    def restart(self, head: Cursor) -> None:
        """Drop everything and start at this place."""
        self._all, self._common = Run(), Run()
        self._owners.clear()
        self._sessions.clear()
        self.epoch, self.head = head.epoch, head.seq
        self.since = self.loaded = head.seq
        self.wake()

    def forget(self, first_epoch: int) -> None:
        """The database was failed over: what the log is now is not known, in whichever epoch from this one on."""
        self.first_epoch = first_epoch
        self.restart(UNKNOWN)

    def keep(self) -> None:
        """Keep events from here on."""
        self.is_read = True

    def let_go(self) -> None:
        """Keep only the head."""
        self.is_read = False
        self.restart(Cursor(self.epoch, self.head))

    def vanish(self) -> None:
        """The project has been deleted: no more events."""
        self.gone = True
        self.wake()

    def wake(self) -> None:
        """Wake everybody who waits for a change."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def reaches(self, cursor: Cursor) -> bool:
        """Whether everything after a place is here, or about to be."""
        return cursor.epoch == self.epoch and cursor.seq >= self.since

    def end(self, after: int, limit_bytes: int) -> int:
        """How far the events after a place go in ``limit_bytes``; at least one event, if there is one."""
        return self._all.end(after, limit_bytes)

    def owners(self, after: int, through: int) -> set[str | None]:
        """The sessions that have events between two places; None among them means events without a session."""
        return set(self._owners[after - self.since : through - self.since])

    def frames(self, session_id: str | None, after: int, through: int) -> bytes:
        """The frames between two places, of all sessions, or of one with the project's gaps and changes."""
        if session_id is None:
            return b"".join(self._all.between(after, through))
        own, common = self._sessions.get(session_id), self._common
        if not common.has(after, through):
            return b"".join(own.between(after, through)) if own else b""
        return (own or Run()).merged(common, after, through)

    async def wait(self, cursor: Cursor, seconds: float) -> bool:
        """Wait until the head is after a place; False after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                while (self.epoch, self.head) <= (cursor.epoch, cursor.seq) and not self.gone:
                    await self.changed.wait()
        except TimeoutError:
            return False
        return True

    def _push(self, event: Event) -> None:
        frame, seq = event.frame(), event.seq
        self._all.push(seq, frame)
        self._owners.append(event.session_id)
        if event.session_id is not None:
            self._sessions.setdefault(event.session_id, Run()).push(seq, frame)
        elif event.type in FOR_EVERY_SESSION:
            self._common.push(seq, frame)
        self.loaded = seq
        self.head = max(self.head, seq)

    def _shrink(self) -> None:
        count = self._all.excess(self.max_bytes)
        if not count:
            return
        self.since += count
        forgotten = set(self._owners[:count])
        del self._owners[:count]
        self._all.forget(self.since)
        self._common.forget(self.since)
        for session_id in forgotten:
            run = self._sessions.get(session_id) if session_id is not None else None
            if run is not None:
                run.forget(self.since)
                if not run:
                    del self._sessions[session_id]  # type: ignore[arg-type]  # it is none of no session


class Tails:
    """The tails of watched logs, and the task that polls their heads."""

    def __init__(self, log: Log, *, max_bytes: int) -> None:
        self._log = log
        self._max_bytes = max_bytes
        self._first_epoch = 0
        self._tails: dict[LogId, Tail] = {}

    @asynccontextmanager
    async def watch(self, log_id: LogId) -> AsyncIterator[Tail]:
        """The log's tail, kept up to date while this is open."""
        tail = self._tails.setdefault(log_id, Tail(max_bytes=self._max_bytes, first_epoch=self._first_epoch))
        tail.watchers += 1
        try:
            yield tail
        finally:
            tail.watchers -= 1
            if not tail.watchers and self._tails.get(log_id) is tail:
                del self._tails[log_id]

    def watched(self) -> list[LogId]:
        return list(self._tails)

    def end(self, log_id: LogId) -> None:
        """No more events of this log: its readers end."""
        if tail := self._tails.get(log_id):
            tail.ended = True
            tail.vanish()

    def move(self, log_id: LogId, head: Cursor) -> None:
        """The log's head is reported to be ``head``."""
        if tail := self._tails.get(log_id):
            tail.move(head)

    def forget(self, first_epoch: int) -> None:
        """The database was failed over: nothing that is here counts any more; for ``Timeline.listen``."""
        self._first_epoch = first_epoch
        for tail in self._tails.values():
            tail.forget(first_epoch)

    async def poll(self) -> None:
        """Find what other processes appended, once a second, until cancelled."""
        await every(POLL_SECONDS, self._look, failed="heads of watched logs could not be read")

    async def _look(self) -> None:
        watched = self.watched()
        heads = await self._log.heads(watched) if watched else {}
        for log_id in watched:
            tail = self._tails.get(log_id)
            if tail is not None and log_id in heads:
                tail.move(heads[log_id])
            elif tail is not None:
                tail.vanish()

    def extend(self, log_id: LogId, appended: Appended) -> None:
        """Take what was committed here; for ``Log.listen``."""
        if tail := self._tails.get(log_id):
            tail.extend(appended)
