"""Which containers this process follows: those of projects with a living session, and those that somebody asks for."""

import asyncio
import logging

from gateway.db.pool import Database
from gateway.errors import GatewayError, UpstreamUnreachable
from gateway.log.follower import Follower, Rules
from gateway.log.lease import Leases
from gateway.log.store import Log
from gateway.log.tail import Tails

logger = logging.getLogger(__name__)

REVIEW_SECONDS = 2.0
CONNECT_SECONDS = 5.0
POLL_SECONDS = 0.02


class Followers:
    """Owns the followers of this process. ``review`` is its task; ``close`` ends all."""

    def __init__(self, database: Database, log: Log, tails: Tails, leases: Leases, rules: Rules) -> None:
        self._database = database
        self._log = log
        self._tails = tails
        self._leases = leases
        self._rules = rules
        self._running: dict[str, tuple[Follower, asyncio.Task[None]]] = {}
        #: When each was last asked for, by the loop's clock.
        self._asked: dict[str, float] = {}

    async def review(self) -> None:
        """Start and stop followers as sessions and streams come and go, until cancelled."""
        while True:
            try:
                await self._review()
            except GatewayError as exc:
                logger.warning("followers not reviewed", extra={"error": str(exc)})
            await asyncio.sleep(REVIEW_SECONDS)

    def follow(self, project_id: str) -> Follower:
        """Follow this project's container from now on, for as long as there is a reason to."""
        self._asked[project_id] = asyncio.get_running_loop().time()
        known = self._running.get(project_id)
        if known and not known[1].done():
            return known[0]
        follower = Follower(project_id, self._log, self._leases, self._rules)
        task = asyncio.create_task(follower.run(), name=f"follower {project_id}")
        task.add_done_callback(_log_end)
        self._running[project_id] = (follower, task)
        return follower

    def held(self) -> list[str]:
        """The projects whose lease this process holds, as far as it knows: their housekeeping is done here."""
        return [project_id for project_id, (follower, _) in self._running.items() if follower.holding]

    async def connected(self, project_id: str) -> None:
        """Wait until somebody, here or elsewhere, reads the container's stream: what it says from now on is recorded.

        Raises why it does not, or ``UpstreamUnreachable``, after a few seconds.
        """
        follower = self.follow(project_id)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                # The lease is the truth, here too: with another address of the container it has been taken back.
                while not await self._leases.is_connected(project_id):  # noqa: ASYNC110 - another gateway may set it
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise follower.failure or UpstreamUnreachable("The container's event stream cannot be read.") from None

    async def leave(self, project_id: str) -> None:
        """Stop following this project's container, until there is a reason to again."""
        self._asked.pop(project_id, None)
        known = self._running.pop(project_id, None)
        if known is not None:
            known[1].cancel()
            await asyncio.wait((known[1],))

    async def close(self) -> None:
        tasks = [task for _, task in self._running.values()]
        self._running.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _review(self) -> None:
        began = asyncio.get_running_loop().time()
        await self._database.execute("discard_stale_sessions")
        wanted = {row["id"] for row in await self._database.fetch_all("list_projects_to_follow")}
        wanted.update(self._tails.watched())
        for project_id in wanted:
            self.follow(project_id)
        for project_id in self._running.keys() - wanted:
            # One that was asked for meanwhile may have its reason since the reasons were read.
            if self._asked.get(project_id, 0.0) < began:
                await self.leave(project_id)


def _log_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("follower died", exc_info=task.exception(), extra={"task": task.get_name()})
