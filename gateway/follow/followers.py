"""Decides which containers this process follows: those with an active session, those that somebody asked for, and those
whose OpenCode is recorded, of which OpenCode's streams are followed under the same lease.

Twice a second, one statement for all projects takes free leases. A request, or another gateway's notice that it
releases leases, causes a look at once.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from datetime import datetime

import attrs

from gateway.db.availability import log_failure
from gateway.db.every import every
from gateway.db.pool import Database
from gateway.errors import GatewayError, UpstreamUnreachable
from gateway.follow.feeds import AcpFeed, Feed, OpencodeFeed
from gateway.follow.follower import ASKED_BACKOFF_SECONDS, WATCHED_BACKOFF_SECONDS, Follower, Rules
from gateway.follow.lease import Lease, Leases
from gateway.log.ids import ACP, LogId
from gateway.log.store import Log, StaleFence
from gateway.stream.tail import Tails
from gateway.stream.wakeups import Wakeups
from gateway.tasks import wait_for

logger = logging.getLogger(__name__)

REVIEW_SECONDS = 0.5
#: Without a look for this long, something is wrong, such as the database.
OVERDUE_SECONDS = 10.0
#: A free lease may be locked for a moment, by an append or another gateway.
RETRY_SECONDS, RETRIED_SECONDS = 0.05, 1.0
#: How often all active sessions are read, and followers without a reason are stopped.
THOROUGH_SECONDS = 10.0
#: How long a request is a reason to follow, until a session or stream exists.
ASKED_SECONDS = 30.0
CONNECT_SECONDS = 5.0
#: After a database outage, the former holders have this long to renew their leases.
HOLDERS_FIRST_SECONDS = 1.0
#: What has been read is stored before a container is handed over, for as long as that may take.
LAST_WORDS_SECONDS = 0.3
#: How long stopping waits for the database: leases also expire.
RELEASE_SECONDS = 1.0


@attrs.define(eq=False)
class _Reading:
    follower: Follower
    task: asyncio.Task[None]

    def stop(self) -> None:
        """Stop, at once or when what was read is stored."""
        if not self.follower.stop():
            self.task.cancel()


@attrs.define(eq=False)
class _Held:
    lease: Lease
    acp: _Reading
    #: What is read of OpenCode's, by the name of the stream.
    opencode: dict[str, _Reading] = attrs.field(factory=dict)

    @property
    def readings(self) -> list[_Reading]:
        return [self.acp, *self.opencode.values()]

    def wait_for(self, *, at_most: float) -> None:
        """Somebody waits for the container's events."""
        for reading in self.readings:
            reading.follower.wait_for(at_most=at_most)

    def stored(self) -> dict[LogId, datetime]:
        """Until when all that OpenCode's streams said is stored."""
        followers = [reading.follower for reading in self.opencode.values()]
        return {follower.log_id: at for follower in followers if (at := follower.stored_at) is not None}


@attrs.frozen(kw_only=True)
class Feeds:
    """The feeds that are followed."""

    acp: AcpFeed
    #: By the name of the stream.
    opencode: Mapping[str, OpencodeFeed]


