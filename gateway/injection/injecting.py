"""Gives users' credentials to containers: the only way out of the vault.

A session runs with its creator's credential, or with none. A credential is given only at the address where its user had
it used: after a project moved, not until that user acts there. Our agent host keeps a process for each owner. A
container of the base contract has one process for each agent, whose variables are set when it starts: it is one
person's until it is stopped, and others are refused.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import attrs

from gateway.container.client import ContainerRefused
from gateway.container.containers import Containers
from gateway.container.dialects import Container, Form
from gateway.container.values import ContainerAgent, Credential
from gateway.credentials.catalogue import Injection
from gateway.credentials.known import KnownSecrets
from gateway.credentials.store import AgentAuthToken, Credentials
from gateway.db.pool import Database
from gateway.errors import (
    AuthRequired,
    ContainerMoved,
    CredentialUnusable,
    GatewayError,
    NotYourCredential,
    ReauthRequired,
)
from gateway.injection.withdrawals import Withdrawals
from gateway.projects.store import Project
from gateway.tasks import wait_for

logger = logging.getLogger(__name__)

#: How long whoever follows a container may take to know a secret before that container is given it.
KNOWN_SECONDS = 5.0

#: How often a credential is read again if it was replaced meanwhile.
READS = 3

#: A user's credential for an agent, refreshed where that is due; raises ``AuthRequired`` where there is none.
Fresh = Callable[[str, str], Awaitable[AgentAuthToken]]


@attrs.frozen(kw_only=True)
class Chosen:
    """A user's sealed credential that something is to run with in a project's container."""

    project: Project
    agent_id: str
    user_id: str
    token: AgentAuthToken
    #: How its agent takes it, with empty tokens.
    blank: Injection
    #: The variables for a credential that its container lists.
    declared: Sequence[str] = ()

    @property
    def version(self) -> int:
        return self.token.version

    @property
    def row(self) -> dict[str, Any]:
        """The key of its row."""
        return {"project_id": self.project.id, "agent_id": self.agent_id, "user_id": self.user_id}

    @property
    def place(self) -> dict[str, Any]:
        """The container's address that it is for."""
        return {"container_url": self.project.container_url, "acp_url": self.project.acp_url}

    def given_by(self, form: Form) -> bool:
        """Whether a call of this form contains it. Raises ``CredentialUnusable`` if it cannot be given so."""
        credential = Credential(agent_id=self.agent_id, owner="", version=self.version, injection=self.blank)
        return form(credential) is not None


@attrs.frozen(kw_only=True)
class Lent:
    """A credential's part in a call to a container; empty if there is none. ``version`` is the credential's."""

    members: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    version: int | None = None


@attrs.frozen(kw_only=True)
class _Announced:
    """A credential that its container may be given now: the container's follower masks it.

    ``owner``: the container's name for the user. ``taken``: this version was given before, to the boot ``boot_id``.
    """

    chosen: Chosen
    owner: str
    taken: bool
    boot_id: str | None


