"""Users' credentials on their way to containers: the only way out of the vault.

A session runs with the credential of whoever made it, or with nobody's. It is handed over at the address where its user
has had it used: whoever moves the project gets it nowhere else, until that user acts there themselves. Our agent host
keeps a process for each owner of one. A container of the base contract has one process for each agent, which takes
variables when it is started and never again: it is one person's until it is stopped, and whoever else wants it is told
so.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from gateway.container.client import ContainerAgent, ContainerInfo
from gateway.container.containers import Containers
from gateway.credentials.catalogue import Injection
from gateway.credentials.known import KnownSecrets
from gateway.credentials.store import AgentAuthToken, Credentials
from gateway.db.pool import Database, Row
from gateway.errors import (
    AuthRequired,
    ContainerMoved,
    CredentialUnusable,
    GatewayError,
    NotYourCredential,
    ReauthRequired,
)
from gateway.injection.leaving import Leaving
from gateway.projects.store import Left, Project
from gateway.tasks import Tasks

logger = logging.getLogger(__name__)

#: How long whoever follows a container may take to know a secret before that container is given it.
KNOWN_SECONDS, LOOK_SECONDS = 5.0, 0.05

#: How often a credential is read again that is replaced on its way.
READS = 3

#: How long whoever takes a credential back waits for containers to have done so; it goes on without him.
WITHDRAWN_SECONDS = 10.0

#: A user's credential for an agent, refreshed where that is due; raises ``AuthRequired`` where there is none.
Fresh = Callable[[str, str], Awaitable[AgentAuthToken]]


@attrs.frozen(kw_only=True)
class Given:
    """A user's credential, ready for one project's container."""

    project: Project
    agent_id: str
    user_id: str
    version: int
    secret: str = attrs.field(repr=False)
    injection: Injection = attrs.field(repr=False)
    #: What the container knows the user as, once it is announced.
    owner: str | None = None

    @property
    def row(self) -> dict[str, Any]:
        """What names its row."""
        return {"project_id": self.project.id, "agent_id": self.agent_id, "user_id": self.user_id}

    @property
    def place(self) -> dict[str, Any]:
        """Where the container is that it is for."""
        return {"container_url": self.project.container_url, "acp_url": self.project.acp_url}

    def variables(self) -> dict[str, str]:
        """For a container that takes nothing else; ``CredentialUnusable`` where these cannot say it."""
        variables = self.injection.variables_alone()
        if variables is None:
            raise CredentialUnusable(
                f"This project's container takes variables only, and {self.agent_id} needs a file or a call beside "
                "for a credential of this kind. Our agent host can give it those."
            )
        return variables


class Injecting:
    """Finds users' credentials and gives them to containers. Owns the tasks that renew them there."""

    def __init__(
        self,
        database: Database,
        credentials: Credentials,
        containers: Containers,
        known: KnownSecrets,
        *,
        gateway_id: str,
        fresh: Fresh,
    ) -> None:
        self._database = database
        self._credentials = credentials
        self._containers = containers
        self._known = known
        self._gateway_id = gateway_id
        self._fresh = fresh
        self._tasks = Tasks()
        self._leaving = Leaving(containers)

    async def close(self) -> None:
        await self._tasks.close()
        await self._leaving.close()

    def can_give(self, agent_id: str) -> bool:
        """Whether there is any way to give the agent a credential, and so a process of it may have somebody's."""
        return bool(self._credentials.kinds_for_agent(agent_id))

    async def for_agent(
        self, project: Project, agent: ContainerAgent, user_id: str, *, needed: bool | None = None
    ) -> Given | None:
        """What a new session or process of this user runs with, who asks for it; None: with nothing of anybody's.

        ``AuthRequired`` where the agent wants a credential, the container has none for everybody, and the user has
        none that can be used; also where the user's own has run out: another one must not be billed in its place.
        """
        if needed is None:
            # One that is not installed is for the container to say.
            is_missing = agent.status == "stopped" and agent.error is not None
            needed = agent.requires_auth and not agent.authenticated and not is_missing
        given = await self._find(project, agent.id, user_id, needed=needed)
        if given is not None:
            await self.agree(project, agent.id, user_id)
        return given

    async def agree(self, project: Project, agent_id: str, user_id: str) -> None:
        """The user asks for work with their credential, where the project is now: there it may be handed over.

        For what a user does themselves; what waited for its turn, and renewals, say nothing new.
        """
        key = {"project_id": project.id, "agent_id": agent_id, "user_id": user_id}
        await self._database.execute("agree_to_address", **key, address=project.acp_address)

    async def for_session(self, project: Project, agent_id: str, user_id: str | None) -> Given | None:
        """What a session goes on with; ``AuthRequired`` where that is gone."""
        return None if user_id is None else await self._find(project, agent_id, user_id, needed=True)

    async def options(self, given: Given | None, info: ContainerInfo) -> tuple[Given | None, dict[str, Any]]:
        """The members that make a session of the container run with the credential, and which one that is now."""
        if given is None:
            return None, {}
        if info.takes_credentials:
            given, row = await self.announce(given)
            return given, {"credential": _credential(given, row["owner"])}
        if info.takes_session_env:
            given.variables()
            given, _ = await self.announce(given)
            return given, {"env": given.variables()}
        if info.tells_end_of_turn:
            raise CredentialUnusable("This project's container takes no credentials: it has none of the ways for that.")
        return given, {}

    async def announce(self, given: Given) -> tuple[Given, Row]:
        """Before a container is given a secret: whoever follows it masks it. The row says whom the container knows.

        What was replaced since it was read is read again, and the newer one is to be given; ``AuthRequired`` where it
        was taken back, or the container is not the project's any more; ``ContainerMoved`` where its user has not asked
        for work at this address.
        """
        for _ in range(READS):
            self._known.learn(given.project.id, given.agent_id, given.user_id, given.version, given.secret)
            row = await self._database.fetch_one(
                "give_credential",
                **given.row,
                **given.place,
                owner=secrets.token_hex(16),
                version=given.version,
                gateway_id=self._gateway_id,
            )
            if row is not None:
                if row["follower"] is not None:
                    await self._until_known(given)
                return attrs.evolve(given, owner=row["owner"]), row
            await self._refuse_elsewhere(given)
            newest = await self._find(given.project, given.agent_id, given.user_id, needed=True)
            assert newest is not None
            given = newest
        text = f"Your credential for {given.agent_id} is replaced again and again, or the project moved; try again."
        raise _auth_required(given.project, given.agent_id, AuthRequired(text))

    async def taken(self, given: Given | None, info: ContainerInfo) -> None:
        """The container has it; what was to be taken back while it was on its way is taken back now."""
        if given is None:
            return
        row = await self._database.fetch_one(
            "credential_taken", **given.row, **given.place, version=given.version, container_boot_id=info.boot_id
        )
        if row is None or not row["is_here"] or not row["may_stay"]:
            gone = [{**given.row, "owner": given.owner}]
            has_moved = row is not None and not row["is_here"]
            self.leave(Left(project=given.project, has_moved=has_moved, credentials=gone, processes=gone))

    async def hand_over(self, given: Given | None, info: ContainerInfo) -> None:
        """See that a container which keeps credentials has this version, ahead of a prompt."""
        if given is None or not info.takes_credentials:
            return
        given, row = await self.announce(given)
        if row["taken"] and row["container_boot_id"] == info.boot_id:
            return
        container = self._containers.of(given.project)
        await container.renew_credential(given.agent_id, _credential(given, row["owner"]))
        await self.taken(given, info)

    async def renewed(self, user_id: str, agent_id: str) -> None:
        """Give the newer credential to all containers where a session uses it, before the old one runs out."""
        rows = await self._database.fetch_all("projects_given_credential", user_id=user_id, agent_id=agent_id)
        await asyncio.gather(*(self._renew(row["project_id"], user_id, agent_id) for row in rows if row["in_use"]))

    async def withdraw(self, user_id: str, agent_id: str) -> None:
        """The user has taken the credential back: have what runs with it end.

        What cannot be reached now gets no further: its sessions' next prompt is refused.
        """
        rows = await self._database.fetch_all("projects_given_credential", user_id=user_id, agent_id=agent_id)
        await self._withdraw_all((row, user_id, agent_id) for row in rows)

    async def withdraw_from(self, project_id: str, user_id: str | None = None) -> None:
        """A user is to have no agents work in a project any more, or, without a user, nobody: the same."""
        rows = await self._database.fetch_all("credentials_given_to_project", project_id=project_id, user_id=user_id)
        await self._withdraw_all((row, row["user_id"], row["agent_id"]) for row in rows)

    def leave(self, left: Left) -> None:
        """Have a container give back what it was given for a project that is not there any more. Not waited for."""
        self._leaving.leave(left)

    async def _withdraw_all(self, given: Iterable[tuple[Row, str, str]]) -> None:
        name = "take a credential back"
        tasks = [self._tasks.start(self._withdraw(*one), name=name) for one in given]
        if tasks:
            await asyncio.wait(tasks, timeout=WITHDRAWN_SECONDS)

    async def _find(self, project: Project, agent_id: str, user_id: str, *, needed: bool) -> Given | None:
        await self._refuse_who_may_not(project.id, user_id)
        try:
            token = await self._fresh(user_id, agent_id)
        except AuthRequired as exc:
            if not needed and not isinstance(exc, ReauthRequired):
                return None
            raise _auth_required(project, agent_id, exc) from exc
        if token.expires_at is not None and token.expires_at <= datetime.now(UTC):
            text = f"Your credential for {agent_id} has run out; connect the account again, or store another one."
            raise _auth_required(project, agent_id, ReauthRequired(text))
        injection = self._credentials.get_env_vars_for_agent(agent_id, token)
        if injection is None:
            if not needed:
                return None
            raise CredentialUnusable(
                f"The gateway knows no way to give {agent_id} a credential of kind {token.token_type}; "
                "docs/agents.md tells how to describe one (credentials.catalogue)."
            )
        return Given(
            project=project,
            agent_id=agent_id,
            user_id=user_id,
            version=token.version,
            secret=self._credentials.open_access_token(token),
            injection=injection,
        )

    async def _refuse_who_may_not(self, project_id: str, user_id: str) -> None:
        """A session or a queued prompt may be older than the end of a membership."""
        row = await self._database.fetch_one("may_use_agents", project_id=project_id, user_id=user_id)
        if row is None or not row["may"]:
            raise NotYourCredential(f"{user_id!r} may not have agents work in this project any more.")

    async def _refuse_elsewhere(self, given: Given) -> None:
        row = await self._database.fetch_one("agreed_address", **given.row)
        if row is None or row["address"] != given.project.acp_address:
            raise ContainerMoved(
                f"The project's container is at another address than when {given.user_id!r} last had a credential for "
                f"{given.agent_id} used here; their next prompt has it given to the one that is there now."
            )

    async def _until_known(self, given: Given) -> None:
        try:
            async with asyncio.timeout(KNOWN_SECONDS):
                while True:
                    row = await self._database.fetch_one("is_credential_known", **given.row)
                    if row is None or row["known"]:
                        return
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            # It has died, then, or stands still; whoever follows next knows all of them first.
            logger.warning("the follower does not say that it knows a secret", extra={"project": given.project.id})

    async def _renew(self, project_id: str, user_id: str, agent_id: str) -> None:
        try:
            project = await self._containers.project(project_id)
            given = await self.for_session(project, agent_id, user_id)
            await self.hand_over(given, await self._containers.info(project))
        except GatewayError as exc:
            # It is tried again with the session's next prompt.
            extra = {"project": project_id, "agent": agent_id, "error": str(exc)}
            logger.info("credential not renewed in container yet", extra=extra)

    async def _withdraw(self, row: Row, user_id: str, agent_id: str) -> None:
        try:
            project = await self._containers.project(row["project_id"])
            container = self._containers.of(project)
            if (await container.info()).takes_credentials:
                await container.withdraw_credential(agent_id, row["owner"])
                return
            process = await self._database.fetch_one("get_agent_process", project_id=project.id, agent_id=agent_id)
            if process is not None and process["user_id"] == user_id:
                await container.stop(agent_id)
        except GatewayError as exc:
            extra = {"project": row["project_id"], "agent": agent_id, "error": str(exc)}
            logger.warning("credential not taken back from container", extra=extra)


def _credential(given: Given, owner: str) -> Mapping[str, Any]:
    """As the agent host takes it."""
    injection = given.injection
    call = injection.authenticate
    return {
        "owner": owner,
        "version": given.version,
        "env": injection.env,
        "unset": list(injection.unset),
        "authenticate": None if call is None else {"methodId": call.method_id, "meta": call.meta},
        "files": [{"variable": file.variable, "path": file.path, "content": file.content} for file in injection.files],
    }


def _auth_required(project: Project, agent_id: str, exc: AuthRequired) -> AuthRequired:
    """The same with where to go from there."""
    start = f"/api/projects/{project.id}/acp/agents/{agent_id}/auth/start"
    challenge = {"WWW-Authenticate": 'Agent-Credential realm="acp-gateway"'}
    return type(exc)(exc.detail, headers=challenge, **{**exc.members, "authStart": start})
