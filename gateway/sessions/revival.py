"""Taking up a session that its container has lost: it restarted, forgot an idle one, or the agent's process died."""

import logging
from contextlib import suppress

from gateway.container.client import ContainerInfo
from gateway.db.pool import Database
from gateway.errors import GatewayError, SessionBusy, UpstreamError
from gateway.log.store import Effect, Log, NewEvent
from gateway.projects import Project
from gateway.sessions.containers import Containers
from gateway.sessions.sessions import Session
from gateway.wire.events import SessionRestored

logger = logging.getLogger(__name__)


class Revival:
    """Gives a session a container session that lives."""

    def __init__(self, database: Database, log: Log, containers: Containers) -> None:
        self._database = database
        self._log = log
        self._containers = containers

    async def container_session(self, project: Project, session: Session, info: ContainerInfo) -> str:
        """The container session to prompt: the session's own, or a new one where that is lost, which the log tells.

        A container with ``end-turn`` looks after its agents' processes itself; in one of the base contract a new
        process knows none of the old one's sessions.
        """
        container = self._containers.of(project)
        started = not info.tells_end_of_turn and await self._containers.start(project, session.agent_id)
        known = session.container_session_id
        if known is not None and not started and await container.has_session(known):
            return known
        options = {"agentId": session.agent_id}
        if session.working_directory is not None:
            options["workingDirectory"] = session.working_directory
        key = {"project_id": project.id, "id": session.id}
        # One of those who find it lost makes the new one; what that says before its id is stored waits for it.
        if await self._database.fetch_one("unbind_session", known=known, **key) is None:
            raise SessionBusy("The session is being taken up again, or has ended; try again.")
        try:
            container_session_id = await container.create_session(options)
        except BaseException:
            await self._database.execute("rebind_session", known=known, **key)
            raise
        restored = NewEvent.of(
            SessionRestored(how="new", reason="agent_restarted" if started else "container_forgot"),
            session_id=session.id,
            agent_id=session.agent_id,
            key=f"session_restored:{container_session_id}",
            effects=(Effect("activate_session", key | {"container_session_id": container_session_id}, required=True),),
        )
        try:
            await self._log.append(project.id, [restored])
        except GatewayError:
            with suppress(UpstreamError):
                await container.end_session(container_session_id)
            raise
        logger.info("session taken up anew", extra={"project": project.id, "session": session.id})
        return container_session_id
