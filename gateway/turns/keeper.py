"""The housekeeping of projects: what nobody else would bring to its end.

Each gateway keeps house for the projects whose lease it holds, so that there is one for each, and looks after its own
turns besides. All that it goes by stands in the database: whoever takes the lease over goes on where the last one was.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from gateway.config.schema import TurnsConfig
from gateway.db.availability import log_failure
from gateway.db.pool import Database, Row
from gateway.errors import GatewayError, NotFound
from gateway.follow.followers import Followers
from gateway.permissions.requests import Permissions
from gateway.tasks import Tasks
from gateway.turns.cancelling import Cancelling
from gateway.turns.delivery import Delivery
from gateway.turns.endings import Endings
from gateway.turns.queue import Queue
from gateway.turns.stalls import Stalls
from gateway.wire.events import TurnEnded

logger = logging.getLogger(__name__)

REVIEW_SECONDS = 1.0


class Keeper:
    """Looks after the turns that run or wait, and the permission requests that wait. ``keep`` is its task."""

    def __init__(
        self,
        database: Database,
        endings: Endings,
        delivery: Delivery,
        cancelling: Cancelling,
        stalls: Stalls,
        queue: Queue,
        followers: Followers,
        permissions: Permissions,
        config: TurnsConfig,
    ) -> None:
        self._database = database
        self._endings = endings
        self._delivery = delivery
        self._cancelling = cancelling
        self._stalls = stalls
        self._queue = queue
        self._followers = followers
        self._permissions = permissions
        self._config = config
        self._tasks = Tasks()
        #: The turns for which something is being done; one thing at a time.
        self._busy: set[str] = set()

    async def keep(self) -> None:
        """Look each second, until cancelled."""
        while True:
            # Each for itself: what one of them cannot do keeps the other from nothing.
            for review in (self._review_turns, self._review_permissions):
                try:
                    await review()
                except GatewayError as exc:
                    log_failure(logger, "house not kept", exc)
                except Exception:
                    # One that nobody foresaw must not leave all houses unkept from then on.
                    logger.exception("house not kept")
            await asyncio.sleep(REVIEW_SECONDS)

    async def close(self) -> None:
        await self._tasks.close()

    async def _review_permissions(self) -> None:
        await self._permissions.review(self._followers.held())

    async def _review_turns(self) -> None:
        await self._delivery.reclaim()
        held = self._followers.held()
        for idle in await self._database.fetch_all("idle_queues", project_ids=held):
            self._queue.advance(idle["project_id"], idle["session_id"])
        turns = await self._database.fetch_all(
            "turns_to_look_after", gateway_id=self._delivery.gateway_id, project_ids=held
        )
        self._stalls.forget({turn["id"] for turn in turns})
        for turn in turns:
            if turn["undelivered"]:
                self._delivery.take_up(turn)
            if turn["kept_here"]:
                self._do(self._look_after(turn), turn["id"])

    async def _look_after(self, turn: Row) -> None:
        if turn["session_status"] == "ended":
            ended = TurnEnded(outcome="cancelled", message="The session was ended.")
            await self._endings.end(turn["project_id"], turn["id"], ended)
            return
        wanted = turn["cancel_requested_at"] is not None or turn["cancel_sent_at"] is not None
        if wanted and turn["sent_at"] is not None and turn["connected"]:
            await self._cancelling.step(turn)
        if not wanted or turn["unanswered_since"] is not None or not turn["connected"]:
            await self._stalls.look(turn)

    def _do(self, work: Coroutine[Any, Any, None], turn_id: str) -> None:
        """A container that is slow to answer for one turn is not waited for by the others."""
        if turn_id in self._busy:
            work.close()
            return
        self._busy.add(turn_id)
        task = self._tasks.start(self._logged(work, turn_id), name=f"look after {turn_id}")
        task.add_done_callback(lambda _: self._busy.discard(turn_id))

    async def _logged(self, work: Coroutine[Any, Any, None], turn_id: str) -> None:
        try:
            await work
        except NotFound:
            return  # with its project
        except GatewayError as exc:
            log_failure(logger, "turn not looked after", exc, level=logging.INFO, turn=turn_id)
