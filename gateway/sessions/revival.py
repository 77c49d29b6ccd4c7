"""Taking up a session that its container has lost: it restarted, forgot an idle one, or the agent's process died.

The agent is asked to load or resume its own session where the container can do that (``load-session``) and the agent's
id for it is known; else it begins anew. The log tells which.
"""

import logging
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import attrs

from gateway.container.client import Container, ContainerInfo, ContainerRefused, ContainerSession
from gateway.container.containers import Containers
from gateway.db.errors import UniqueViolation
from gateway.db.pool import Database
from gateway.errors import GatewayError, SessionBusy, UpstreamError
from gateway.injection.injecting import Given, Injecting
from gateway.injection.processes import Processes
from gateway.log.store import Effect, Log, NewEvent
from gateway.projects.store import Project
from gateway.sessions.sessions import Session, binding, id_taken
from gateway.wire.events import SessionRestored

logger = logging.getLogger(__name__)

#: Answers that say that the agent cannot take the session up, or will not: it has lost it too, say. What else goes
#: wrong may go better with the next prompt, and an agent that forgets cannot be made to remember again.
_CANNOT_LOAD = {400, 404, 501}
_AGENT_REFUSED = "agent_error"


@attrs.frozen(kw_only=True)
class _TakenUp:
    """The container session that goes on, and what is to be said of it."""

    made: ContainerSession
    told: SessionRestored


class Revival:
    """Gives a session a container session that lives."""

    def __init__(
        self,
        database: Database,
        log: Log,
        containers: Containers,
        injecting: Injecting,
        processes: Processes,
        *,
        gateway_id: str,
    ) -> None:
        self._injecting = injecting
        self._processes = processes
        self._gateway_id = gateway_id
        self._database = database
        self._log = log
        self._containers = containers
        #: (project, session) that this process is taking up.
        self._under_way: set[tuple[str, str]] = set()

    async def container_session(self, project: Project, session: Session, info: ContainerInfo) -> str:
        """The container session to prompt: the session's own, or another where that is lost, which the log tells.

        A container with ``end-turn`` looks after its agents' processes itself; in one of the base contract a new
        process knows none of the old one's sessions.
        """
        container = self._containers.of(project)
        given = await self._injecting.for_session(project, session.agent_id, session.credential_user_id)
        started = None
        if not info.tells_end_of_turn:
            started = await self._processes.start(project, session.agent_id, given, info)
        known = session.container_session_id
        if known is not None and not started and await container.has_session(known):
            await self._injecting.hand_over(given, info)
            return known
        place = (project.id, session.id)
        if place in self._under_way:
            raise _being_taken_up()
        self._under_way.add(place)
        try:
            return await self._replace(project, session, info, started or _reason(session, info), given)
        finally:
            self._under_way.discard(place)

    async def _replace(
        self, project: Project, session: Session, info: ContainerInfo, reason: str, given: Given | None
    ) -> str:
        container, known = self._containers.of(project), session.container_session_id
        key = {"project_id": project.id, "id": session.id, "gateway_id": self._gateway_id}
        # One of those who find it lost takes it up; what that says before its id is stored waits for it.
        if await self._database.fetch_one("unbind_session", known=known, **key) is None:
            raise _being_taken_up()
        try:
            given, credential = await self._injecting.options(given, info)
            taken = await _take_up(container, session, info, reason, credential)
            await self._injecting.taken(given, info)
        except BaseException:
            await self._database.execute("rebind_session", known=known, **key)
            raise
        bound = binding(project.id, session.id, taken.made, info)
        restored = NewEvent.of(
            taken.told,
            session_id=session.id,
            agent_id=session.agent_id,
            key=f"session_restored:{taken.made.id}",
            effects=(Effect("activate_session", bound, required=True),),
        )
        try:
            await self._log.append(project.id, [restored])
        except UniqueViolation as exc:
            raise id_taken() from exc
        except GatewayError:
            with suppress(UpstreamError):
                await container.end_session(taken.made.id)
            raise
        logger.info("session taken up", extra={"project": project.id, "session": session.id, "how": taken.told.how})
        return taken.made.id


def _being_taken_up() -> SessionBusy:
    return SessionBusy("The session is being taken up again, or has ended; try again.")


async def _take_up(
    container: Container, session: Session, info: ContainerInfo, reason: str, credential: Mapping[str, Any]
) -> _TakenUp:
    """Have the agent go on with its own session, or begin another."""
    options = {"agentId": session.agent_id, **credential}
    if session.working_directory is not None:
        options["workingDirectory"] = session.working_directory
    forgotten = ("mcpServers",) if session.has_mcp_servers else ()
    message = None
    if info.loads_sessions and session.acp_session_id is not None:
        # An id of its own: who has seen the lost one gone must not take this one for it.
        own = f"loaded_{secrets.token_hex(10)}"
        try:
            loaded = await container.load_session(own, options | {"acpSessionId": session.acp_session_id})
        except ContainerRefused as exc:
            if exc.upstream_status not in _CANNOT_LOAD and exc.upstream_code != _AGENT_REFUSED:
                raise
            message = exc.text
        else:
            told = SessionRestored(how=loaded.how or "load", reason=reason, forgotten=forgotten)
            return _TakenUp(made=loaded, told=told)
    made = await container.create_session(options)
    forgotten = ("conversation", *forgotten)
    return _TakenUp(made=made, told=SessionRestored(how="new", reason=reason, forgotten=forgotten, message=message))


def _reason(session: Session, info: ContainerInfo) -> str:
    return "container_forgot" if session.container_boot_id == info.boot_id else "container_restarted"
