"""All streams of this process: where each begins, who carries it, its heartbeats, and its end.

The project's pump carries a stream while the tail reaches back to its cursor; until then the stream reads the log
itself. Both write what comes after the cursor and move it, so nothing is lost in between.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import attrs

from gateway.config.schema import EventsConfig
from gateway.db.every import every
from gateway.errors import DatabaseUnavailable, GatewayError, ProjectNotFound
from gateway.log.ids import LogId
from gateway.log.reading import NotKept
from gateway.log.store import Head, Log
from gateway.stream.pump import Pump
from gateway.stream.replay import Passage, Replays
from gateway.stream.stream import Stream, judge, reset
from gateway.stream.tail import Tail, Tails
from gateway.telemetry.metrics import Metrics
from gateway.wire.events import Cursor, Reset

logger = logging.getLogger(__name__)

#: The pause after a failed read, up to twice as long.
RETRY_SECONDS: Final = 0.25
#: A few streams need not end spread over time.
_PARTING_SECONDS: Final = 0.01


class GatewayStopping(GatewayError):
    """The gateway is stopping; reconnect."""

    status, code = 503, "gateway_stopping"


@attrs.define(eq=False)
class Channel:
    """What the streams of one log share."""

    log_id: LogId
    tail: Tail
    pump: Pump
    streams: int = 0


class Streams:
    """Owns the pumps and all open streams. ``beat`` is its task; ``stop`` ends streams, ``close`` the rest."""

    def __init__(self, log: Log, tails: Tails, config: EventsConfig, *, reads_at_once: int, metrics: Metrics) -> None:
        self._log = log
        self._tails = tails
        self._metrics = metrics
        self._config = config
        self._replays = Replays(log, at_once=reads_at_once)
        self._channels: dict[LogId, Channel] = {}
        #: The open streams, each with the timeout that ends its waiting.
        self._open: dict[Stream, asyncio.Timeout] = {}
        self._stopping = False

    def __len__(self) -> int:
        return len(self._open)

    def buffered(self) -> list[int]:
        """Unsent bytes of each stream in this process."""
        return [stream.transport.get_write_buffer_size() for stream in self._open]

    @asynccontextmanager
    async def channel(self, log_id: LogId) -> AsyncIterator[Channel]:
        """What the log's streams share, while this is open. Raises ``GatewayStopping``."""
        if self._stopping:
            raise GatewayStopping()
        async with self._tails.watch(log_id) as tail:
            channel = self._channels.get(log_id)
            if channel is None or channel.tail is not tail or not channel.pump.is_running:
                pump = Pump(log_id, self._log, tail, self._metrics)
                channel = self._channels[log_id] = Channel(log_id, tail, pump)
                channel.pump.start()
            channel.streams += 1
            try:
                yield channel
            finally:
                channel.streams -= 1
                if not channel.streams:
                    channel.pump.stop()
                    if self._channels.get(log_id) is channel:
                        del self._channels[log_id]

    async def begin(self, channel: Channel, last_event_id: str | None, *, from_start: bool) -> Cursor | Reset:
        """Where a client with this ``last_event_id`` starts, or its reset.

        Raises ``ProjectNotFound`` and database errors.
        """
        tail = channel.tail
        named = Cursor.parse(last_event_id) if last_event_id else None
        if named is not None and tail.reaches(named) and named.seq <= tail.head:
            # No look-up is needed: the tail has it.
            return named
        return await self._place(channel, last_event_id, from_start=from_start)

    async def _place(self, channel: Channel, text: str | None, *, from_start: bool = False) -> Cursor | Reset:
        named = Cursor.parse(text) if text else None
        async with self._replays.turn:
            head = await self._log.head(channel.log_id, former=None if named is None else named.epoch)
        channel.tail.move(head.cursor)
        return judge(head, text, from_start=from_start)

    async def serve(self, channel: Channel, stream: Stream) -> None:
        """Write the log to the stream until the project is deleted or the gateway stops.

        A disconnect cancels this. ``beat`` disconnects a client that does not read.
        """
        try:
            async with asyncio.timeout(None) as waiting:
                self._open[stream] = waiting
                if self._stopping:
                    # ``stop`` was called in between.
                    self._part(stream)
                while not (channel.tail.gone or stream.transport.is_closing()):
                    await self._advance(channel, stream)
        except TimeoutError:
            logger.debug("stream ended: the gateway stops")
        except ProjectNotFound:
            logger.debug("stream ended: its project has been deleted")
        finally:
            self._open.pop(stream, None)

    async def beat(self) -> None:
        """Heartbeats where nothing is to say, and the end of streams whose clients take nothing; until cancelled."""
        pause = min(self._config.heartbeat, self._config.stall) / 5
        await every(min(pause, 1.0), self._beat, failed="no heartbeats")

    async def _beat(self) -> None:
        now = asyncio.get_running_loop().time()
        for stream in list(self._open):
            if stream.has_stalled(now, self._config.stall):
                logger.info("stream ended: its client takes nothing")
                stream.transport.abort()
            elif now - stream.wrote_at >= self._pause_of(stream) and not stream.is_full:
                stream.beat()

    def _pause_of(self, stream: Stream) -> float:
        return min(self._config.heartbeat, stream.dialect.longest_pause)

    async def stop(self) -> None:
        """Tell all clients to reconnect, spread over time, and accept no more."""
        self._stopping = True
        streams = list(self._open)
        random.shuffle(streams)
        pause = min(self._config.drain / max(len(streams), 1), _PARTING_SECONDS)
        loop = asyncio.get_running_loop()
        due = loop.time()
        for stream in streams:
            if stream in self._open:
                self._part(stream)
            due += pause
            if due > loop.time():
                await asyncio.sleep(due - loop.time())

    async def close(self) -> None:
        for channel in self._channels.values():
            channel.pump.stop()
        await self._replays.close()

    def _part(self, stream: Stream) -> None:
        if not stream.is_full and not stream.transport.is_closing():
            stream.beat(retry=round(1000 * self._config.retry * random.uniform(0.1, 1)))
        self._open.pop(stream).reschedule(asyncio.get_running_loop().time())

    async def _advance(self, channel: Channel, stream: Stream) -> None:
        await stream.drain()
        if stream.epoch == channel.tail.epoch and channel.tail.reaches(stream.cursor):
            await channel.pump.carry(stream)
            return
        try:
            if stream.epoch != channel.tail.epoch:
                _continue(channel, stream, await self._place(channel, str(stream.cursor)))
                return
            head = channel.tail.head
            passage = await self._replays.read(channel.log_id, stream.cursor, stream.session_id, head)
            if passage is not None:
                if passage.through < channel.tail.since:
                    next_place = attrs.evolve(stream.cursor, seq=passage.through)
                    self._replays.foresee(channel.log_id, passage, next_place, stream.session_id, head)
                await _write(channel, stream, passage)
            elif stream.seq < head:
                # The log ends before its known head: it is another log with the same epoch.
                await self._reset(channel, stream, "beyond_head")
        except NotKept as exc:
            known = Head(epoch=exc.epoch, floor=exc.floor, head=exc.head)
            if exc.epoch == stream.epoch:
                _tell(channel, stream, reset(known, "no_longer_kept"))
            else:
                channel.tail.move(known.cursor)
        except DatabaseUnavailable as exc:
            logger.debug("stream waits for the database", extra={"error": str(exc)})
            await asyncio.sleep(random.uniform(RETRY_SECONDS, 2 * RETRY_SECONDS))

    async def _reset(self, channel: Channel, stream: Stream, reason: str) -> None:
        _tell(channel, stream, reset(await self._log.head(channel.log_id), reason))


async def _write(channel: Channel, stream: Stream, passage: Passage) -> None:
    while stream.seq < passage.through:
        await stream.drain()
        if stream.epoch != channel.tail.epoch:
            # The database was failed over, and may not have this any more.
            return
        data, seq = passage.piece(stream.seq)
        stream.write(data, Cursor(stream.epoch, seq))


def _continue(channel: Channel, stream: Stream, place: Cursor | Reset) -> None:
    """Take the stream to its place in the log's present epoch, and say so: a client that comes back names it."""
    if isinstance(place, Reset):
        _tell(channel, stream, place)
    else:
        stream.write(b"", place)
        stream.beat()


def _tell(channel: Channel, stream: Stream, told: Reset) -> None:
    channel.tail.move(Cursor(told.epoch, told.head))
    stream.write(stream.dialect.reset(told), Cursor(told.epoch, told.head))
