"""Cancelling a turn: its container is asked, then waited for; then the agent is stopped.

Each step is written down before it is taken, so that whoever keeps the project's house goes on with it. While the
container cannot be reached the step is tried again: the turn may be running there, and nothing else can happen to it.
"""

import asyncio
import logging

from gateway.config.schema import TurnsConfig
from gateway.container.client import ContainerRefused
from gateway.container.containers import Containers
from gateway.db.pool import Database, Row
from gateway.errors import UpstreamError
from gateway.log.store import Effect, EffectRefused, Log, NewEvent
from gateway.turns.endings import Endings
from gateway.wire.events import AgentStopping, TurnCancelling, TurnEnded

logger = logging.getLogger(__name__)

#: How long the container may take to tell the end of a turn whose agent it has stopped.
GRACE_SECONDS = 2.0


class Cancelling:
    """Takes the steps from a wish that a turn stop to its end."""

    def __init__(
        self, database: Database, log: Log, containers: Containers, endings: Endings, config: TurnsConfig
    ) -> None:
        self._database = database
        self._log = log
        self._containers = containers
        self._endings = endings
        self._seconds = config.cancel_timeout

    async def request(self, turn: Row, user_id: str) -> bool:
        """Note that somebody wants a running turn to stop. False where it has ended."""
        key = {"project_id": turn["project_id"], "id": turn["id"]}
        event = NewEvent.of(
            TurnCancelling(requested_by=user_id),
            session_id=turn["session_id"],
            turn_id=turn["id"],
            key=f"turn_cancelling:{turn['id']}",
            effects=(Effect("request_cancel", key, required=True),),
        )
        try:
            await self._log.append(turn["project_id"], [event])
        except EffectRefused:
            return False
        return True

    async def step(self, turn: Row) -> None:
        """The next step for a turn (a row of ``turns_to_look_after``) that was sent, and then cancelled."""
        if turn["cancel_sent_at"] is None or turn["cancel_sent_seconds"] < self._seconds:
            await self.ask(turn)
        else:
            await self._stop_agent(turn)

    async def ask(self, turn: Row) -> None:
        """Ask the container to stop the turn; again and again, as the prompt itself may be on its way still."""
        project = await self._containers.project(turn["project_id"])
        key = {"project_id": project.id, "id": turn["id"]}
        session = await self._database.fetch_one("get_session", project_id=project.id, id=turn["session_id"])
        if session is None or session["container_session_id"] is None:
            return
        if not await self._database.execute("set_cancel_sent", sent=True, **key):
            return  # it has ended, and another one may run in the session
        try:
            container = await self._containers.get(project)
            await container.cancel_turn(session["container_session_id"], turn["id"])
        except ContainerRefused as exc:
            # A container that has lost the session runs nothing of it; any other refusal leads to the next step.
            logger.info("cancel refused", extra={"turn": turn["id"], "error": str(exc)})
            if exc.upstream_status == 404:
                message = "The container has forgotten the session."
                await self._endings.end(
                    project.id, turn["id"], TurnEnded(outcome="failed", failure="session_lost", message=message)
                )
        except UpstreamError as exc:
            logger.info("cancel not delivered yet", extra={"turn": turn["id"], "error": str(exc)})
            if turn["cancel_sent_at"] is None:
                await self._database.execute("set_cancel_sent", sent=False, **key)

    async def _stop_agent(self, turn: Row) -> None:
        await self._tell_stopping(turn)
        now = await self._database.fetch_one("get_turn", project_id=turn["project_id"], id=turn["id"])
        if now is None or now["state"] != "running":
            return  # told by another gateway, and ended since
        project = await self._containers.project(turn["project_id"])
        try:
            container = await self._containers.identify(project)
            key = {"project_id": project.id, "agent_id": turn["agent_id"]}
            its_sessions = await self._database.fetch_all("container_sessions_of_agent", **key)
            ids = [session["container_session_id"] for session in its_sessions]
            await container.stop_agent(turn["agent_id"], ids)
        except ContainerRefused as exc:
            message = (
                f"The turn did not end within {self._seconds:g} s of being cancelled, and its agent cannot be stopped: "
                f"{exc.text}"
            )
            ended = TurnEnded(outcome="lost", failure="cancel_unanswered", message=message)
            await self._endings.end(project.id, turn["id"], ended)
            return
        # The container's own word on the end comes first, where it has one; `as_asked` makes either a cancellation.
        await asyncio.sleep(GRACE_SECONDS)
        ended = TurnEnded(outcome="failed", failure="agent_stopped")
        await self._endings.end(project.id, turn["id"], ended)

    async def _tell_stopping(self, turn: Row) -> None:
        """Say so in the log before it is done: other sessions of the agent lose their turns by it."""
        key = {"project_id": turn["project_id"], "id": turn["id"]}
        others = await self._database.fetch_all("turns_of_agent", agent_id=turn["agent_id"], **key)
        stopping = AgentStopping(
            agent_id=turn["agent_id"],
            reason="stalled" if turn["cancel_requested_at"] is None else "cancel_unanswered",
            other_turns=[other["id"] for other in others],
        )
        event = NewEvent.of(
            stopping,
            session_id=turn["session_id"],
            turn_id=turn["id"],
            agent_id=turn["agent_id"],
            key=f"agent_stopping:{turn['id']}",
            effects=(Effect("set_agent_stopped", key, required=True),),
        )
        await self._log.append(turn["project_id"], [event])
