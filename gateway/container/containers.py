"""Finds a project's container, and caches what it said of itself and its agents."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import attrs

from gateway.agenthost.catalogue import canonical
from gateway.config.schema import ContainersConfig
from gateway.container.client import ContainerClient, Reach
from gateway.container.dialects import Container, container_of
from gateway.container.opencode import OpenCode, OpenCodeStream
from gateway.container.values import ContainerAgent, ContainerFacts
from gateway.credentials.known import KnownSecrets
from gateway.db.pool import Database
from gateway.errors import AgentNotFound, SecretUnreadable, UpstreamError, VaultKeyMissing
from gateway.projects.store import Location, Project, Projects, acp_upstream, opencode_upstream
from gateway.proxy.client import Client
from gateway.proxy.upstream import Timeouts, Upstream
from gateway.wire.opencode import EventStream

#: Agents that an error names.
_NAMED = 20


@attrs.frozen(kw_only=True)
class Agents:
    """A project's agents; ``stale``: the last known ones, since the container is unreachable."""

    agents: tuple[ContainerAgent, ...]
    stale: bool
    #: How many further agents were left out.
    omitted: int = 0


@attrs.frozen(kw_only=True)
class OwnHost:
    """The agent host that this gateway has started: its address, and its secret."""

    upstream: Upstream
    token: str = attrs.field(repr=False)


