"""Sessions: created in the container and in the log, listed, ended."""

import asyncio
import logging
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import attrs

from gateway.container.client import ContainerRefused
from gateway.container.containers import Containers
from gateway.container.dialects import Container
from gateway.container.values import ContainerSession
from gateway.db.errors import UniqueViolation
from gateway.db.pool import Database, Row
from gateway.errors import (
    GatewayError,
    NoDefaultAgent,
    NotYourCredential,
    SessionNotFound,
    UpstreamError,
    UpstreamFailed,
)
from gateway.follow.followers import Followers
from gateway.injection.injecting import Injecting, asking_for_account
from gateway.injection.processes import Processes
from gateway.log.ids import LogId
from gateway.log.store import Effect, EffectRefused, Log, NewEvent
from gateway.permissions.events import requests_taken_back
from gateway.projects.store import Project
from gateway.sessions.endings import queued_turn_ended, turn_ended
from gateway.sessions.turn import Turn
from gateway.wire.events import Cursor, SessionCreated, SessionEnded, SessionRenamed, TurnEnded

logger = logging.getLogger(__name__)

#: How often a change of a session is tried while others change it.
ATTEMPTS = 10


@attrs.frozen(kw_only=True)
class Session:
    """A session with its running turn, queued turns, and the log's current end."""

    id: str
    project_id: str
    user_id: str
    agent_id: str
    #: None while a lost one is being replaced.
    container_session_id: str | None
    #: The boot of the container that has it.
    container_boot_id: str | None
    #: The agent's own id, if known.
    acp_session_id: str | None
    #: Whose credential it runs with; None: nobody's.
    credential_user_id: str | None
    #: Whether it was created with MCP servers, which may contain secrets and are not stored.
    has_mcp_servers: bool
    working_directory: str | None
    title: str | None
    #: The title that its agent gave it, if nobody has given another since.
    agent_title: str | None
    #: Who decides what the agent may do: the container or the agent itself, or the project's mode.
    permissions: str
    #: The mode that the agent works in, if it has modes.
    agent_mode: str | None
    agent_decides: bool
    status: str
    turn_id: str | None
    turn_started_at: datetime | None
    #: Queued turns, the next one first.
    queue: list[str]
    cursor: Cursor
    #: Where in the log it was active last. Lists are in this order, the newest first.
    place: int
    created_at: datetime
    #: When it was active last.
    active_at: datetime
    ended_at: datetime | None

    @property
    def titled_by(self) -> str | None:
        """``user`` or ``agent``; None: it has no title."""
        if self.title is None:
            return None
        return "agent" if self.title == self.agent_title else "user"

    @classmethod
    def from_row(cls, row: Row) -> "Session":
        names = {field.name for field in attrs.fields(cls)} - {"cursor"}
        return cls(cursor=Cursor(row["epoch"], row["head"]), **{name: row[name] for name in names})


@attrs.frozen(kw_only=True)
class NewSession:
    """The properties of a session to create; without an agent, the project's default agent."""

    agent_id: str | None = None
    working_directory: str | None = None
    title: str | None = None
    mcp_servers: list[dict[str, Any]] | None = None


def new_session_id() -> str:
    return f"ses_{secrets.token_hex(10)}"


