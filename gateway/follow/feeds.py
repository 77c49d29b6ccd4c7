"""The feeds of a container: the event stream of its ACP port, and OpenCode's own; which log each goes into, and what is
said there where it breaks.

One lease holds for both: who follows a container knows the secrets that it was given before it reads either.
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
from gateway.log.ids import OPENCODE, LogId
from gateway.log.store import Log, NewEvent, StaleFence
from gateway.wire import opencode
from gateway.wire.events import OPENCODE_EVENT, Gap


class Stream(Protocol):
    """Where a feed comes from."""

    async def read_facts(self) -> ContainerFacts: ...

    def events(
        self, facts: ContainerFacts, last_event_id: str | None, *, max_event_bytes: int, silence: float
    ) -> AbstractAsyncContextManager[AsyncIterator[Read]]: ...


#: What OpenCode said so long before something of it was read last may still have been on its way.
ON_ITS_WAY = timedelta(seconds=1)

Find = Callable[[str], Awaitable[Stream]]
#: Called once a container's stream is open, with the fence under which it is followed.
OnConnected = Callable[[str, ContainerFacts, int], Awaitable[None]]
#: The same of OpenCode's; and whether that was after a break.
OnOpencodeConnected = Callable[[str, ContainerFacts, bool], Awaitable[None]]


class Feed(ABC):
    """One kind of feed, of whatever project."""

    def __init__(self, log: Log, leases: Leases, *, find: Find, translate: Translate) -> None:
        self._log = log
        self._leases = leases
        self.find = find
        self.translate = translate

    @abstractmethod
    def log_id(self, project_id: str) -> LogId:
        """The log that it goes into."""

    @abstractmethod
    def gap(self, gap: Gap) -> NewEvent:
        """How that log says that something is missing."""

    @abstractmethod
    async def begin(self, lease: Lease, source: Source, facts: ContainerFacts) -> None:
        """It is open: what may be missing before it stands in the log, and whoever waits for it goes on.

        Raises ``StaleFence`` where another process follows.
        """

    @abstractmethod
    async def end(self, lease: Lease, stored_at: datetime) -> None:
        """It is read no more, and brought something last at this time."""


class AcpFeed(Feed):
    """What a container says on its ACP port goes into the project's own log."""

    def __init__(
        self, log: Log, leases: Leases, *, find: Find, translate: Translate, on_connected: OnConnected
    ) -> None:
        super().__init__(log, leases, find=find, translate=translate)
        self._on_connected = on_connected

    def log_id(self, project_id: str) -> LogId:
        return LogId(project_id)

    def gap(self, gap: Gap) -> NewEvent:
        return NewEvent.of(gap)

    async def begin(self, lease: Lease, source: Source, facts: ContainerFacts) -> None:
        before = await self._leases.last_source(lease.project_id)
        await self._append_break(lease, source, before)
        # Before anybody is told that the container is followed: a prompt that is sent from then on is of this boot.
        await self._on_connected(lease.project_id, facts, lease.fence)
        await self._leases.connected(lease, source.boot, facts)

    async def end(self, lease: Lease, stored_at: datetime) -> None:
        await self._leases.disconnected(lease)

    async def _append_break(self, lease: Lease, source: Source, before: str | None) -> None:
        """Say in the log what may be missing: all since the break, or all that the container's last boot still had."""
        if before is None or (before == source.boot and source.numbered):
            return
        if before == UNNUMBERED or not source.numbered:
            gap, key = Gap(reason="stream_interrupted"), None
        else:
            mark = await self._log.mark(LogId(lease.project_id), before)
            gap, key = Gap(reason="container_restarted", source=before, from_=mark + 1), f"gap:{before}:{mark}"
        await self._log.append(LogId(lease.project_id), [NewEvent.of(gap, key=key)], fence=lease.fence)


class OpencodeFeed(Feed):
    """What OpenCode says on its own port goes into a log of its own. It numbers nothing: each break may be a loss."""

    def __init__(
        self,
        log: Log,
        leases: Leases,
        *,
        find: Find,
        translate: Translate,
        on_connected: OnOpencodeConnected,
        count_gap: Callable[[str], None],
    ) -> None:
        super().__init__(log, leases, find=find, translate=translate)
        self._on_connected = on_connected
        self._count_gap = count_gap

    def log_id(self, project_id: str) -> LogId:
        return LogId(project_id, OPENCODE)

    def gap(self, gap: Gap, *, since: datetime | None = None) -> NewEvent:
        self._count_gap(gap.reason)
        until = None if since is None else datetime.now(UTC)
        return NewEvent(type=OPENCODE_EVENT, data=opencode.gap(gap, since=since, until=until))

    async def begin(self, lease: Lease, source: Source, facts: ContainerFacts) -> None:
        if not await self._leases.claim_opencode_log(lease):
            raise StaleFence()
        stored_at = await self._leases.opencode_stored_at(lease.project_id)
        await self._on_connected(lease.project_id, facts, stored_at is not None)
        connected = self._leases.opencode_connected(lease, stored_at=datetime.now(UTC))
        # One for each break: whoever is interrupted here has said it, or has not.
        gaps = []
        if stored_at is not None:
            gaps.append(self.gap(Gap(reason="stream_interrupted"), since=stored_at - ON_ITS_WAY))
        await self._log.append(self.log_id(lease.project_id), gaps, fence=lease.fence, effects=[connected])

    async def end(self, lease: Lease, stored_at: datetime) -> None:
        await self._leases.opencode_disconnected(lease, stored_at=stored_at)
