"""The follower: reads one container's event stream and appends it to the project's log, watched or not.

One per container in the whole cluster, by lease. From a container that numbers its events it goes on at the mark that
is committed, so that each is stored once; from one that does not, every break of the stream is a gap in the log.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import attrs

from gateway.container.client import Container, ContainerInfo
from gateway.errors import DatabaseUnavailable, GatewayError, ProjectNotFound, UpstreamUnreachable
from gateway.log.lease import Lease, Leases
from gateway.log.store import Log, NewEvent, StaleFence
from gateway.wire.events import ContainerEvent, Gap
from gateway.wire.sse import OversizedEvent, SSEEvent

logger = logging.getLogger(__name__)

UNNUMBERED = "unnumbered"
#: What has been read and not been appended yet, in reads of the socket; past that the container has to wait.
MAX_PENDING_READS = 256
MAX_BATCH_EVENTS = 500
MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.1, 5.0

Read = Sequence[SSEEvent | OversizedEvent]
#: What a container's event means for the log; None where it means nothing. Numbers and sources are not its business.
Translate = Callable[[str, SSEEvent], Awaitable[NewEvent | None]]
#: Called once a container's stream is open.
OnConnected = Callable[[str, ContainerInfo], Awaitable[None]]
FindContainer = Callable[[str], Awaitable[Container]]


@attrs.frozen(kw_only=True)
class Rules:
    """What a follower needs to know of the rooms above it."""

    find_container: FindContainer
    translate: Translate
    on_connected: OnConnected
    max_event_bytes: int


class Follower:
    """Follows one project's container for as long as ``run`` runs."""

    def __init__(self, project_id: str, log: Log, leases: Leases, rules: Rules) -> None:
        self._project_id = project_id
        self._log = log
        self._leases = leases
        self._rules = rules
        #: Set while the container's stream is being read.
        self.connected = asyncio.Event()
        #: Why the last attempt failed, for those who wait for the connection.
        self.failure: GatewayError | None = None
        #: Set while this process holds the project's lease, as far as it knows.
        self.holding = False

    async def run(self) -> None:
        """Take the lease and follow, again and again, until cancelled or until the project is gone."""
        while True:
            try:
                lease = await self._leases.acquire(self._project_id)
                if lease is not None:
                    await self._hold(lease)
            except ProjectNotFound:
                return
            except GatewayError as exc:
                self.failure = exc
                logger.warning("following interrupted", extra={"project": self._project_id, "error": str(exc)})
            await asyncio.sleep(min(1.0, self._leases.seconds / 5))

    async def _hold(self, lease: Lease) -> None:
        renewing = asyncio.create_task(self._keep(lease), name=f"lease {self._project_id}")
        following = asyncio.create_task(self._follow(lease), name=f"follow {self._project_id}")
        self.holding = True
        try:
            await asyncio.wait((renewing, following), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.holding = False
            await _end(renewing, following)
            with suppress(GatewayError):
                await self._leases.release(lease)
        for task in (following, renewing):
            if not task.cancelled():
                task.result()

    async def _keep(self, lease: Lease) -> None:
        """Renew the lease until it is lost. A database that is away may come back before the lease has run out."""
        while True:
            await asyncio.sleep(self._leases.seconds / 3)
            try:
                kept = await self._leases.renew(lease)
            except GatewayError as exc:
                logger.warning("lease not renewed", extra={"project": self._project_id, "error": str(exc)})
                continue
            if not kept:
                raise StaleFence()

    async def _follow(self, lease: Lease) -> None:
        backoff = MIN_BACKOFF_SECONDS
        while True:
            try:
                await self._read_stream(lease)
            except (StaleFence, ProjectNotFound):
                raise
            except GatewayError as exc:
                self.failure = exc
                logger.info("container not followed", extra={"project": self._project_id, "error": str(exc)})
            if self.connected.is_set():
                backoff = MIN_BACKOFF_SECONDS
                self.connected.clear()
                with suppress(GatewayError):
                    await self._leases.disconnected(lease)
            await asyncio.sleep(backoff * random.uniform(0.5, 1.0))
            backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)

    async def _read_stream(self, lease: Lease) -> None:
        container = await self._rules.find_container(self._project_id)
        info = await container.info()
        source = await _Source.of(info, lease, self._log)
        async with container.events(info, source.last_event_id, max_event_bytes=self._rules.max_event_bytes) as reads:
            before = await self._leases.last_source(self._project_id)
            await self._append_break(lease, source, before)
            # Before anybody is told that the container is followed: a prompt that is sent from then on is of this boot.
            await self._rules.on_connected(self._project_id, info)
            await self._leases.connected(lease, source.boot)
            self.failure = None
            self.connected.set()
            logger.info("following", extra={"project": self._project_id, "source": source.boot})
            await self._drain(reads, source, lease)

    async def _append_break(self, lease: Lease, source: "_Source", before: str | None) -> None:
        """Say in the log what may be missing: all since the break, or all that the container's last boot still had."""
        if before is None or (before == source.boot and source.numbered):
            return
        if before == UNNUMBERED or not source.numbered:
            gap, key = Gap(reason="stream_interrupted"), None
        else:
            mark = await self._log.mark(self._project_id, before)
            gap, key = Gap(reason="container_restarted", source=before, from_=mark + 1), f"gap:{before}:{mark}"
        await self._log.append(self._project_id, [NewEvent.of(gap, key=key)], fence=lease.fence)

    async def _drain(self, reads: AsyncIterator[Read], source: "_Source", lease: Lease) -> None:
        """Read as fast as the container sends; what comes in while one append is under way is the next batch."""
        pending: asyncio.Queue[Read] = asyncio.Queue(MAX_PENDING_READS)
        reading = asyncio.create_task(_pump(reads, pending), name=f"read {self._project_id}")
        appending = asyncio.create_task(self._append_all(pending, source, lease), name=f"append {self._project_id}")
        try:
            await asyncio.wait((reading, appending), return_when=asyncio.FIRST_COMPLETED)
            if not appending.done():
                # The stream ended: what it brought is stored before the next one is opened.
                stored = asyncio.create_task(pending.join(), name=f"store {self._project_id}")
                await asyncio.wait((stored, appending), return_when=asyncio.FIRST_COMPLETED)
                await _end(stored)
        finally:
            await _end(reading, appending)
        for task in (appending, reading):
            if not task.cancelled():
                task.result()

    async def _append_all(self, pending: asyncio.Queue[Read], source: "_Source", lease: Lease) -> None:
        while True:
            reads = [await pending.get()]
            while not pending.empty() and sum(map(len, reads)) < MAX_BATCH_EVENTS:
                reads.append(pending.get_nowait())
            events = [event for read in reads for event in read]
            for start in range(0, len(events), MAX_BATCH_EVENTS):
                await self._append(events[start : start + MAX_BATCH_EVENTS], source, lease)
            for _ in reads:
                pending.task_done()

    async def _append(self, events: Sequence[SSEEvent | OversizedEvent], source: "_Source", lease: Lease) -> None:
        batch = []
        for event in events:
            number = source.number(event)
            if source.numbered and number is None:
                if event.event == "gap":
                    continue  # the container's own word on it: the numbers tell it too
                raise UpstreamUnreachable("The container restarted between two calls.")
            new = _oversized(event, source) if isinstance(event, OversizedEvent) else await self._translate(event)
            if new is not None:
                batch.append(attrs.evolve(new, number=number if source.numbered else source.count()))
        while batch:
            try:
                await self._log.append(self._project_id, batch, source=source.name, fence=lease.fence)
                return
            except DatabaseUnavailable as exc:
                # Numbers make it harmless to repeat; the lease decides for how long.
                logger.warning("append waits", extra={"project": self._project_id, "error": str(exc)})
                await asyncio.sleep(MIN_BACKOFF_SECONDS)

    async def _translate(self, event: SSEEvent) -> NewEvent | None:
        while True:
            try:
                return await self._rules.translate(self._project_id, event)
            except DatabaseUnavailable as exc:
                logger.warning("translation waits", extra={"project": self._project_id, "error": str(exc)})
                await asyncio.sleep(MIN_BACKOFF_SECONDS)
            except Exception:
                # One event that nobody foresaw must not hold up all that come after it, again and again.
                logger.exception("event not understood", extra={"project": self._project_id, "event": event.event})
                return NewEvent.of(ContainerEvent(event=event.event, data=event.data))


