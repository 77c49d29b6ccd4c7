"""The two steps that end a turn from outside: its container is asked to cancel it, then its agent is stopped."""

import logging

from gateway.config.schema import TurnsConfig
from gateway.container.client import ContainerRefused
from gateway.container.containers import Containers
from gateway.errors import UpstreamError
from gateway.log.ids import LogId
from gateway.log.store import Effect, Log, NewEvent
from gateway.sessions.sessions import Sessions
from gateway.sessions.turn import Turn
from gateway.turns import endings
from gateway.turns.store import TurnStore
from gateway.wire.events import AgentStopping

logger = logging.getLogger(__name__)


class Cancelling:
    """Cancels turns in their containers. Every step may be repeated, by any gateway."""

    def __init__(
        self, log: Log, store: TurnStore, sessions: Sessions, containers: Containers, config: TurnsConfig
    ) -> None:
        self._log = log
        self._store = store
        self._sessions = sessions
        self._containers = containers
        self._seconds = config.cancel_timeout

    async def ask(self, turn: Turn) -> None:
        """Ask the container to cancel a turn. It is asked repeatedly, as the prompt may still be on its way."""
        project = await self._containers.project(turn.project_id)
        session = await self._sessions.get(project.id, turn.session_id)
        if session.container_session_id is None:
            return
        if not await self._store.mark_cancel_sent(turn, sent=True):
            return  # it has ended, and another one may run in the session
        try:
            container = await self._containers.get(project)
            await container.cancel_turn(session.container_session_id, turn.id)
        except ContainerRefused as exc:
            logger.info("cancel refused", extra={"turn": turn.id, "error": str(exc)})
            # A container that lost the session runs nothing of it. Any other refusal leads to the next step.
            if exc.upstream_status == 404:
                await self._store.end(project.id, turn.id, endings.SESSION_LOST)
        except UpstreamError as exc:
            logger.info("cancel not delivered yet", extra={"turn": turn.id, "error": str(exc)})
            if turn.cancel_sent_at is None:
                await self._store.mark_cancel_sent(turn, sent=False)

    async def stop_agent(self, turn: Turn, agent_id: str) -> bool:
        """Stop the agent of a turn. False if the turn has ended without that."""
        await self._tell_stopping(turn, agent_id)
        now = await self._store.find(turn.project_id, turn.id)
        if now is None or now.state != "running":
            return False  # another gateway stopped the agent, and the turn has ended since
        project = await self._containers.project(turn.project_id)
        try:
            container = await self._containers.identify(project)
            await container.stop_agent(agent_id, await self._store.container_sessions(project.id, agent_id))
        except ContainerRefused as exc:
            await self._store.end(turn.project_id, turn.id, endings.cancel_unanswered(self._seconds, exc.text))
            return False
        return True

    async def _tell_stopping(self, turn: Turn, agent_id: str) -> None:
        """Say so in the log before it is done, because the agent's other sessions lose their turns by it."""
        stopping = AgentStopping(
            agent_id=agent_id,
            reason="stalled" if turn.cancel_requested_at is None else "cancel_unanswered",
            other_turns=await self._store.others_of_agent(turn, agent_id),
        )
        key = {"project_id": turn.project_id, "id": turn.id}
        event = NewEvent.of(
            stopping,
            session_id=turn.session_id,
            turn_id=turn.id,
            agent_id=agent_id,
            key=f"agent_stopping:{turn.id}",
            effects=(Effect("set_agent_stopped", key, required=True),),
        )
        await self._log.append(LogId(turn.project_id), [event])
