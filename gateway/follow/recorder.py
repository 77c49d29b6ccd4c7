"""From one stream of a container into the log: read, translated, appended, each at its own pace.

Reading never waits for the others (see ``spool``). An event that needs a look-up is looked up once all earlier events
are stored.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.db.availability import log_failure
from gateway.db.errors import OutcomeUnknown
from gateway.errors import DatabaseUnavailable, GatewayError, ProjectNotFound, UpstreamUnreachable
from gateway.follow.batches import Batches, Numbered
from gateway.follow.source import Source
from gateway.follow.spool import Dropped, Item, Read, Spool
from gateway.log.entries import NOTHING
from gateway.log.ids import LogId
from gateway.log.store import Log, NewEvent, StaleFence
from gateway.tasks import Slice
from gateway.telemetry.metrics import Metrics
from gateway.wire.events import Gap
from gateway.wire.sse import OversizedEvent, SSEEvent

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.1
#: A journal that is replayed makes no pause of this length; and how long the end of the replay is waited for.
QUIET_SECONDS, CATCH_UP_SECONDS = 0.2, 2.0
#: Events that are submitted at once; what arrives during an append is the next batch.
MAX_HANDED_IN = 100

#: Finds out what an event means if the event alone does not tell.
LookUp = Callable[[], Awaitable[NewEvent | None]]
#: The log event of a container's event, or a function to find it; None if there is none. It does not see numbers and
#: sources.
Translate = Callable[[str, SSEEvent], NewEvent | LookUp | None]
#: Whether the container that answers now has the boot of this stream.
IsSameBoot = Callable[[], Awaitable[bool]]


class FailedOver(DatabaseUnavailable):
    """The database was failed over; what it has lost is read again."""


class Recorder:
    """Records one stream."""

    def __init__(
        self,
        log_id: LogId,
        fence: int,
        source: Source,
        spool: Spool,
        *,
        log: Log,
        translate: Translate,
        is_same_boot: IsSameBoot,
        metrics: Metrics,
        gap: Callable[[Gap], NewEvent] = NewEvent.of,
    ) -> None:
        """``gap``: makes this log's event of a gap."""
        self._log_id = log_id
        self._project_id = log_id.project_id
        self._gap = gap
        self._fence = fence
        self._source = source
        self._spool = spool
        self._log = log
        self._translate = translate
        self._is_same_boot = is_same_boot
        self._metrics = metrics
        self._batches = Batches()
        self._reading: asyncio.Task[None] | None = None
        #: The number of the newest submitted event, and of the newest that is stored.
        self._place = self._stored = source.counted
        #: Whether the stream brought anything for the log.
        self.has_stored = False
        self._stored_at = self.read_at = datetime.now(UTC)
        #: Whether something was taken from the spool and not submitted yet.
        self._in_hand = False

    @property
    def stored_at(self) -> datetime | None:
        """Everything that arrived until then is stored; None where a failover may have lost some of it."""
        return self._stored_at if self._source.epoch == self._log.timeline.epoch else None

    async def record(self, reads: AsyncIterator[Read]) -> None:
        """Store what the stream brings; when it ends and all is stored, raise why."""
        self._reading = reading = asyncio.create_task(self._read(reads), name=f"read {self._log_id}")
        translating = asyncio.create_task(self._translate_all(), name=f"translate {self._log_id}")
        appending = asyncio.create_task(self._append_all(), name=f"append {self._log_id}")
        watching = asyncio.create_task(self._watch_timeline(), name=f"timeline of {self._log_id}")
        tasks = (appending, translating, reading, watching)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            # Appending ends after the others, or with a failure.
            self._spool.end()
            await asyncio.wait((appending,))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._spool.close()
        failures = [task.exception() for task in tasks if not task.cancelled()]
        for failure in filter(None, failures):
            raise failure

    def stop(self) -> None:
        """Stop reading; ``record`` ends once what was read is stored."""
        if self._reading is not None:
            self._reading.cancel()

    async def caught_up(self) -> None:
        """Wait until everything is stored and nothing more has come for a moment, but not for long."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + CATCH_UP_SECONDS
        while loop.time() < give_up_at:
            quiet_for = (datetime.now(UTC) - self.read_at).total_seconds()
            if self._stored_at >= self.read_at and quiet_for >= QUIET_SECONDS:
                return
            await asyncio.sleep(QUIET_SECONDS / 4)

    async def _read(self, reads: AsyncIterator[Read]) -> None:
        async for read in reads:
            self.read_at = datetime.now(UTC)
            if read:
                self._spool.put(read)

    async def _translate_all(self) -> None:
        piece = Slice()
        try:
            while (items := await self._spool.take()) is not None:
                self._in_hand = True
                for number, item in enumerate(items):
                    if waiting := self._take(item):
                        await waiting
                    if piece.is_over or number % MAX_HANDED_IN == 0:
                        await self._batches.handed_in()
                        await piece.give_way()
                await self._batches.handed_in()
                await piece.give_way()
                self._in_hand = False
                if self._batches.is_idle:
                    self._note_stored()
            await self._batches.stored()
        finally:
            self._batches.end()

    def _take(self, item: Item) -> Coroutine[Any, Any, None] | None:
        """Submit an item; returns what must be awaited, if its meaning needs a look-up."""
        if isinstance(item, Dropped):
            self._add(self._gap(Gap(reason=item.reason, count=item.count)), None)
            return None
        number = self._source.number(item)
        if self._source.numbered and number is None:
            # The container's own gap events add nothing: the numbers show gaps.
            return None if item.event == "gap" else self._pass_over(item)
        if number is not None:
            self._place = number
        if isinstance(item, OversizedEvent):
            gap = Gap(reason="oversized", source=self._source.boot, from_=number, to=number, count=1)
            self._add(self._gap(gap), number)
            return None
        try:
            meaning = self._translate(self._project_id, item)
        except Exception:
            meaning = self._failed(item, number)
        if callable(meaning):
            return self._look_up(item, meaning, number)
        self._add(meaning, number)
        return None

    def _add(self, meaning: NewEvent | None, number: int | None) -> None:
        if meaning is not None:
            self._batches.add(meaning, self._source.count() if number is None else number)
        elif number is not None:
            # Read, but not for this log.
            self._batches.add(NewEvent(type=NOTHING, data=b""), number)

    async def _pass_over(self, item: SSEEvent | OversizedEvent) -> None:
        """An event without a number of this boot: either the container has restarted, or there is a gap.

        It cannot be waited for, because the container's journal may repeat it each time.
        """
        if isinstance(item, SSEEvent) and self._means_nothing(item):
            return
        await self._batches.stored()
        if not await self._is_same_boot():
            raise UpstreamUnreachable("The container restarted between two calls.")
        # One gap for all of them at the same place, however often they come.
        key = f"gap:{self._source.boot}:{self._place}:unnumbered"
        self._batches.add(NewEvent.of(Gap(reason="unnumbered", source=self._source.boot), key=key), None)

    def _means_nothing(self, event: SSEEvent) -> bool:
        try:
            return self._translate(self._project_id, event) is None
        except Exception:  # logged where the event is translated to be stored
            return False

    async def _look_up(self, event: SSEEvent, look_up: LookUp, number: int | None) -> None:
        while True:
            await self._batches.stored()
            try:
                meaning = await look_up()
            except DatabaseUnavailable as exc:
                log_failure(logger, "translation waits", exc, project=self._project_id)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            except Exception:
                meaning = self._failed(event, number)
            self._add(meaning, number)
            return

    def _failed(self, event: SSEEvent, number: int | None) -> NewEvent:
        """A failure that nobody foresaw with one event must not hold up all later ones.

        The event is left out, since its secrets may not be masked.
        """
        logger.exception("event not translated", extra={"project": self._project_id, "event": event.event})
        return self._not_storable(number)

    def _not_storable(self, number: int | None) -> NewEvent:
        return self._gap(Gap(reason="not_storable", source=self._source.boot, from_=number, to=number, count=1))

    async def _append_all(self) -> None:
        while batch := await self._batches.next():
            await self._append(batch)

    async def _append(self, batch: Sequence[Numbered], *, is_gap: bool = False) -> None:
        while True:
            try:
                await self._check_timeline()
                await self._log.append(
                    self._log_id,
                    [event for event, _ in batch],
                    numbers=[number for _, number in batch],
                    source=self._source.name,
                    fence=self._fence,
                )
                self.has_stored = True
                self._stored = max([self._stored, *(number for _, number in batch if number is not None)])
                self._note_stored()
                self._metrics.committed((datetime.now(UTC) - batch[0][0].at).total_seconds())
                return
            except (StaleFence, ProjectNotFound, FailedOver):
                raise
            except (DatabaseUnavailable, OutcomeUnknown) as exc:
                # Repeating is harmless because of numbers; the fence decides whether it is still allowed.
                log_failure(logger, "append waits", exc, project=self._project_id)
                await asyncio.sleep(RETRY_SECONDS)
            except GatewayError as exc:
                await self._append_singly(batch, exc, is_gap=is_gap)
                return

    async def _watch_timeline(self) -> None:
        """For a container that says nothing more: what it said last may be lost."""
        while True:
            await self._log.timeline.after(self._source.epoch)
            try:
                await self._check_timeline()
            except FailedOver:
                raise
            except DatabaseUnavailable as exc:
                log_failure(logger, "container is not read again", exc, project=self._project_id)
                await asyncio.sleep(RETRY_SECONDS)

    async def _check_timeline(self) -> None:
        """``FailedOver`` if something that was stored is lost since, or may be and can be asked for again.

        After the mark that is known here, the log would note what is lost as skipped by the container.
        """
        epoch, stored = self._log.timeline.epoch, self._stored
        if epoch == self._source.epoch:
            return
        if self._source.numbered or await self._log.mark(self._log_id, self._source.name) < stored:
            raise FailedOver()
        self._source.epoch = epoch

    def _note_stored(self) -> None:
        if not self._in_hand and self._spool.is_empty and not self._batches.has_more:
            self._stored_at = self.read_at

    async def _append_singly(self, batch: Sequence[Numbered], exc: GatewayError, *, is_gap: bool) -> None:
        """One of them cannot be stored; it must not hold up the others."""
        if len(batch) > 1:
            for numbered in batch:
                await self._append([numbered])
            return
        event, number = batch[0]
        if is_gap or event.type == Gap.type:
            raise exc
        logger.error("event not stored", exc_info=exc, extra={"project": self._project_id, "event": event.type})
        gap = msgspec.structs.replace(self._not_storable(number), at=event.at)
        await self._append([(gap, number)], is_gap=True)
