"""The pump: writes what is new in a log to all its live streams.

Streams that are up to date are at the same place, so the next events are framed once for all and cost one write each.
The pause before a round is as long as the last round took, so that a burst becomes few large writes. A stream that
lags, or is before the tail's start, is released and catches up by itself.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from contextvars import Context
from typing import Final

from gateway.db.availability import log_failure
from gateway.errors import GatewayError, ProjectNotFound
from gateway.log.ids import LogId
from gateway.log.reading import NotKept
from gateway.log.run import PIECE_BYTES
from gateway.log.store import Log
from gateway.stream.stream import FULL_BYTES, Stream, chunked
from gateway.stream.tail import Tail
from gateway.telemetry.context import about
from gateway.telemetry.metrics import Metrics
from gateway.wire.events import Cursor

logger = logging.getLogger(__name__)

#: The longest pause between two rounds.
PAUSE_SECONDS: Final = 0.05
#: The pause after the log could not be read.
RETRY_SECONDS: Final = 0.25

Framed = tuple[bytes, bytes]


class Pump:
    """Carries the live streams of one log, from ``start`` to ``stop``."""

    def __init__(self, log_id: LogId, log: Log, tail: Tail, metrics: Metrics) -> None:
        self._log_id = log_id
        self._log = log
        self._tail = tail
        self._metrics = metrics
        self._epoch = tail.epoch
        #: The place of all settled streams.
        self.served = tail.loaded
        self._settled: dict[str | None, dict[Stream, None]] = {}
        #: Streams that approach the others' place, or are slightly ahead.
        self._others: dict[Stream, None] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self._task is not None

    def start(self) -> None:
        self._tail.keep()
        self._task = asyncio.create_task(
            # Its log lines are not about the request that started it.
            self._run(),
            name=f"pump {self._log_id}",
            context=Context(),
        )
        self._task.add_done_callback(self._ended)

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
            self._tail.let_go()

    async def carry(self, stream: Stream) -> None:
        """Write to the stream until it is full, or its place or project needs a look."""
        if not self.is_running:
            raise GatewayError("The pump that carried this stream has died.")
        stream.released = asyncio.get_running_loop().create_future()
        self._others[stream] = None
        self._tail.move(stream.cursor)
        self._tail.wake()
        try:
            await stream.released
        finally:
            self._remove(stream)

    async def _run(self) -> None:
        """Run rounds whenever there is something to write, until cancelled."""
        about(project_id=self._log_id.project_id)
        loop = asyncio.get_running_loop()
        while True:
            changed = self._tail.changed
            if not self._has_work():
                await changed.wait()
                continue
            if self._tail.loaded < self._tail.head and not self._is_lost():
                await self._load()
            started = loop.time()
            self._round(started)
            # Let the loop do deferred writes, which are the cost of a round.
            await asyncio.sleep(0)
            await asyncio.sleep(min(loop.time() - started, PAUSE_SECONDS))

    def _has_work(self) -> bool:
        tail = self._tail
        if tail.gone:
            # Streams that are not carried end by themselves.
            return bool(self._settled or self._others)
        if self._is_lost():
            return True
        return tail.head > self.served or any(stream.seq <= self.served for stream in self._others)

    def _is_lost(self) -> bool:
        """Whether the tail no longer continues at the settled streams' place."""
        tail = self._tail
        if not self._settled and not self._others:
            self._epoch, self.served = tail.epoch, tail.loaded
        return tail.gone or tail.epoch != self._epoch or tail.since > self.served

    async def _load(self) -> None:
        """Read what other processes appended, once for all streams."""
        tail = self._tail
        place = Cursor(tail.epoch, tail.loaded)
        try:
            tail.load(await self._log.read(self._log_id, place))
        except NotKept as exc:
            tail.restart(Cursor(exc.epoch, exc.head))
        except ProjectNotFound:
            tail.vanish()
        except GatewayError as exc:
            log_failure(logger, "live streams wait for the database", exc, project=self._log_id.project_id)
        if place == Cursor(tail.epoch, tail.loaded) and not tail.gone:
            await asyncio.sleep(RETRY_SECONDS)

    def _round(self, now: float) -> None:
        if self._is_lost():
            self._release_all()
            self._epoch, self.served = self._tail.epoch, self._tail.loaded
            return
        through = self._tail.end(self.served, PIECE_BYTES)
        if through > self.served:
            for session_id in self._concerned(through):
                data = self._tail.frames(session_id, self.served, through)
                self._write_to_all(self._settled[session_id], (data, chunked(data)), now)
            self.served = through
            self._note_delay()
        if self._others:
            self._bring_near(now)

    def _note_delay(self) -> None:
        tail = self._tail
        if tail.waiting_since and self._settled:
            self._metrics.shown(time.monotonic() - tail.waiting_since)
        if self.served >= tail.head:
            tail.waiting_since = 0.0

    def _concerned(self, through: int) -> Iterable[str | None]:
        """The sessions whose streams get something of what comes next."""
        owners = self._tail.owners(self.served, through)
        if None in owners:
            # It may be a gap, which concerns all.
            return list(self._settled)
        return [session_id for session_id in (None, *owners) if session_id in self._settled]

    def _write_to_all(self, group: dict[Stream, None], framed: Framed, now: float) -> None:
        plain, in_chunks = framed
        if not plain:
            return
        size = len(in_chunks)
        for stream in list(group):
            transport = stream.transport
            if transport.get_write_buffer_size() > FULL_BYTES or transport.is_closing():
                self._release((stream,))
                continue
            transport.write(in_chunks if stream.is_chunked else plain)
            stream.written += size
            stream.wrote_at = now

    def _bring_near(self, now: float) -> None:
        pieces: dict[tuple[str | None, int], tuple[int, Framed]] = {}
        for stream in list(self._others):
            seq = stream.seq
            if seq > self.served:
                continue
            if not self._tail.reaches(stream.cursor) or stream.is_full or stream.transport.is_closing():
                self._release((stream,))
                continue
            if seq < self.served:
                key = (stream.session_id, seq)
                if key not in pieces:
                    through = min(self._tail.end(seq, PIECE_BYTES), self.served)
                    data = self._tail.frames(stream.session_id, seq, through)
                    pieces[key] = through, (data, chunked(data))
                seq, framed = pieces[key]
                self._write_to_all({stream: None}, framed, now)
                stream.write(b"", Cursor(self._epoch, seq))
            if seq == self.served:
                del self._others[stream]
                stream.settle(self)
                self._settled.setdefault(stream.session_id, {})[stream] = None

    def _release_all(self) -> None:
        self._release([*self._others, *(stream for group in self._settled.values() for stream in group)])

    def _release(self, streams: Iterable[Stream]) -> None:
        for stream in streams:
            self._remove(stream)
            if stream.released is not None and not stream.released.done():
                stream.released.set_result(None)

    def _remove(self, stream: Stream) -> None:
        stream.unsettle()
        self._others.pop(stream, None)
        group = self._settled.get(stream.session_id)
        if group is not None:
            group.pop(stream, None)
            if not group:
                del self._settled[stream.session_id]

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            return
        logger.error("pump died", exc_info=task.exception(), extra={"project": self._log_id.project_id})
        self._task = None
        # Its streams end, and their clients reconnect.
        self._release_all()