class Containers:
    """Finds projects' containers, and caches their facts."""

    def __init__(
        self,
        database: Database,
        projects: Projects,
        client: Client,
        config: ContainersConfig,
        secrets: KnownSecrets,
        own_host: OwnHost | None = None,
        *,
        deployment: str,
    ) -> None:
        self._deployment = deployment
        self._database = database
        self._secrets = secrets
        self._projects = projects
        self._client = client
        self._config = config
        self._own_host = own_host

    def of(self, project: Location) -> ContainerClient:
        """The container, for calls that each kind answers in the same way."""
        return ContainerClient(self._reach(project))

    async def get(self, project: Project) -> Container:
        """The container with the facts that its follower has read; they are read now if nobody follows it.

        It may have restarted unnoticed. That is good enough for a prompt: the container then refuses the unknown
        session.
        """
        where = {"container_url": project.container_url, "acp_url": project.acp_url}
        row = await self._database.fetch_one("get_container_facts", project_id=project.id, **where)
        if row is None:
            return await self.identify(project)
        return container_of(self._reach(project), ContainerFacts.from_row(row))

    async def identify(self, project: Location) -> Container:
        """The container as it is now: to be asked where a session is made or taken up, or a credential goes out."""
        return container_of(self._reach(project), await self.of(project).read_facts())

    def reference(self, project_id: str, session_id: str) -> str:
        """What a container's session is made with, by which we know it as ours: see ``Container.referring``."""
        return f"{self._deployment}/{project_id}/{session_id}"

    def token(self, project: Location) -> str:
        """The secret that goes to the container's ACP port with each call: its own, else the general one, if any.

        The secret of our own agent host goes only to its address.
        """
        if self._own_host is not None and acp_upstream(project, self._config) == self._own_host.upstream:
            return self._own_host.token
        return self._projects.container_token(project) or self._config.token

    def authorization(self, project: Project, port: str) -> str | None:
        """What a request that is passed on has in this field: ``port`` is ``acp`` or ``opencode``."""
        if port == "opencode":
            return self._projects.opencode_authorization(project)
        token = self.token(project)
        return f"Bearer {token}" if token else None

    def opencode(self, project: Project) -> OpenCode:
        """OpenCode's API in the project's container, if it has one."""
        self._mask_what_is_sent(project)
        return OpenCode(
            self._client,
            opencode_upstream(project, self._config),
            authorization=self._projects.opencode_authorization(project),
            timeouts=self._timeouts(),
            mask=partial(self._secrets.mask, project.id),
        )

    def _reach(self, project: Location) -> Reach:
        self._mask_what_is_sent(project)
        return Reach(
            client=self._client,
            upstream=acp_upstream(project, self._config),
            token=self.token(project),
            timeouts=self._timeouts(),
            mask=partial(self._secrets.mask, project.id),
        )

    def _mask_what_is_sent(self, project: Location) -> None:
        """Whatever runs in the container may know the secrets of its ports, and say them."""
        sent: list[str] = []
        # One that cannot be opened is not sent either, and its port's calls say so.
        with suppress(VaultKeyMissing, SecretUnreadable):
            sent.append(self.token(project))
        if isinstance(project, Project):
            with suppress(VaultKeyMissing, SecretUnreadable):
                password, basic = self._projects.opencode_password(project), self.authorization(project, "opencode")
                sent += [password or "", (basic or "").removeprefix("Basic ")]
        self._secrets.learn_sent(project.id, sent)

    def _timeouts(self) -> Timeouts:
        return Timeouts(
            connect=self._config.connect_timeout,
            headers=self._config.headers_timeout,
            idle=self._config.idle_timeout,
        )

    async def project(self, project_id: str) -> Project:
        """A project with its present address. It checks no access: for background work."""
        return await self._projects.get_for_follower(project_id)

    async def find(self, project_id: str) -> ContainerClient:
        """The container at the project's present address; for the follower."""
        return self.of(await self.project(project_id))

    def finding(self, stream: EventStream) -> Callable[[str], Awaitable[OpenCodeStream]]:
        """The same for a stream of its OpenCode's: a function of the project's id."""

        async def find(project_id: str) -> OpenCodeStream:
            return OpenCodeStream(self.opencode(await self.project(project_id)), stream)

        return find

    async def agents(self, project: Project) -> Agents:
        """The container's agents; the last known ones while it is unreachable, or its failure if there are none."""
        try:
            listed = await self.of(project).agents()
        except UpstreamError:
            known = await self._known(project.id)
            if not known:
                raise
            return Agents(agents=tuple(known), stale=True)
        await self._remember(project.id, listed.agents)
        return Agents(agents=listed.agents, stale=False, omitted=listed.omitted)

    async def agent(self, project: Project, agent_id: str) -> ContainerAgent:
        """One agent as its container lists it now."""
        listed = await self.of(project).agents()
        await self._remember(project.id, listed.agents)
        return _find(listed.agents, agent_id)

    async def listed(self, project: Project, agent_id: str) -> ContainerAgent:
        """One agent as its container lists it, or did last while it is unreachable."""
        return _find((await self.agents(project)).agents, agent_id)

    async def declared(self, project_id: str, agent_id: str) -> Sequence[str]:
        """The variables from which the agent reads a credential, as its container listed them last."""
        return next((agent.credentials for agent in await self._known(project_id) if agent.id == agent_id), ())

    async def start(self, project: Project, agent_id: str) -> bool:
        """Start the agent if it is not running; whether it had to be started."""
        agent = await self.agent(project, agent_id)
        if agent.status == "running":
            return False
        await self.of(project).spawn(agent_id, {})
        return True

    async def _remember(self, project_id: str, agents: Sequence[ContainerAgent]) -> None:
        await self._database.execute(
            "upsert_agents",
            project_id=project_id,
            ids=[agent.id for agent in agents],
            names=[agent.name for agent in agents],
            descriptions=[agent.description for agent in agents],
            require_auth=[agent.requires_auth for agent in agents],
            authenticated=[agent.authenticated for agent in agents],
            statuses=[agent.status for agent in agents],
            errors=[agent.error for agent in agents],
            warnings=[agent.warning for agent in agents],
            credentials=[" ".join(agent.credentials) for agent in agents],
        )
        await self._database.execute("forget_agents", project_id=project_id, agent_ids=[agent.id for agent in agents])

    async def _known(self, project_id: str) -> list[ContainerAgent]:
        rows = await self._database.fetch_all("list_agents", project_id=project_id)
        names = [field.name for field in attrs.fields(ContainerAgent) if field.name != "id"]
        return [
            ContainerAgent(
                id=row["agent_id"], **{name: row[name] for name in names} | {"credentials": tuple(row["credentials"])}
            )
            for row in rows
        ]


def _find(agents: Sequence[ContainerAgent], agent_id: str) -> ContainerAgent:
    for is_it in (lambda agent: agent.id == agent_id, lambda agent: canonical(agent.id) == canonical(agent_id)):
        if found := next(filter(is_it, agents), None):
            return found
    named = sorted(agent.id for agent in agents)
    known = ", ".join(named[:_NAMED]) or "none"
    if len(named) > _NAMED:
        known += f" and {len(named) - _NAMED} more"
    raise AgentNotFound(f"The project's container knows no agent {agent_id!r} (it knows: {known}).")
