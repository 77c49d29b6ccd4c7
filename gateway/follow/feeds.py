"""The feeds of a container: its ACP port's event stream, and those of its OpenCode; the log of each, and what is
recorded there when it breaks.

One lease covers all: the follower knows a container's secrets before it reads any.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Protocol

from gateway.container.values import ContainerFacts
from gateway.follow.lease import Lease, Leases
from gateway.follow.recorder import Translate
from gateway.follow.source import UNNUMBERED, Source
from gateway.follow.spool import Read
from gateway.log.ids import LogId
from gateway.log.store import Log, NewEvent, StaleFence
from gateway.wire.events import OPENCODE_EVENT, Gap
from gateway.wire.opencode import EventStream


class Stream(Protocol):
    """Opens the stream of a feed."""

    async def read_facts(self) -> ContainerFacts: ...

    def events(
        self, facts: ContainerFacts, last_event_id: str | None, *, max_event_bytes: int, silence: float
    ) -> AbstractAsyncContextManager[AsyncIterator[Read]]: ...


#: Events may be in transit for this long before something of them is read.
ON_ITS_WAY = timedelta(seconds=1)

Find = Callable[[str], Awaitable[Stream]]
#: Called when a container's stream is open, with the follower's fence.
OnConnected = Callable[[str, ContainerFacts, int], Awaitable[None]]
#: The same for OpenCode's, and whether it was after a break.
OnOpencodeConnected = Callable[[str, ContainerFacts, bool], Awaitable[None]]


class Feed(ABC):
    """One kind of feed, for any project."""

    def __init__(self, log: Log, leases: Leases, *, find: Find, translate: Translate) -> None:
        self._log = log
        self._leases = leases
        self.find = find
        self.translate = translate

    @abstractmethod
    def log_id(self, project_id: str) -> LogId:
        """The log that it is recorded in."""

    @abstractmethod
    def gap(self, gap: Gap) -> NewEvent:
        """A gap as an event of that log."""

    @abstractmethod
    async def begin(
        self, lease: Lease, source: Source, facts: ContainerFacts, closed_at: datetime | None = None
    ) -> None:
        """The stream is open: record a gap if something may be missing, and notify those who wait.

        ``closed_at``: when the stream before was closed, if it was silent then and this is the first try since.
        Raises ``StaleFence`` if another process follows.
        """

    @abstractmethod
    async def connected(self, lease: Lease, source: Source, facts: ContainerFacts) -> None:
        """What the container says from now on is recorded: prompts may be sent. Raises ``StaleFence``."""

    @abstractmethod
    async def end(self, lease: Lease, stored_at: datetime | None) -> None:
        """The stream has ended. What it brought until then is stored; None: until what the database says."""


class AcpFeed(Feed):
    """The ACP port's events, for the project's own log."""

    def __init__(
        self, log: Log, leases: Leases, *, find: Find, translate: Translate, on_connected: OnConnected
    ) -> None:
        super().__init__(log, leases, find=find, translate=translate)
        self._on_connected = on_connected

    def log_id(self, project_id: str) -> LogId:
        return LogId(project_id)

    def gap(self, gap: Gap) -> NewEvent:
        return NewEvent.of(gap)

    async def begin(
        self, lease: Lease, source: Source, facts: ContainerFacts, closed_at: datetime | None = None
    ) -> None:
        before = await self._leases.last_source(lease.project_id)
        if not await self._is_complete(lease, source, before, closed_at):
            await self._append_break(lease, source, before)
        # Before others learn that the container is followed: prompts that are sent from then on belong to this boot.
        await self._on_connected(lease.project_id, facts, lease.fence)

    async def connected(self, lease: Lease, source: Source, facts: ContainerFacts) -> None:
        await self._leases.connected(lease, source.boot, facts)

    async def end(self, lease: Lease, stored_at: datetime | None) -> None:
        await self._leases.disconnected(lease)

    async def _is_complete(self, lease: Lease, source: Source, before: str | None, closed_at: datetime | None) -> bool:
        """Whether the container can have said nothing between two streams."""
        if closed_at is None or not before == source.boot == UNNUMBERED:
            return False
        return not await self._leases.is_at_work(lease.project_id, closed_at - ON_ITS_WAY)

    async def _append_break(self, lease: Lease, source: Source, before: str | None) -> None:
        """Record what may be missing: everything since the break, or what the container's last boot still had."""
        if before is None or (before == source.boot and source.numbered):
            return
        if before == UNNUMBERED or not source.numbered:
            gap, key = Gap(reason="stream_interrupted"), None
        else:
            mark = await self._log.mark(LogId(lease.project_id), before)
            gap, key = Gap(reason="container_restarted", source=before, from_=mark + 1), f"gap:{before}:{mark}"
        await self._log.append(LogId(lease.project_id), [NewEvent.of(gap, key=key)], fence=lease.fence)


class OpencodeFeed(Feed):
    """One of OpenCode's streams, for a log of its own. Its events are not numbered, so each break may lose some."""

    def __init__(
        self,
        log: Log,
        leases: Leases,
        stream: EventStream,
        *,
        find: Find,
        translate: Translate,
        on_connected: OnOpencodeConnected,
        count_gap: Callable[[str], None],
    ) -> None:
        super().__init__(log, leases, find=find, translate=translate)
        self._stream = stream
        self._on_connected = on_connected
        self._count_gap = count_gap

    def log_id(self, project_id: str) -> LogId:
        return LogId(project_id, self._stream.name)

    def gap(self, gap: Gap, *, since: datetime | None = None) -> NewEvent:
        self._count_gap(gap.reason)
        until = None if since is None else datetime.now(UTC)
        return NewEvent(type=OPENCODE_EVENT, data=self._stream.gap(gap, since=since, until=until))

    async def begin(
        self, lease: Lease, source: Source, facts: ContainerFacts, closed_at: datetime | None = None
    ) -> None:
        log_id = self.log_id(lease.project_id)
        if not await self._leases.claim_opencode_log(lease, log_id):
            raise StaleFence()
        stored_at = await self._leases.opencode_stored_at(log_id)
        await self._on_connected(lease.project_id, facts, stored_at is not None)
        connected = self._leases.opencode_connected(lease, log_id, stored_at=datetime.now(UTC))
        # One for each break.
        gaps = []
        if stored_at is not None:
            gaps.append(self.gap(Gap(reason="stream_interrupted"), since=stored_at - ON_ITS_WAY))
        await self._log.append(log_id, gaps, fence=lease.fence, effects=[connected])

    async def connected(self, lease: Lease, source: Source, facts: ContainerFacts) -> None:
        """``begin`` has noted it, together with the gap."""

    async def end(self, lease: Lease, stored_at: datetime | None) -> None:
        await self._leases.opencode_disconnected(lease, self.log_id(lease.project_id), stored_at=stored_at)
