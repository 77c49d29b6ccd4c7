"""The agents of the catalogue and their processes, which one owner's sessions share; and their status events."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.agenthost import environment
from gateway.agenthost.catalogue import AgentSpec, canonical
from gateway.agenthost.client import Client
from gateway.agenthost.credentials import Credential
from gateway.agenthost.errors import AgentStopped, AuthRequired
from gateway.agenthost.homes import Homes
from gateway.agenthost.journal import Journal, now
from gateway.agenthost.link import AgentLink
from gateway.agenthost.node import NodeVersions
from gateway.agenthost.process import Lifeline
from gateway.agenthost.settings import AgentHostConfig
from gateway.agenthost.slots import Agent, Slot, Token
from gateway.errors import AgentNotFound, AgentUnavailable, BadRequest, Conflict, GatewayError

#: Why a process is retired.
RENEWED, RESTARTED = "credential_renewed", "agent_restarted"


class Agents:
    """Every agent of the catalogue."""

    def __init__(self, config: AgentHostConfig, journal: Journal, client: Client, lifeline: Lifeline) -> None:
        self._config = config
        self._journal = journal
        self._client = client
        self._lifeline = lifeline
        self._homes = Homes(config.workspace.resolve(), config.environment)
        self._homes.clear()
        self._closing = False
        self._agents = {spec.id: Agent(spec=spec) for spec in config.catalogue.values()}
        #: Those that the catalogue does not name any more. Their processes may still work.
        self._former: dict[str, Agent] = {}
        self._nodes = NodeVersions()

    def learn(self, catalogue: Mapping[str, AgentSpec]) -> None:
        """Take over a changed catalogue. Processes of agents that it changes end after their turns."""
        for agent_id, agent in [*self._agents.items()]:
            if catalogue.get(agent_id) != agent.spec:
                for link in [*agent.links]:
                    link.retire(RESTARTED)
            if agent_id not in catalogue:
                self._former[agent_id] = self._agents.pop(agent_id)
        for spec in catalogue.values():
            known = self._agents.get(spec.id) or self._former.pop(spec.id, None) or Agent(spec=spec)
            known.spec = spec
            self._agents[spec.id] = known

    def get(self, agent_id: str) -> Agent:
        """An agent that may be started."""
        if (agent := self._agents.get(canonical(agent_id))) is None:
            known = ", ".join(self._agents)
            raise AgentNotFound(f"there is no agent {agent_id} (known here: {known})")
        return agent

    def held(self, agent_id: str) -> Agent:
        """An agent that may have processes, even if it may not be started any more."""
        return self._former.get(canonical(agent_id)) or self.get(agent_id)

    @property
    def running(self) -> int:
        return sum(agent.status == "running" for agent in self._agents.values())

    async def list(self) -> list[dict[str, Any]]:
        """For `GET /agents`."""
        return [
            self._describe(agent, await self._nodes.warning(agent.spec, self._environment(agent)))
            for agent in [*self._agents.values()]
        ]

    def _environment(self, agent: Agent) -> dict[str, str]:
        return environment.for_agent(agent.spec, self._config.environment, agent.slot(None).env)

    async def spawn(
        self, agent_id: str, env: dict[str, str] | None, cwd: Path | None, credential: Credential | None = None
    ) -> Agent:
        """Ensure that a shared process runs, with this environment and directory if given, for the credential's owner.

        A process with another environment or directory is replaced; its sessions move with their next prompt. Conflict
        while it runs a turn.
        """
        agent = self.get(agent_id)
        if credential is not None:
            self.give(agent, credential)
        slot = agent.slot(None if credential is None else credential.owner)
        async with slot.changing:
            same = (env is None or env == slot.env) and (cwd is None or cwd == slot.cwd)
            if slot.link is not None and slot.link.usable and not same:
                if slot.link.turns:
                    raise Conflict(f"{agent_id} is running a turn; stop it first to change its environment")
                await slot.link.end()
            slot.env = slot.env if env is None else env
            slot.cwd = slot.cwd if cwd is None else cwd
            await self._fill(agent, slot)
        return agent

    async def process(self, agent: Agent, slot: Slot) -> AgentLink:
        """The slot's process with its owner's newest credential, started if necessary."""
        async with slot.changing:
            return await self._fill(agent, slot)

    async def _fill(self, agent: Agent, slot: Slot) -> AgentLink:
        while True:
            if slot.link is not None and agent.spec.id not in self._agents:
                # The catalogue lost it while it was being started.
                slot.link.retire(RESTARTED)
            self.get(agent.spec.id)
            credential = agent.credential_of(slot)
            if slot.link is not None and slot.link.usable:
                if slot.link.credential == credential and slot.link.spec == agent.spec:
                    return slot.link
                # A newer credential, or catalogue, came while it was being started.
                slot.link.retire(RENEWED if slot.link.spec == agent.spec else RESTARTED)
            if slot.link is not None and not slot.link.turns:
                await slot.link.end()
            slot.link = await self._start(agent, slot, credential)

    def give(self, agent: Agent, credential: Credential) -> bool:
        """Keep an owner's credential; False if it is not newer than the known one.

        Processes with an older one end after their turns; their sessions move with their next prompt.
        """
        known = agent.credentials.get(credential.owner)
        if known is not None and (credential == known or credential.version < known.version):
            return False
        agent.credentials[credential.owner] = credential
        for slot in agent.slots_of(credential.owner):
            if slot.link is not None and slot.link.alive:
                slot.link.retire(RENEWED)
        return True

    async def renew(self, agent_id: str, credential: Credential) -> str:
        """Keep a newer credential, and replace the owner's process if it is idle.

        Returns `replaced`, `after_turn` if the process is working, `kept` if none runs, `known` if it is not newer.
        """
        agent = self.get(agent_id)
        slot = agent.slot(credential.owner)
        link = slot.link
        runs = link is not None and link.usable
        if not self.give(agent, credential):
            return "known"
        if not runs or link is None:
            return "kept"
        if link.turns:
            return "after_turn"
        await self.process(agent, slot)
        return "replaced"

    async def withdraw(self, agent_id: str, owner: str) -> bool:
        """Forget an owner's credential and end its processes and turns; whether there was one."""
        agent = self.held(agent_id)
        known = agent.credentials.pop(owner, None)
        await self._end(agent.slots_of(owner), [link for link in agent.links if link.owner == owner])
        self._homes.remove(agent.spec.id, owner)
        self._tell(agent)
        return known is not None

    def own_slot(self, agent: Agent, owner: str | None, env: dict[str, str], cwd: Path) -> Slot:
        """A slot for one session; the caller must release it with `give_up`."""
        slot = Slot(owner=owner, env=env, cwd=cwd)
        agent.own.add(slot)
        return slot

    async def give_up(self, agent: Agent, slot: Slot) -> None:
        agent.own.discard(slot)
        if slot.link is not None:
            await slot.link.end()

    async def stop(self, agent_id: str) -> Agent:
        """End all processes of an agent. Its sessions are kept and go on with their next prompt."""
        agent = self.held(agent_id)
        await self._end([*agent.slots.values(), *agent.own], list(agent.links))
        agent.error, agent.needs_auth = None, False
        self._tell(agent)
        return agent

    async def _end(self, slots: Iterable[Slot], links: Iterable[AgentLink]) -> None:
        """End these processes, and those being started for the slots."""

        async def end(slot: Slot) -> None:
            async with slot.changing:
                if slot.link is not None:
                    await slot.link.end()

        await asyncio.gather(*map(end, slots), *(link.end() for link in links))

    async def close(self) -> None:
        """End all processes and start no more. May be called again."""
        self._closing = True
        every = [*self._agents.values(), *self._former.values()]
        links = [link for agent in every for link in agent.links]
        await asyncio.gather(*(link.end() for link in links))

    def ended(self, link: AgentLink, text: str, *, stopped: bool) -> None:
        """Report the end of a process; one that failed to start is reported by `_start`."""
        agent = self._former.get(link.spec.id) or self._agents[link.spec.id]
        if link not in agent.links:
            return
        agent.links.discard(link)
        if not stopped:
            agent.error = text
            agent.told = "error"
            self._emit(agent, "error")
        self._tell(agent)

    def used(self, agent: Agent, owner: str | None) -> None:
        """A session of this agent works, so it has the credential that it needs."""
        agent.last_activity = now()
        agent.error = None
        if owner is None:
            agent.needs_auth = False
        self._tell(agent)

    def refused(self, agent: Agent, exc: AuthRequired, owner: str | None) -> None:
        """The agent requires a credential, or refuses the one it has, which only concerns that one's owner."""
        if owner is None:
            agent.needs_auth, agent.error = True, str(exc)
            self._tell(agent)
        data = {"agentId": agent.spec.id, "message": str(exc)}
        if owner is not None:
            data["owner"] = owner
        self._journal.append("auth_required", data, agent_id=agent.spec.id, to_all=True)

    async def take_token(self, agent_id: str, token: str, expires_in: float | None) -> None:
        """Keep a credential in memory for the agent's next process; an idle process is ended."""
        agent = self.get(agent_id)
        if not agent.spec.credentials:
            raise BadRequest(f"{agent_id} takes no credential")
        expires_at = None if expires_in is None else datetime.now(UTC) + timedelta(seconds=expires_in)
        agent.token = Token(value=token, expires_at=expires_at)
        await self.logged_in(agent)

    async def logged_in(self, agent: Agent) -> None:
        """The agent has an account for everybody from now on; an idle process is ended, so that the next one has it."""
        agent.needs_auth = False
        slot = agent.slot(None)
        async with slot.changing:
            if slot.link is not None and not slot.link.turns:
                await slot.link.end()
        self._tell(agent)
        self._journal.append("auth_complete", {"agentId": agent.spec.id}, agent_id=agent.spec.id, to_all=True)

    def authenticated(self, agent: Agent) -> bool:
        """Whether the agent needs no credential or has one; only use shows whether it is accepted."""
        spec = agent.spec
        given = {**spec.env, **agent.slot(None).env}
        has_token = agent.token is not None and agent.token.valid
        return not agent.needs_auth and (not spec.requires_auth or has_token or environment.has_credential(spec, given))

    def missing(self, agent: Agent) -> str | None:
        """Why the agent cannot run: its program is not installed. None if it is."""
        found = environment.find_program(agent.spec, self._environment(agent))
        return None if found else agent.spec.not_installed

    async def _start(self, agent: Agent, slot: Slot, credential: Credential | None) -> AgentLink:
        if self._closing:
            raise AgentStopped("the agent host is stopping")
        agent.starting += 1
        agent.error = None
        if slot.owner is None:
            agent.needs_auth = False
        self._tell(agent)
        try:
            if slot.owner is not None and credential is None:
                raise AuthRequired(f"{agent.spec.id}: the credential of this session has been taken back")
            link = await AgentLink.start(
                agent.spec,
                cwd=slot.cwd or self._config.workspace,
                given_env=slot.env if credential is not None else self._with_token(agent, slot.env),
                client=self._client,
                config=self._config,
                lifeline=self._lifeline,
                credential=credential,
                home=self._homes.of(agent.spec.id, credential.owner) if credential and credential.files else None,
            )
            agent.links.add(link)
            agent.started_at = agent.last_activity = now()
            return link
        except AuthRequired as exc:
            self.refused(agent, exc, slot.owner)
            raise
        except AgentUnavailable:
            # Not an error state: it stays stopped, and `missing` says why.
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

    def _describe(self, agent: Agent, warning: str | None) -> dict[str, Any]:
        described = {
            "id": agent.spec.id,
            "name": agent.spec.name,
            "description": agent.spec.description,
            "requiresAuth": agent.spec.requires_auth,
            "status": agent.status,
            "authenticated": self.authenticated(agent),
            "credentials": agent.spec.credentials,
        }
        if warning is not None:
            described["warning"] = warning
        problem = agent.error if agent.error is not None else self.missing(agent)
        return described if problem is None else {**described, "error": problem}
