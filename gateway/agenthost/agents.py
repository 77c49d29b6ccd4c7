"""The agents of the catalogue and their processes: started, shared, stopped, and told about."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from gateway.agenthost import environment
from gateway.agenthost.catalogue import AgentSpec
from gateway.agenthost.client import Client
from gateway.agenthost.errors import AgentStopped, AuthRequired
from gateway.agenthost.journal import Journal, now
from gateway.agenthost.link import AgentLink
from gateway.agenthost.process import Lifeline
from gateway.agenthost.settings import AgentHostConfig
from gateway.errors import AgentNotFound, AgentUnavailable, BadRequest, Conflict, GatewayError


@attrs.frozen(kw_only=True)
class Token:
    """A credential that was handed over by `auth/token`."""

    value: str = attrs.field(repr=False)
    expires_at: datetime | None = None

    @property
    def valid(self) -> bool:
        return self.expires_at is None or datetime.now(UTC) < self.expires_at


@attrs.define(eq=False, kw_only=True)
class Agent:
    """One entry of the catalogue and what runs of it."""

    spec: AgentSpec
    #: The process that sessions share, once started.
    shared: AgentLink | None = None
    #: Every process of this agent, those that one session alone uses too.
    links: set[AgentLink] = attrs.field(factory=set)
    #: What the shared process was given.
    env: dict[str, str] = attrs.field(factory=dict, repr=False)
    cwd: Path | None = None
    token: Token | None = attrs.field(default=None, repr=False)
    starting: int = 0
    needs_auth: bool = False
    error: str | None = None
    started_at: str | None = None
    last_activity: str | None = None
    #: What the last `agent_status` event said.
    told: str = "stopped"
    #: Held while the shared process is started or replaced.
    changing: asyncio.Lock = attrs.field(factory=asyncio.Lock, repr=False)

    @property
    def status(self) -> str:
        if self.needs_auth:
            return "auth_required"
        if any(link.alive for link in self.links):
            return "running"
        if self.starting:
            return "starting"
        return "error" if self.error is not None else "stopped"


class Agents:
    """Every agent of the catalogue."""

    def __init__(self, config: AgentHostConfig, journal: Journal, client: Client, lifeline: Lifeline) -> None:
        self._config = config
        self._journal = journal
        self._client = client
        self._lifeline = lifeline
        self._closing = False
        self._agents = {spec.id: Agent(spec=spec) for spec in config.catalogue.values()}

    def get(self, agent_id: str) -> Agent:
        if (agent := self._agents.get(agent_id)) is None:
            known = ", ".join(self._agents)
            raise AgentNotFound(f"there is no agent {agent_id} (known here: {known})")
        return agent

    @property
    def running(self) -> int:
        return sum(agent.status == "running" for agent in self._agents.values())

    def list(self) -> list[dict[str, Any]]:
        """As `GET /agents` tells them."""
        return [self._describe(agent) for agent in self._agents.values()]

    async def spawn(self, agent_id: str, env: dict[str, str] | None, cwd: Path | None) -> Agent:
        """See that the shared process runs, with this environment and directory where they are given.

        A process keeps the environment it was started with, so another one takes its place; its sessions follow with
        their next prompt. Conflict while one of them runs a turn.
        """
        agent = self.get(agent_id)
        async with agent.changing:
            same = (env is None or env == agent.env) and (cwd is None or cwd == agent.cwd)
            if agent.shared is not None and agent.shared.alive:
                if same:
                    return agent
                if agent.shared.turns:
                    raise Conflict(f"{agent_id} is running a turn; stop it first to change its environment")
                await agent.shared.end()
            agent.env = agent.env if env is None else env
            agent.cwd = agent.cwd if cwd is None else cwd
            agent.shared = await self._start(agent, agent.env, agent.cwd)
        return agent

    async def shared(self, agent: Agent) -> AgentLink:
        """The process that sessions share, started if need be."""
        async with agent.changing:
            if agent.shared is None or not agent.shared.alive:
                agent.shared = await self._start(agent, agent.env, agent.cwd)
            return agent.shared

    async def private(self, agent: Agent, env: Mapping[str, str], cwd: Path) -> AgentLink:
        """A process for one session; whoever asks for it ends it."""
        return await self._start(agent, env, cwd)

    async def stop(self, agent_id: str) -> Agent:
        """End all processes of an agent. Its sessions are kept and go on with their next prompt."""
        agent = self.get(agent_id)
        async with agent.changing:
            await asyncio.gather(*(link.end() for link in list(agent.links)))
            agent.error, agent.needs_auth = None, False
            self._tell(agent)
        return agent

    async def close(self) -> None:
        """End every process, and start none any more. May be called again."""
        self._closing = True
        links = [link for agent in self._agents.values() for link in agent.links]
        await asyncio.gather(*(link.end() for link in links))

    def ended(self, link: AgentLink, text: str, *, stopped: bool) -> None:
        """Tell of a process that has ended; one that never got to run is told of by its start."""
        agent = self.get(link.spec.id)
        if link not in agent.links:
            return
        agent.links.discard(link)
        if not stopped:
            agent.error = text
            agent.told = "error"
            self._emit(agent, "error")
        self._tell(agent)

    def used(self, agent: Agent) -> None:
        """A session of this agent works: whatever it needed for that, it has."""
        agent.last_activity = now()
        agent.needs_auth, agent.error = False, None
        self._tell(agent)

    def refused(self, agent: Agent, exc: AuthRequired) -> None:
        """The agent wants a credential."""
        agent.needs_auth, agent.error = True, str(exc)
        self._tell(agent)
        data = {"agentId": agent.spec.id, "message": str(exc)}
        self._journal.append("auth_required", data, agent_id=agent.spec.id, to_all=True)

    async def take_token(self, agent_id: str, token: str, expires_in: float | None) -> None:
        """Keep a credential in memory for the agent's next process; one that is idle is ended, to make room for it."""
        agent = self.get(agent_id)
        if not agent.spec.credentials:
            raise BadRequest(f"{agent_id} takes no credential")
        expires_at = None if expires_in is None else datetime.now(UTC) + timedelta(seconds=expires_in)
        agent.token = Token(value=token, expires_at=expires_at)
        agent.needs_auth = False
        async with agent.changing:
            if agent.shared is not None and not agent.shared.turns:
                await agent.shared.end()
        self._tell(agent)
        self._journal.append("auth_complete", {"agentId": agent_id}, agent_id=agent_id, to_all=True)

    def authenticated(self, agent: Agent) -> bool:
        """Whether the agent needs no credential, or has been given one; whether it is accepted shows in use."""
        spec = agent.spec
        given = {**spec.env, **agent.env}
        has_token = agent.token is not None and agent.token.valid
        return not agent.needs_auth and (not spec.requires_auth or has_token or environment.has_credential(spec, given))

    def missing(self, agent: Agent) -> str | None:
        """A sentence where the agent's program is not installed."""
        env = environment.for_agent(agent.spec, self._config.environment, agent.env)
        found = environment.find_program(agent.spec, env)
        return None if found else agent.spec.not_installed

    async def _start(self, agent: Agent, env: Mapping[str, str], cwd: Path | None) -> AgentLink:
        if self._closing:
            raise AgentStopped("the agent host is stopping")
        agent.starting += 1
        agent.error, agent.needs_auth = None, False
        self._tell(agent)
        try:
            link = await AgentLink.start(
                agent.spec,
                cwd=cwd or self._config.workspace,
                given_env=self._with_token(agent, env),
                client=self._client,
                config=self._config,
                lifeline=self._lifeline,
            )
            agent.links.add(link)
            agent.started_at = agent.last_activity = now()
            return link
        except AuthRequired as exc:
            self.refused(agent, exc)
            raise
        except AgentUnavailable:
            # Nothing has failed that could be tried again: it stays stopped, and `missing` says why.
            raise
        except GatewayError as exc:
            agent.error = str(exc)
            raise
        finally:
            agent.starting -= 1
            self._tell(agent)

    def _with_token(self, agent: Agent, env: Mapping[str, str]) -> dict[str, str]:
        if agent.token is None or not agent.token.valid or environment.has_credential(agent.spec, env):
            return dict(env)
        return {agent.spec.credentials[0]: agent.token.value, **env}

    def _tell(self, agent: Agent) -> None:
        if agent.told != (status := agent.status):
            agent.told = status
            self._emit(agent, status)

    def _emit(self, agent: Agent, status: str) -> None:
        data = {"agentId": agent.spec.id, "status": status}
        if status in ("error", "auth_required") and agent.error is not None:
            data["error"] = agent.error
        self._journal.append("agent_status", data, agent_id=agent.spec.id, to_all=True)

    def _describe(self, agent: Agent) -> dict[str, Any]:
        described = {
            "id": agent.spec.id,
            "name": agent.spec.name,
            "description": agent.spec.description,
            "requiresAuth": agent.spec.requires_auth,
            "status": agent.status,
            "authenticated": self.authenticated(agent),
        }
        problem = agent.error if agent.error is not None else self.missing(agent)
        return described if problem is None else {**described, "error": problem}
