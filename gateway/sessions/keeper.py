"""The housekeeping of projects: what nobody else would bring to its end.

Each gateway keeps house for the projects whose lease it holds, so that there is one for each, and looks after its own
turns besides. All that it goes by stands in the database: whoever takes the lease over goes on where the last one was.
"""

import asyncio
import logging

from gateway.config import TurnsConfig
from gateway.db.pool import Database, Row
from gateway.errors import GatewayError
from gateway.log.followers import Followers
from gateway.sessions.delivery import Delivery
from gateway.sessions.endings import Endings
from gateway.wire.events import TurnEnded

logger = logging.getLogger(__name__)

REVIEW_SECONDS = 1.0


class Keeper:
    """Looks after the running turns. ``keep`` is its task."""

    def __init__(
        self, database: Database, endings: Endings, delivery: Delivery, followers: Followers, config: TurnsConfig
    ) -> None:
        self._database = database
        self._endings = endings
        self._delivery = delivery
        self._followers = followers
        self._config = config

    async def keep(self) -> None:
        """Look each second, until cancelled."""
        while True:
            try:
                await self._review()
            except GatewayError as exc:
                logger.warning("house not kept", extra={"error": str(exc)})
            await asyncio.sleep(REVIEW_SECONDS)

    async def _review(self) -> None:
        turns = await self._database.fetch_all(
            "turns_to_look_after", gateway_id=self._delivery.gateway_id, project_ids=self._followers.held()
        )
        for turn in turns:
            if turn["undelivered"]:
                self._delivery.take_up(turn)
            if turn["kept_here"]:
                await self._look_after(turn)

    async def _look_after(self, turn: Row) -> None:
        if (turn["newest_seq"] or 0) > (turn["said_seq"] or 0):
            await self._database.execute(
                "note_newest", project_id=turn["project_id"], id=turn["id"], seq=turn["newest_seq"]
            )
            return
        if turn["unanswered_seconds"] is None:
            return
        if min(turn["unanswered_seconds"], turn["silent_seconds"]) > self._config.lost_after:
            message = (
                "The gateway stopped while the turn was running, its container tells only once how it ended, and the "
                f"session has said nothing for {self._config.lost_after:g} s."
            )
            ended = TurnEnded(outcome="lost", failure="gateway_restarted", message=message)
            await self._endings.end(turn["project_id"], turn["id"], ended)
