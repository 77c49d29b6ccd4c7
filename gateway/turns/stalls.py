"""Turns that nobody tells the end of: asked for where it can be known, warned of, ended in the end.

A turn may take as long as it says something. What is measured is the silence of its session, by the database's clock.
"""

import time

from gateway.backfill.backfill import Histories
from gateway.config.schema import TurnsConfig
from gateway.container.containers import Containers
from gateway.db.pool import Database, Row
from gateway.log.store import Log, NewEvent
from gateway.turns.cancelling import Cancelling
from gateway.turns.endings import Endings
from gateway.turns.inquiry import how_it_ended, is_running
from gateway.wire.events import TurnEnded, TurnStalling

#: How often the container is asked about a turn whose prompt's answer is lost.
INQUIRY_SECONDS = 3.0
#: The newest event is noted no more often than this part of the times that are measured from it.
PRECISION = 20


class Stalls:
    """Looks after running turns of which nothing is heard."""

    def __init__(
        self,
        database: Database,
        log: Log,
        containers: Containers,
        endings: Endings,
        cancelling: Cancelling,
        histories: Histories,
        config: TurnsConfig,
    ) -> None:
        self._database = database
        self._log = log
        self._containers = containers
        self._endings = endings
        self._cancelling = cancelling
        self._histories = histories
        self._config = config
        #: When the container was last asked about a turn.
        self._asked: dict[str, float] = {}

    async def look(self, turn: Row) -> None:
        """See how silent a turn (a row of ``turns_to_look_after``) is, and do what is due."""
        if await self._is_heard(turn):
            return
        if turn["unanswered_seconds"] is not None:
            await self._look_unanswered(turn)
        elif turn["silent_seconds"] > self._config.stall_after:
            await self._end_stalled(turn)
        elif turn["silent_seconds"] > self._config.stall_after / 2:
            await self._warn(turn)

    def forget(self, running: set[str]) -> None:
        """Remember nothing of turns but these."""
        for turn_id in self._asked.keys() - running:
            del self._asked[turn_id]

    async def _is_heard(self, turn: Row) -> bool:
        # What is packed away, so that the newest that is seen is an older one, is nothing new.
        silent = turn["said_at"] is not None and (turn["newest_seq"] or 0) <= (turn["said_seq"] or 0)
        if silent and not turn["waits_for_people"]:
            return False
        often = min(self._config.stall_after, self._config.lost_after) / PRECISION
        if turn["said_at"] is None or turn["silent_seconds"] > often:
            key = {"project_id": turn["project_id"], "id": turn["id"]}
            await self._database.execute("note_newest", seq=turn["newest_seq"], **key)
        return True

    async def _look_unanswered(self, turn: Row) -> None:
        now = time.monotonic()
        if turn["connected"] and now - self._asked.get(turn["id"], -INQUIRY_SECONDS) >= INQUIRY_SECONDS:
            self._asked[turn["id"]] = now
            if (ended := await self._told(turn)) is not None:
                await self._endings.end(turn["project_id"], turn["id"], ended)
                return
        if min(turn["unanswered_seconds"], turn["silent_seconds"]) > self._config.lost_after:
            message = (
                "The answer to the prompt was lost, with its connection or its gateway, the container tells the end of "
                f"a turn in no other way, and the session has said nothing for {self._config.lost_after:g} s."
            )
            await self._end(turn, TurnEnded(outcome="lost", failure="answer_lost", message=message))

    async def _warn(self, turn: Row) -> None:
        warning = TurnStalling(silent_for=round(turn["silent_seconds"], 1), ends_after=self._config.stall_after)
        event = NewEvent.of(
            warning,
            session_id=turn["session_id"],
            turn_id=turn["id"],
            agent_id=turn["agent_id"],
            key=f"turn_stalling:{turn['id']}:{turn['said_seq']}",
        )
        await self._log.append(turn["project_id"], [event])

    async def _end_stalled(self, turn: Row) -> None:
        silence = f"The session has said nothing for {self._config.stall_after:g} s"
        if not turn["connected"]:
            outcome = "failed" if turn["sent_at"] is None else "lost"
            message = f"{silence}, and its container cannot be reached."
            await self._end(turn, TurnEnded(outcome=outcome, failure="container_unreachable", message=message))
            return
        container = await self._containers.identify(await self._containers.project(turn["project_id"]))
        ended = await self._told(turn)
        if ended is None and not await is_running(container, turn):
            message = f"{silence}, and its container no longer works on the turn."
            ended = TurnEnded(outcome="lost", failure="end_not_told", message=message)
        if ended is not None:
            await self._end(turn, ended)
        else:
            # Whatever runs there must not be in the way of the next prompt. `as_asked` makes its end a stall.
            await self._cancelling.ask(turn)

    async def _told(self, turn: Row) -> TurnEnded | None:
        project = await self._containers.project(turn["project_id"])
        container = await self._containers.identify(project)
        if (ended := await self._histories.how_it_ended(project, turn["id"])) is not None:
            return ended
        return await how_it_ended(container, turn)

    async def _end(self, turn: Row, ended: TurnEnded) -> None:
        await self._endings.end(turn["project_id"], turn["id"], ended)