class Followers:
    """Owns the followers of this process. ``review`` and ``renew`` are its tasks; ``hand_over`` ends all."""

    def __init__(
        self,
        database: Database,
        log: Log,
        tails: Tails,
        leases: Leases,
        rules: Rules,
        wakeups: Wakeups,
    ) -> None:
        self._database = database
        self._log = log
        self._tails = tails
        self.leases = leases
        self._rules = rules
        self._wakeups = wakeups
        self._held: dict[str, _Held] = {}
        #: When each was last requested, by the loop's clock.
        self._asked: dict[str, float] = {}
        self._look = asyncio.Event()
        self._thorough_at = 0.0
        #: When leases were last looked at, by the loop's clock.
        self._reviewed_at = -math.inf
        self._handed_over = asyncio.Event()

    async def review(self, feeds: Feeds) -> None:
        """Start and stop followers as sessions and streams come and go, until cancelled."""
        away = False
        while True:
            self._look.clear()
            pause = REVIEW_SECONDS
            thorough = asyncio.get_running_loop().time() >= self._thorough_at
            try:
                if away:
                    # All leases may have expired; their holders come first, with what they have buffered.
                    await self._keep_all()
                    await asyncio.sleep(HOLDERS_FIRST_SECONDS)
                    away = False
                if any(held.lease.until <= asyncio.get_running_loop().time() for held in self._held.values()):
                    await self._keep_all()
                if await self._acquire(feeds.acp, everything=thorough):
                    pause = RETRY_SECONDS
                await self._record(feeds.opencode)
                if thorough:
                    await self._let_go()
                self._reviewed_at = asyncio.get_running_loop().time()
            except GatewayError as exc:
                away = True
                log_failure(logger, "followers not reviewed", exc)
            try:
                async with asyncio.timeout(pause):
                    await self._look.wait()
            except TimeoutError:
                continue

    async def renew(self) -> None:
        """Renew the leases until cancelled."""
        await every(self.leases.seconds / 3, self._keep_all, failed="leases not renewed")

    async def _keep_all(self) -> None:
        before = [held.lease for held in self._held.values()]
        stored = {log_id: at for held in self._held.values() for log_id, at in held.stored().items()}
        kept = {lease.project_id: lease for lease in await self.leases.renew(before, stored)}
        for lease in before:
            held = self._held.get(lease.project_id)
            if held is None or held.lease.fence != lease.fence:
                continue
            if lease.project_id in kept:
                held.lease = kept[lease.project_id]
            else:
                logger.warning("lease lost", extra={"project": lease.project_id})
                for reading in held.readings:
                    reading.task.cancel()

    def held(self) -> list[str]:
        """The projects whose lease this process holds, as far as it knows."""
        now = asyncio.get_running_loop().time()
        return [project_id for project_id, held in self._held.items() if held.lease.until > now]

    def counts(self) -> tuple[int, int]:
        """How many containers' streams are followed here, and how many of them are being read."""
        readings = [reading for held in self._held.values() for reading in held.readings]
        return len(readings), sum(reading.follower.is_connected for reading in readings)

    @property
    def is_reviewed(self) -> bool:
        """Whether leases are looked at; otherwise no new container is followed here."""
        return asyncio.get_running_loop().time() - self._reviewed_at < OVERDUE_SECONDS

    def look(self) -> None:
        """Look at the leases at once, as some may be free."""
        self._look.set()

    def follow(self, project_id: str) -> None:
        """Have this project's container followed, here or elsewhere, while there is a reason."""
        now = asyncio.get_running_loop().time()
        before = self._asked.get(project_id, 0.0)
        self._asked[project_id] = now
        if project_id not in self._held and before < now - REVIEW_SECONDS:
            self._look.set()

    def stir(self, project_id: str) -> None:
        """The project is being used: if its container is followed here and unreachable, retry soon."""
        if held := self._held.get(project_id):
            held.wait_for(at_most=ASKED_BACKOFF_SECONDS)

    async def connected(self, project_id: str) -> None:
        """Wait until some gateway reads the container's stream, so that its events are recorded from now on.

        Raises the reason if that fails, or ``UpstreamUnreachable`` after a few seconds.
        """
        # Only the lease counts, here too: a change of the container's address revokes it.
        if not await self._comes(project_id, self.leases.is_connected):
            held = self._held.get(project_id)
            failure = held.acp.follower.failure if held else None
            raise failure or UpstreamUnreachable("The container's event stream cannot be read.")

    async def record(self, log_id: LogId) -> None:
        """Have a stream of OpenCode's recorded from now on, if the project records OpenCode's events."""
        await self.leases.add_opencode_log(log_id)
        self._look.set()

    async def opencode_connected(self, log_id: LogId) -> None:
        """The same as ``connected`` for a stream of OpenCode's that is recorded."""
        if not await self._comes(log_id.project_id, lambda _: self.leases.is_opencode_connected(log_id)):
            held = self._held.get(log_id.project_id)
            reading = held.opencode.get(log_id.name) if held else None
            failure = reading.follower.failure if reading else None
            raise failure or UpstreamUnreachable("OpenCode's event stream cannot be read.")

    async def _comes(self, project_id: str, is_connected: Callable[[str], Awaitable[bool]]) -> bool:
        async def comes() -> bool:
            if await is_connected(project_id):
                return True
            self.follow(project_id)
            self.stir(project_id)
            return False

        return await wait_for(comes, seconds=CONNECT_SECONDS)

    async def leave(self, project_id: str) -> None:
        """Stop following this project's container, until there is a reason again."""
        self._asked.pop(project_id, None)
        await self._stop([project_id])

    async def hand_over(self) -> None:
        """Release all leases, so that other gateways continue at once."""
        self._handed_over.set()
        await self._stop(list(self._held))

    async def _acquire(self, feed: Feed, *, everything: bool) -> bool:
        """Take leases that are free and wanted; whether a project that was just requested is not followed here."""
        if self._handed_over.is_set():
            return False
        now = asyncio.get_running_loop().time()
        self._asked = {project: at for project, at in self._asked.items() if at > now - ASKED_SECONDS}
        asked = (self._asked.keys() | self._watched()) - self._held.keys()
        leases = await self.leases.acquire(asked, everything=everything)
        if self._handed_over.is_set():
            await self.leases.release(leases)
            return False
        for lease in leases:
            self._start(lease, feed)
        return any(self._asked[project] > now - RETRIED_SECONDS for project in self._asked.keys() - self._held.keys())

    async def _let_go(self) -> None:
        await self._database.execute("discard_stale_sessions")
        rows = await self._database.fetch_all("list_projects_to_follow", project_ids=list(self._held))
        watched = self._watched()
        # A turn's events are lost if the container keeps them for less than the pause.
        for row in rows:
            if row["is_busy"] and (held := self._held.get(row["id"])):
                held.wait_for(at_most=ASKED_BACKOFF_SECONDS)
        for project_id in self._held.keys() & watched:
            self._held[project_id].wait_for(at_most=WATCHED_BACKOFF_SECONDS)
        wanted = {row["id"] for row in rows} | self._asked.keys() | watched
        await self._stop(self._held.keys() - wanted)
        await self._database.execute("forget_unwanted_leases")
        self._thorough_at = asyncio.get_running_loop().time() + THOROUGH_SECONDS

    def _watched(self) -> set[str]:
        """The projects with a watched log."""
        return {log_id.project_id for log_id in self._tails.watched()}

    async def _record(self, feeds: Mapping[str, OpencodeFeed]) -> None:
        """Also follow OpenCode's streams that are recorded; end those that are no longer recorded."""
        watched = [log_id for log_id in self._tails.watched() if log_id.name != ACP]
        if not self._held and not watched:
            return
        readings = [reading for held in self._held.values() for reading in held.opencode.values()]
        read = [reading.follower.log_id for reading in readings if not reading.task.done()]
        known = {*watched, *(reading.follower.log_id for reading in readings)}
        rows = await self._database.fetch_all(
            "list_recorded",
            logs=list(feeds),
            held=list(self._held),
            **_names("read", read),
            **_names("known", known),
        )
        ended = []
        for row in rows:
            log_id, held = LogId.of(row), self._held.get(row["project_id"])
            if not row["recorded"]:
                self._tails.end(log_id)
                if held is not None and (former := held.opencode.pop(log_id.name, None)):
                    ended.append(former)
            elif held is not None:
                held.opencode[log_id.name] = self._read(held.lease, feeds[log_id.name])
        await _end(ended)

    def _start(self, lease: Lease, feed: Feed) -> None:
        held = self._held[lease.project_id] = _Held(lease, self._read(lease, feed))
        held.acp.task.add_done_callback(lambda _: self._ended(held))

    def _read(self, lease: Lease, feed: Feed) -> _Reading:
        follower = Follower(lease, feed, self._log, self._rules)
        task = asyncio.create_task(follower.run(), name=f"follower {follower.log_id}")
        task.add_done_callback(lambda task: _tell_end(task, follower.log_id))
        return _Reading(follower, task)

    def _ended(self, held: _Held) -> None:
        """The lease covers all feeds, so all end."""
        if self._held.get(held.lease.project_id) is held:
            del self._held[held.lease.project_id]
            for reading in held.opencode.values():
                reading.task.cancel()

    async def _stop(self, project_ids: Iterable[str]) -> None:
        stopped = [self._held.pop(project_id) for project_id in project_ids if project_id in self._held]
        if not stopped:
            return
        await _end([reading for held in stopped for reading in held.readings])
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                await self.leases.release([held.lease for held in stopped])
        except (GatewayError, TimeoutError) as exc:
            logger.warning("leases not released", extra={"error": str(exc) or "no answer in time"})
        else:
            self._wakeups.released()


def _names(kind: str, log_ids: Collection[LogId]) -> dict[str, list[str]]:
    """Logs as a query's parameters."""
    return {
        f"{kind}_projects": [log_id.project_id for log_id in log_ids],
        f"{kind}_logs": [log_id.name for log_id in log_ids],
    }


async def _end(readings: list[_Reading]) -> None:
    """Wait a moment until what was read is stored, then cancel."""
    if not readings:
        return
    for reading in readings:
        reading.stop()
    _, late = await asyncio.wait([reading.task for reading in readings], timeout=LAST_WORDS_SECONDS)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)


def _tell_end(task: asyncio.Task[None], log_id: LogId) -> None:
    exc = None if task.cancelled() else task.exception()
    extra = {"project": log_id.project_id, "log": str(log_id)}
    if isinstance(exc, StaleFence):
        logger.warning("another gateway follows now", extra=extra)
    elif exc is not None:
        logger.error("follower died", exc_info=exc, extra=extra)