class Sessions:
    """All sessions; each is looked up together with its project."""

    def __init__(
        self,
        database: Database,
        log: Log,
        containers: Containers,
        followers: Followers,
        injecting: Injecting,
        processes: Processes,
    ) -> None:
        self._database = database
        self._log = log
        self._containers = containers
        self._followers = followers
        self._injecting = injecting
        self._processes = processes

    async def create(
        self, project: Project, user_id: str, new: NewSession, *, session_id: str | None = None
    ) -> Session:
        """Create the session in the container and then here; under ``session_id`` if that is reserved.

        Run it in its own task: half-way through, the container has a session that is not stored. If a session exists
        under a reserved id, it is returned.
        """
        if session_id is not None:
            with suppress(SessionNotFound):
                return await self.get(project.id, session_id)
        agent_id = new.agent_id or project.default_agent_id
        if agent_id is None:
            raise NoDefaultAgent("Name an agentId, or set the project's defaultAgentId.")
        agent = await self._containers.agent(project, agent_id)
        agent_id = agent.id
        chosen = await self._injecting.for_agent(project, agent, user_id)
        session_id = session_id or new_session_id()
        row = {"user_id": user_id, "agent_id": agent_id, "title": new.title}
        await self._database.execute(
            "insert_session",
            project_id=project.id,
            id=session_id,
            working_directory=new.working_directory,
            has_mcp_servers=bool(new.mcp_servers),
            credential_user_id=None if chosen is None else chosen.user_id,
            **row,
        )
        try:
            # The container's events must be read first, since it may report on the new session only once.
            await self._followers.connected(project.id)
            container = await self._containers.identify(project)
            with asking_for_account(project, agent_id):
                await self._processes.start(project, agent_id, chosen, container)
                async with self._injecting.lend(chosen, container, container.for_session) as lent:
                    named = container.referring(self._containers.reference(project.id, session_id))
                    made = await container.create_session({**_options(agent_id, new), **named, **lent.members})
        except BaseException:
            await asyncio.shield(self._discard(project.id, session_id))
            raise
        try:
            created = _created(session_id, agent_id, user_id, new)
            activate = binding(project.id, session_id, made, container)
            effect = Effect("activate_new_session", activate, required=True)
            await self._log.append(LogId(project.id), [created], effects=[effect])
        except UniqueViolation as exc:
            # Another session of this project has it, which must not be ended for that.
            await self._discard(project.id, session_id)
            raise id_taken() from exc
        except GatewayError as exc:
            with suppress(UpstreamError):
                await container.end_session(made.id)
            # Under a reserved id somebody else may have come first, who took us for dead.
            if not isinstance(exc, EffectRefused):
                raise
        return await self.get(project.id, session_id)

    async def get(self, project_id: str, session_id: str) -> Session:
        row = await self._database.fetch_one("get_session", project_id=project_id, id=session_id)
        if row is None:
            raise SessionNotFound(f"There is no session {session_id!r} in this project.")
        return Session.from_row(row)

    async def in_container_for(self, user_id: str, project_id: str, name: str) -> str:
        """The container's id of a session that is named by it, or by ours.

        Refuses access to one that uses another user's credential, or is unknown.
        """
        row = await self._database.fetch_one("who_pays_for_container_session", project_id=project_id, name=name)
        if row is None:
            raise SessionNotFound("No session of this project is called so, here or in its container.")
        for whose in (row["credential_user_id"], row["process_user_id"]):
            if whose not in (None, user_id):
                raise NotYourCredential(f"The session runs with {whose}'s credential, so only {whose} may do this.")
        container_session_id: str = row["container_session_id"]
        return container_session_id

    async def in_container(self, project: Project) -> list[dict[str, Any]]:
        """The container's sessions that belong to the project, as the container lists them."""
        listed = await self._containers.of(project).listed_sessions()
        ids = [one["id"] for one in listed]
        rows = await self._database.fetch_all("own_container_sessions", project_id=project.id, ids=ids)
        own = {row["container_session_id"] for row in rows}
        return [one for one in listed if one["id"] in own]

    async def page(self, project_id: str, *, after: int | None, limit: int, include_ended: bool) -> list[Session]:
        """Sessions, the last active first; after a place."""
        rows = await self._database.fetch_all(
            "list_sessions", project_id=project_id, after=after, limit=limit, include_ended=include_ended
        )
        return [Session.from_row(row) for row in rows]

    async def rename(self, project_id: str, session_id: str, title: str | None, user_id: str) -> Session:
        """Give the session a title; None: none."""
        for last in (False,) * (ATTEMPTS - 1) + (True,):
            session = await self.get(project_id, session_id)
            if session.title == title and session.titled_by != "agent":
                return session
            change = {"project_id": project_id, "id": session_id, "title": title, "former_title": session.title}
            renamed = NewEvent.of(
                SessionRenamed(title=title, former_title=session.title, renamed_by=user_id),
                session_id=session_id,
                agent_id=session.agent_id,
                key=f"session_renamed:{secrets.token_hex(10)}",
                effects=(Effect("set_session_title", change, required=True),),
            )
            try:
                await self._log.append(LogId(project_id), [renamed])
                break
            except EffectRefused:
                # Somebody else has renamed it meanwhile.
                if last:
                    raise
        return await self.get(project_id, session_id)

    async def end(self, project: Project, session: Session, user_id: str) -> Session:
        """End the session here, and in the container if it can be told; its history stays."""
        if session.status != "ended":
            key = {"project_id": project.id, "id": session.id}
            ended = NewEvent.of(
                SessionEnded(ended_by=user_id),
                session_id=session.id,
                agent_id=session.agent_id,
                key=f"session_ended:{session.id}",
                effects=(Effect("end_session", key, required=True),),
            )
            # Before the container is told: it fails the prompt of a session that it ends, but the turn was cancelled.
            await self._append_end(project.id, session, ended)
            # As it is now: it may have been taken up again since it was looked at.
            await self._end_in_container(project, await self.get(project.id, session.id))
        return await self.get(project.id, session.id)

    async def _append_end(self, project_id: str, session: Session, ended: NewEvent) -> None:
        """End the session and all its turns. One that began or was queued meanwhile refuses the end: once more."""
        for last in (False,) * (ATTEMPTS - 1) + (True,):
            try:
                await self._log.append(LogId(project_id), [*await self._ends_of_turns(project_id, session.id), ended])
                return
            except EffectRefused:
                if (await self.get(project_id, session.id)).status == "ended":
                    return
                if last:
                    raise

    async def _ends_of_turns(self, project_id: str, session_id: str) -> list[NewEvent]:
        ended = TurnEnded(outcome="cancelled", message="The session was ended.")
        events = await requests_taken_back(self._database, project_id, session_id)
        for row in await self._database.fetch_all("open_turns", project_id=project_id, session_id=session_id):
            turn = Turn.from_row(row)
            events.append((queued_turn_ended if turn.state == "queued" else turn_ended)(turn, ended))
        return events

    async def _end_in_container(self, project: Project, session: Session) -> None:
        if session.container_session_id is None:
            return
        try:
            await self._containers.of(project).end_session(session.container_session_id)
        except UpstreamError as exc:
            # An unreachable container, or one that has forgotten the session, must not prevent its end.
            reason = exc.text if isinstance(exc, ContainerRefused) else str(exc)
            logger.info(
                "session not ended in container",
                extra={"project": project.id, "session": session.id, "reason": reason},
            )

    async def _discard(self, project_id: str, session_id: str) -> None:
        await self._database.execute("discard_session", project_id=project_id, id=session_id)


def binding(project_id: str, session_id: str, made: ContainerSession, container: Container) -> dict[str, Any]:
    """What the statements take that make the session that container session."""
    return {
        "project_id": project_id,
        "id": session_id,
        "container_session_id": made.id,
        "container_boot_id": container.boot_id,
        "acp_session_id": made.acp_id,
        "agent_mode": made.mode,
        "agent_decides": made.agent_decides,
    }


def id_taken() -> UpstreamFailed:
    return UpstreamFailed("The container gave the session an id that another session of this project has had.")


def _options(agent_id: str, new: NewSession) -> Mapping[str, Any]:
    options: dict[str, Any] = {"agentId": agent_id}
    if new.working_directory is not None:
        options["workingDirectory"] = new.working_directory
    if new.mcp_servers is not None:
        options["mcpServers"] = new.mcp_servers
    return options


def _created(session_id: str, agent_id: str, user_id: str, new: NewSession) -> NewEvent:
    return NewEvent.of(
        SessionCreated(agent_id=agent_id, title=new.title, working_directory=new.working_directory, created_by=user_id),
        session_id=session_id,
        agent_id=agent_id,
        key=f"session_created:{session_id}",
    )