class Injecting:
    """Finds users' credentials and gives them to containers."""

    def __init__(
        self,
        database: Database,
        credentials: Credentials,
        containers: Containers,
        known: KnownSecrets,
        withdrawals: Withdrawals,
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
        self._withdrawals = withdrawals

    def can_give(self, agent_id: str) -> bool:
        """Whether the agent can be given a credential, so that its process may have somebody's."""
        return bool(self._credentials.kinds_for_agent(agent_id))

    async def for_agent(
        self, project: Project, agent: ContainerAgent, user_id: str, *, needed: bool | None = None
    ) -> Chosen | None:
        """What a new session or process that this user requests runs with; None: no credential.

        ``AuthRequired`` if the agent needs one, the container has none for everybody, and the user has none that works;
        also if the user's own has expired: another must not be billed instead.
        """
        if needed is None:
            # The container reports an agent that is not installed.
            is_missing = agent.status == "stopped" and agent.error is not None
            needed = agent.requires_auth and not agent.authenticated and not is_missing
        chosen = await self._find(project, agent.id, user_id, needed=needed)
        if chosen is not None:
            await self.agree(project, agent.id, user_id)
        return chosen

    async def agree(self, project: Project, agent_id: str, user_id: str) -> None:
        """The user asks for work with their credential at the project's present address: there it may be given.

        Only for a user's own actions, not for queued prompts and renewals.
        """
        key = {"project_id": project.id, "agent_id": agent_id, "user_id": user_id}
        await self._database.execute("agree_to_address", **key, address=project.acp_address)

    async def for_session(self, project: Project, agent_id: str, user_id: str | None) -> Chosen | None:
        """The session's credential; ``AuthRequired`` if it is gone."""
        return None if user_id is None else await self._find(project, agent_id, user_id, needed=True)

    @asynccontextmanager
    async def lend(self, chosen: Chosen | None, container: Container, form: Form) -> AsyncIterator[Lent]:
        """Give a container a credential; the call that does is made within. No other code does.

        ``form``: the kind of call, a method of the container. The credential is read now, opened for this call alone,
        and known to the container's masking. When the call succeeds the container has it; a withdrawal in the meantime
        is then carried out.

        Raises ``CredentialUnusable`` if it cannot be given so, ``AuthRequired`` if it was withdrawn or the container is
        no longer the project's; ``ContainerMoved`` if its user has not asked for work at this address.
        """
        if chosen is None:
            yield Lent()
        elif not chosen.given_by(form):
            yield Lent(version=chosen.version)
            await self._note_taken(chosen, None, container)
        else:
            announced = await self._announce(chosen)
            chosen = announced.chosen
            yield Lent(members=self._open(announced, form), version=chosen.version)
            await self._note_taken(chosen, announced.owner, container)

    async def hand_over(self, chosen: Chosen | None, container: Container) -> None:
        """Ensure, before a prompt, that a container which keeps credentials has this version."""
        if chosen is None or not chosen.given_by(container.for_renewal):
            return
        announced = await self._announce(chosen)
        if announced.taken and announced.boot_id == container.boot_id:
            return
        with asking_for_account(chosen.project, chosen.agent_id):
            await container.renew_credential(chosen.agent_id, self._open(announced, container.for_renewal))
        await self._note_taken(announced.chosen, announced.owner, container)

    async def renewed(self, user_id: str, agent_id: str) -> None:
        """Give the newer credential to all containers where a session uses it, before the old one runs out."""
        rows = await self._database.fetch_all("projects_using_credential", user_id=user_id, agent_id=agent_id)
        await asyncio.gather(*(self._renew(row["project_id"], user_id, agent_id) for row in rows))

    async def _find(self, project: Project, agent_id: str, user_id: str, *, needed: bool) -> Chosen | None:
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
        declared: Sequence[str] = ()
        if not self._credentials.kinds_for_agent(agent_id):
            declared = await self._containers.declared(project.id, agent_id)
        blank = self._credentials.way_for_agent(agent_id, token, declared)
        if blank is None:
            if not needed:
                return None
            raise CredentialUnusable(
                f"The gateway knows no way to give {agent_id} a credential of kind {token.token_type}; "
                "docs/agents.md tells how to describe one (credentials.catalogue)."
            )
        # A secret that cannot be decrypted cannot be masked, either.
        self._known.learn(project.id, token)
        return Chosen(project=project, agent_id=agent_id, user_id=user_id, token=token, blank=blank, declared=declared)

    async def _announce(self, chosen: Chosen) -> _Announced:
        """Before a container is given a secret: wait until its follower masks it.

        If it was replaced meanwhile, it is read again.
        """
        for _ in range(READS):
            self._known.learn(chosen.project.id, chosen.token)
            row = await self._database.fetch_one(
                "give_credential",
                **chosen.row,
                **chosen.place,
                owner=secrets.token_hex(16),
                version=chosen.version,
                gateway_id=self._gateway_id,
            )
            if row is not None:
                if row["follower"] is not None:
                    await self._until_known(chosen)
                return _Announced(
                    chosen=chosen, owner=row["owner"], taken=row["taken"], boot_id=row["container_boot_id"]
                )
            await self._refuse_elsewhere(chosen)
            newest = await self._find(chosen.project, chosen.agent_id, chosen.user_id, needed=True)
            assert newest is not None
            chosen = newest
        text = f"Your credential for {chosen.agent_id} is replaced again and again, or the project moved; try again."
        raise _auth_required(chosen.project, chosen.agent_id, AuthRequired(text))

    def _open(self, announced: _Announced, form: Form) -> Mapping[str, Any]:
        """The credential's part of the call; its secret is readable from here on."""
        chosen = announced.chosen
        injection = self._credentials.get_env_vars_for_agent(chosen.agent_id, chosen.token, chosen.declared)
        assert injection is not None
        credential = Credential(
            agent_id=chosen.agent_id, owner=announced.owner, version=chosen.version, injection=injection
        )
        return form(credential) or {}

    async def _note_taken(self, chosen: Chosen, owner: str | None, container: Container) -> None:
        """The container has it; a withdrawal in the meantime is carried out now."""
        row = await self._database.fetch_one(
            "credential_taken",
            **chosen.row,
            **chosen.place,
            version=chosen.version,
            container_boot_id=container.boot_id,
        )
        if row is None or not row["is_here"] or not row["may_stay"]:
            await self._withdrawals.add(
                chosen.project,
                agent_id=chosen.agent_id,
                user_id=chosen.user_id,
                owner=owner,
                has_moved=row is not None and not row["is_here"],
            )

    async def _refuse_who_may_not(self, project_id: str, user_id: str) -> None:
        """A session or a queued prompt may be older than the end of a membership."""
        row = await self._database.fetch_one("may_use_agents", project_id=project_id, user_id=user_id)
        if row is None or not row["may"]:
            raise NotYourCredential(f"{user_id!r} may not have agents work in this project any more.")

    async def _refuse_elsewhere(self, chosen: Chosen) -> None:
        row = await self._database.fetch_one("agreed_address", **chosen.row)
        if row is None or row["address"] != chosen.project.acp_address:
            raise ContainerMoved(
                f"The project's container is at another address than when {chosen.user_id!r} last had a credential for "
                f"{chosen.agent_id} used here; their next prompt has it given to the one that is there now."
            )

    async def _until_known(self, chosen: Chosen) -> None:
        async def is_known() -> bool:
            row = await self._database.fetch_one("is_credential_known", **chosen.row)
            return row is None or bool(row["known"])

        if not await wait_for(is_known, seconds=KNOWN_SECONDS):
            # It has died, then, or stands still; whoever follows next knows all of them first.
            logger.warning("the follower does not say that it knows a secret", extra={"project": chosen.project.id})

    async def _renew(self, project_id: str, user_id: str, agent_id: str) -> None:
        try:
            project = await self._containers.project(project_id)
            chosen = await self.for_session(project, agent_id, user_id)
            await self.hand_over(chosen, await self._containers.identify(project))
        except GatewayError as exc:
            # The session's next prompt tries again.
            extra = {"project": project_id, "agent": agent_id, "error": str(exc)}
            logger.info("credential not renewed in container yet", extra=extra)


@contextmanager
def asking_for_account(project: Project, agent_id: str) -> Iterator[None]:
    """Around calls that start an agent: ``AuthRequired`` if it needs an account, or refuses the one that it has."""
    try:
        yield
    except ContainerRefused as exc:
        if exc.upstream_code != AuthRequired.code:
            raise
        raise _auth_required(project, agent_id, AuthRequired(exc.text)) from exc


def _auth_required(project: Project, agent_id: str, exc: AuthRequired) -> AuthRequired:
    """The same error, with where to connect an account."""
    start = f"/api/projects/{project.id}/acp/agents/{agent_id}/auth/start"
    challenge = {"WWW-Authenticate": 'Agent-Credential realm="acp-gateway"'}
    return type(exc)(exc.detail, headers=challenge, **{**exc.members, "authStart": start})
