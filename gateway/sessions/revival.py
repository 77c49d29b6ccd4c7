"""Restoring a session that its container has lost: it restarted, forgot an idle one, or the agent's process died.

The agent loads or resumes its own session if the container can do that (``load-session``) and the agent's id is known;
otherwise a new one is opened. The log says which.
"""

import logging
import secrets
from contextlib import suppress
from typing import Any

import attrs

from gateway.container.client import ContainerRefused
from gateway.container.containers import Containers
from gateway.container.dialects import Container
from gateway.container.values import ContainerSession
from gateway.db.errors import UniqueViolation
from gateway.db.pool import Database
from gateway.errors import GatewayError, SessionBusy, SessionEnded, UpstreamError
from gateway.injection.injecting import Chosen, Injecting, asking_for_account
from gateway.injection.processes import Processes
from gateway.log.ids import LogId
from gateway.log.store import Effect, Log, NewEvent
from gateway.projects.store import Project
from gateway.sessions.sessions import Session, binding, id_taken
from gateway.wire.events import SessionMode, SessionRestored

logger = logging.getLogger(__name__)

#: Statuses that mean that the agent cannot load the session. After other failures the next prompt may succeed, so the
#: agent's memory is not given up.
_CANNOT_LOAD = {400, 404, 501}
_AGENT_REFUSED = "agent_error"


@attrs.frozen(kw_only=True)
class _TakenUp:
    """The container session that goes on, and what is to be said of it."""

    made: ContainerSession
    told: SessionRestored


@attrs.frozen(kw_only=True)
class Living:
    """The container session of a session, which its container knows, and that container."""

    container: Container
    container_session_id: str


class Revival:
    """Gives a session a working container session."""

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
        #: (project, session) that this process is restoring.
        self._under_way: set[tuple[str, str]] = set()

    async def living(self, project: Project, session: Session, container: Container) -> Living:
        """The container session to prompt: the session's own, or another if that is lost, which the log tells.

        A session of the present boot is not checked; if the container has lost it, it refuses the prompt.
        """
        if session.container_boot_id != container.boot_id:
            container = await self._containers.identify(project)
        chosen, reason = await self._prepare(project, session, container)
        known = session.container_session_id
        if known is not None and not reason and await self._has(container, session, known):
            await self._injecting.hand_over(chosen, container)
            return Living(container=container, container_session_id=known)
        return await self._replaced(project, session, container, reason, chosen)

    async def instead(self, project: Project, session_id: str, refused: str) -> Living:
        """Another container session after the container did not know the one that was prompted."""
        row = await self._database.fetch_one("get_session", project_id=project.id, id=session_id)
        session = None if row is None else Session.from_row(row)
        if session is None or session.status == "ended":
            raise SessionEnded()
        container = await self._containers.identify(project)
        chosen, reason = await self._prepare(project, session, container)
        known = session.container_session_id
        if known not in (None, refused) and not reason:
            return Living(container=container, container_session_id=known)
        return await self._replaced(project, session, container, reason, chosen)

    async def _prepare(
        self, project: Project, session: Session, container: Container
    ) -> tuple[Chosen | None, str | None]:
        """The session's credential, and why its agent's process had to be restarted."""
        chosen = await self._injecting.for_session(project, session.agent_id, session.credential_user_id)
        return chosen, await self._processes.keep(project, session.agent_id, chosen, container)

    async def _has(self, container: Container, session: Session, container_session_id: str) -> bool:
        return session.container_boot_id == container.boot_id or await container.has_session(container_session_id)

    async def _replaced(
        self, project: Project, session: Session, container: Container, reason: str | None, chosen: Chosen | None
    ) -> Living:
        place = (project.id, session.id)
        if place in self._under_way:
            raise _being_taken_up()
        self._under_way.add(place)
        try:
            # Facts from some time ago are not enough to pass on a credential.
            container = await self._containers.identify(project)
            made = await self._replace(project, session, container, reason or _reason(session, container), chosen)
        finally:
            self._under_way.discard(place)
        return Living(container=container, container_session_id=made)

    async def _replace(
        self, project: Project, session: Session, container: Container, reason: str, chosen: Chosen | None
    ) -> str:
        known = session.container_session_id
        key = {"project_id": project.id, "id": session.id, "gateway_id": self._gateway_id}
        # Only one caller restores it; events of the new session wait until its id is stored.
        if await self._database.fetch_one("unbind_session", known=known, **key) is None:
            raise _being_taken_up()
        try:
            with asking_for_account(project, session.agent_id):
                async with self._injecting.lend(chosen, container, container.for_session) as lent:
                    mode = container.in_mode(session.agent_mode)
                    named = container.referring(self._containers.reference(project.id, session.id))
                    options = {"agentId": session.agent_id, **mode, **named, **lent.members}
                    taken = await _take_up(container, session, reason, options)
        except BaseException:
            await self._database.execute("rebind_session", known=known, **key)
            raise
        bound = binding(project.id, session.id, taken.made, container)
        restored = NewEvent.of(
            taken.told,
            session_id=session.id,
            agent_id=session.agent_id,
            key=f"session_restored:{taken.made.id}",
            effects=(Effect("activate_session", bound, required=True),),
        )
        told = [restored]
        if (session.agent_mode, session.agent_decides) != (taken.made.mode, taken.made.agent_decides):
            told.append(_mode(session, taken.made))
        try:
            await self._log.append(LogId(project.id), told)
        except UniqueViolation as exc:
            raise id_taken() from exc
        except GatewayError:
            with suppress(UpstreamError):
                await container.end_session(taken.made.id)
            raise
        logger.info("session taken up", extra={"project": project.id, "session": session.id, "how": taken.told.how})
        return taken.made.id


def _mode(session: Session, made: ContainerSession) -> NewEvent:
    return NewEvent.of(
        SessionMode(mode=made.mode, agent_decides=made.agent_decides),
        session_id=session.id,
        agent_id=session.agent_id,
        key=f"session_mode:{made.id}",
    )


def _being_taken_up() -> SessionBusy:
    return SessionBusy("The session is being taken up again, or has ended; try again.")


async def _take_up(container: Container, session: Session, reason: str, options: dict[str, Any]) -> _TakenUp:
    """Have the agent go on with its own session, or begin another."""
    if session.working_directory is not None:
        options["workingDirectory"] = session.working_directory
    forgotten = ("mcpServers",) if session.has_mcp_servers else ()
    message = None
    if session.acp_session_id is not None:
        # An id of its own: who has seen the lost one gone must not take this one for it.
        own = f"loaded_{secrets.token_hex(10)}"
        try:
            loaded = await container.take_up(own, options | {"acpSessionId": session.acp_session_id})
        except ContainerRefused as exc:
            if exc.upstream_status not in _CANNOT_LOAD and exc.upstream_code != _AGENT_REFUSED:
                raise
            message, loaded = exc.text, None
        if loaded is not None:
            told = SessionRestored(how=loaded.how or "load", reason=reason, forgotten=forgotten)
            return _TakenUp(made=loaded, told=told)
    made = await container.create_session(options)
    forgotten = ("conversation", *forgotten)
    return _TakenUp(made=made, told=SessionRestored(how="new", reason=reason, forgotten=forgotten, message=message))


def _reason(session: Session, container: Container) -> str:
    return "container_forgot" if session.container_boot_id == container.boot_id else "container_restarted"
