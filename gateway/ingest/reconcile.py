"""After a break of a stream without ids: write what the container can still tell into the log.

Its events meanwhile are lost, and a gap says so. Its agents and sessions are requested before the new stream is read,
which is newer. Repeating it changes nothing.
"""

import asyncio
import logging
from collections.abc import Sequence

from gateway.container.containers import Containers
from gateway.container.values import ContainerAgent, ContainerFacts
from gateway.db.pool import Database, Row
from gateway.errors import UpstreamError
from gateway.log.ids import LogId
from gateway.log.store import Effect, Log, NewEvent
from gateway.sessions.endings import all_endings
from gateway.sessions.turn import Turn
from gateway.wire.codec import dump_foreign_json
from gateway.wire.events import ContainerEvent, TurnEnded

logger = logging.getLogger(__name__)

#: Answers that take longer are skipped: the stream waits meanwhile.
ASK_SECONDS = 3.0

SESSION_LOST = TurnEnded(
    outcome="failed", failure="session_lost", message="The container has forgotten the session, and the turn in it."
)


class Reconciliation:
    """Updates the log from containers whose events have no ids."""

    def __init__(self, database: Database, log: Log, containers: Containers) -> None:
        self._database = database
        self._log = log
        self._containers = containers

    async def connected(self, project_id: str, facts: ContainerFacts, fence: int) -> None:
        """Call it when a container's stream is open and still unread."""
        if facts.journal is not None:
            return  # it replays what was missed
        container = await self._containers.find(project_id)
        # Ours first: a session created in between is in neither list, or in the container's alone.
        sessions = await self._database.fetch_all("bound_sessions", project_id=project_id)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                agents = (await container.agents()).agents
                there = await container.sessions() if sessions else set()
        except (UpstreamError, TimeoutError) as exc:
            logger.info("not reconciled", extra={"project": project_id, "error": str(exc) or "no answer in time"})
            return
        await self._tell_agents(project_id, agents, fence)
        lost = [row for row in sessions if row["container_session_id"] not in there]
        await self._tell_lost(project_id, lost, fence)

    async def _tell_agents(self, project_id: str, agents: Sequence[ContainerAgent], fence: int) -> None:
        """An ``agent_status`` for each agent whose status differs from the log's last."""
        rows = await self._database.fetch_all("list_agents", project_id=project_id)
        known = {row["agent_id"]: row["status"] for row in rows}
        told = []
        for agent in agents:
            if agent.id not in known or known[agent.id] == agent.status:
                continue
            data = {"agentId": agent.id, "status": agent.status, "reconciled": True}
            change = {
                "project_id": project_id,
                "agent_id": agent.id,
                "status": agent.status,
                "error": agent.error,
            }
            effect = Effect("set_agent_status", change)
            told.append(
                NewEvent(
                    type="agent_status",
                    data=dump_foreign_json(data if agent.error is None else data | {"error": agent.error}),
                    agent_id=agent.id,
                    effects=(effect,),
                )
            )
        if told:
            await self._log.append(LogId(project_id), told, fence=fence)

    async def _tell_lost(self, project_id: str, sessions: Sequence[Row], fence: int) -> None:
        """A ``session_lost`` for each session that the container no longer has, and its turn's end."""
        for row in sessions:
            lost = NewEvent.of(
                ContainerEvent(event="session_lost", data={"containerSessionId": row["container_session_id"]}),
                session_id=row["id"],
                agent_id=row["agent_id"],
                key=f"session_lost:{row['container_session_id']}",
            )
            running = row["turn_id"] and await self._database.fetch_one(
                "get_turn", project_id=project_id, id=row["turn_id"]
            )
            endings = await all_endings(self._database, Turn.from_row(running), SESSION_LOST) if running else []
            await self._log.append(LogId(project_id), [lost, *endings], fence=fence)
