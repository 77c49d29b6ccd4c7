"""The one process that an agent has in a container of the base contract: whose credential it runs with.

Such a container starts an agent with variables, and keeps it as it is. Nothing tells whose they were, so that is
written down before: whoever starts a process claims it, by the newest claim that he knows, having seen after he read
that claim that none runs. So nobody takes a process for his own that somebody else has started meanwhile.

One that runs and was not written down may have anybody's: a project was moved and the container is the same by another
name, or it came back before the process was stopped; or an operator has started it there by hand. Where its agent can
be given a credential, nobody works in it: it makes room.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from operator import itemgetter
from typing import Any

import attrs

from gateway.container.containers import Containers
from gateway.container.dialects import Container
from gateway.container.values import ContainerAgent
from gateway.db.pool import Database
from gateway.errors import AgentInUse
from gateway.injection.injecting import Chosen, Injecting, asking_for_account
from gateway.projects.store import Project
from gateway.tasks import wait_for

#: How long one that somebody is starting is waited for.
WAIT_SECONDS = 20.0

RESTARTED, RENEWED = "agent_restarted", "credential_renewed"

#: What runs has nobody knows whose credential; whose sessions that loses is told ``RESTARTED``.
UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class _Held:
    """Whose credential a process runs with, or is being started with."""

    user_id: str | None
    version: int | None
    claim: int
    is_starting: bool


class Processes:
    """Starts agents in containers."""

    def __init__(self, database: Database, containers: Containers, injecting: Injecting, *, gateway_id: str) -> None:
        self._database = database
        self._containers = containers
        self._injecting = injecting
        self._gateway_id = gateway_id

    async def start(self, project: Project, agent_id: str, chosen: Chosen | None, container: Container) -> str | None:
        """Have the agent running, with this credential or with none, before it is to have a new session.

        Gives and raises what ``keep`` does.
        """
        if not container.shares_processes and chosen is None:
            await self._containers.start(project, agent_id)
        return await self.keep(project, agent_id, chosen, container)

    async def spawn(
        self,
        project: Project,
        agent_id: str,
        chosen: Chosen | None,
        container: Container,
        options: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Start a process with these ``options`` of ``spawn`` and the credential; what the container says of it."""
        with asking_for_account(project, agent_id):
            if container.shares_processes:
                await self.keep(project, agent_id, chosen, container, options)
                return await container.agent_status(agent_id)
            async with self._injecting.lend(chosen, container, container.for_process) as lent:
                return await container.spawn(agent_id, {**options, **lent.members})

    async def keep(
        self,
        project: Project,
        agent_id: str,
        chosen: Chosen | None,
        container: Container,
        options: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Have the one process of the agent run with this credential, or with none; ``options`` of ``spawn`` beside it.

        None where it runs so already, or the container looks after its agents' processes itself; else why its sessions
        are lost: ``agent_restarted``, or ``credential_renewed`` where the same person has a newer one. A turn that runs
        keeps the old one until its end. ``AgentInUse`` where the process is another person's, or works on a turn and
        nobody knows whose it is.
        """
        if not container.shares_processes:
            return None
        keep = partial(self._keep, project, agent_id, chosen, options or {})
        is_kept, reason = await wait_for(keep, seconds=WAIT_SECONDS, until=itemgetter(0))
        if not is_kept:
            raise AgentInUse(f"{agent_id} is being started for somebody else; try again.")
        return reason

    async def _keep(
        self, project: Project, agent_id: str, chosen: Chosen | None, options: Mapping[str, Any]
    ) -> tuple[bool, str | None]:
        """Whether it runs so, and not while somebody else starts it; why its sessions are lost, if they are."""
        held = await self._held(project, agent_id)
        agent = await self._containers.agent(project, agent_id)
        if held is not None and held.is_starting:
            return False, None
        reason = await self._reason(project, agent, chosen, held)
        if reason is None:
            return True, None
        # What it was found to be some time ago is not enough for what it is given now.
        container = await self._containers.identify(project)
        if not container.shares_processes:
            return True, RESTARTED
        is_started = await self._start(project, agent_id, chosen, held, reason, container, options)
        return is_started, RESTARTED if reason == UNKNOWN else reason

    async def _held(self, project: Project, agent_id: str) -> _Held | None:
        row = await self._database.fetch_one("get_agent_process", project_id=project.id, agent_id=agent_id)
        return None if row is None else _Held(**{field.name: row[field.name] for field in attrs.fields(_Held)})

    async def _reason(
        self, project: Project, agent: ContainerAgent, chosen: Chosen | None, held: _Held | None
    ) -> str | None:
        """Why the agent has to be started; None where it need not."""
        if held is None and agent.status in ("running", "starting") and self._injecting.can_give(agent.id):
            if await self._has_turn(project, agent.id):
                text = (
                    f"{agent.id} works on a turn, and whose credential it runs with is not known; try again after it."
                )
                raise AgentInUse(text)
            return UNKNOWN
        if agent.status != "running":
            return RESTARTED
        whose = None if held is None else held.user_id
        if whose != (None if chosen is None else chosen.user_id):
            raise _in_use(agent.id, whose, chosen)
        if chosen is None or held is None or (held.version or 0) >= chosen.version:
            return None
        return None if await self._has_turn(project, agent.id) else RENEWED

    async def _has_turn(self, project: Project, agent_id: str) -> bool:
        row = await self._database.fetch_one("agent_has_turn", project_id=project.id, agent_id=agent_id)
        return row is not None and bool(row["has_turn"])

    async def _start(
        self,
        project: Project,
        agent_id: str,
        chosen: Chosen | None,
        held: _Held | None,
        reason: str,
        container: Container,
        options: Mapping[str, Any],
    ) -> bool:
        """Start it, unless somebody else was quicker."""
        if chosen is not None:
            chosen.given_by(container.for_process)  # before anything is begun
        key = {"project_id": project.id, "agent_id": agent_id}
        claimed = await self._database.fetch_one(
            "claim_agent_process",
            **key,
            user_id=None if chosen is None else chosen.user_id,
            version=None if chosen is None else chosen.version,
            seen=None if held is None else held.claim,
            gateway_id=self._gateway_id,
        )
        if claimed is None:
            return False
        claim = {**key, "claim": claimed["claim"]}
        is_started = False
        try:
            async with self._injecting.lend(chosen, container, container.for_process) as lent:
                if reason in (RENEWED, UNKNOWN):
                    sessions = await self._database.fetch_all("container_sessions_of_agent", **key)
                    await container.stop_agent(agent_id, [session["container_session_id"] for session in sessions])
                env = {**lent.members.get("env", {}), **(options.get("env") or {})}
                await container.spawn(agent_id, {**options, "env": env} if env else options)
                is_started = True
                await self._database.execute("agent_process_started", **claim, version=lent.version)
        except BaseException:
            if not is_started:
                await asyncio.shield(self._database.execute("discard_agent_process", **claim))
            raise
        return True


def _in_use(agent_id: str, whose: str | None, chosen: Chosen | None) -> AgentInUse:
    runs = f"with {whose}'s credential" if whose is not None else "without anybody's credential"
    wanted = "with yours" if chosen is not None else "without one"
    first = f"{whose} can go on with it. " if whose is not None else ""
    return AgentInUse(
        f"{agent_id} runs {runs}, and this container has one process for each agent. {first}To run it {wanted}, an "
        f"operator stops it first (POST .../acp/agents/{agent_id}/stop); its sessions are taken up again."
    )