@attrs.define
class _Source:
    """Where events come from, and how they are numbered: by the container, or else by this follower as they come."""

    numbered: bool
    #: What the lease remembers: the container's boot, or that it has none.
    boot: str
    #: Under which the log keeps its mark. Our own numbers begin anew with each fence.
    name: str
    last_event_id: str | None
    counted: int

    @classmethod
    async def of(cls, info: ContainerInfo, lease: Lease, log: Log) -> "_Source":
        if info.numbers_events and info.boot_id is not None:
            mark = await log.mark(lease.project_id, info.boot_id)
            return cls(True, info.boot_id, info.boot_id, f"{info.boot_id}-{mark}", mark)
        name = f"{UNNUMBERED}-{lease.fence}"
        return cls(False, UNNUMBERED, name, None, await log.mark(lease.project_id, name))

    def number(self, event: SSEEvent | OversizedEvent) -> int | None:
        """The container's number of an event, ``<bootId>-<n>``; None where the event carries none of its own."""
        boot, _, number = (event.id or "").rpartition("-")
        if boot != self.boot or not number.isdigit() or event.event == "gap":
            return None
        return int(number)

    def count(self) -> int:
        self.counted += 1
        return self.counted


def _oversized(event: OversizedEvent, source: _Source) -> NewEvent:
    number = source.number(event)
    gap = Gap(reason="oversized", source=source.boot, from_=number, to=number, count=1)
    return NewEvent.of(gap)


async def _pump(reads: AsyncIterator[Read], pending: asyncio.Queue[Read]) -> None:
    async for read in reads:
        if read:
            await pending.put(read)


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
