"""Which process has a session: opened in one, taken up by another, let go."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from gateway.agenthost.agents import Agents
from gateway.agenthost.client import Client
from gateway.agenthost.errors import AgentFailed, AgentRefused, AgentTimeout, AuthRequired
from gateway.agenthost.link import AgentLink
from gateway.agenthost.sessions import Session
from gateway.agenthost.settings import AgentHostConfig
from gateway.errors import GatewayError, NotImplementedYet

logger = logging.getLogger(__name__)


class Placement:
    """Puts the sessions of one host on its agents' processes."""

    def __init__(self, agents: Agents, client: Client, config: AgentHostConfig) -> None:
        self._agents = agents
        self._client = client
        self._config = config

    async def link_for(self, session: Session) -> AgentLink:
        """The process for a session: its owner's, or one of its own where it has an environment."""
        agent = self._agents.get(session.agent_id)
        if session.env is None:
            return await self._agents.process(agent, agent.slot(session.owner))
        if session.own is None:
            session.own = self._agents.own_slot(agent, session.owner, session.env, session.cwd)
        return await self._agents.process(agent, session.own)

    async def let_go(self, session: Session) -> None:
        """No process has the session any more; one of its own is ended."""
        self._client.unbind(session)
        if session.own is not None:
            own, session.own = session.own, None
            await self._agents.give_up(self._agents.get(session.agent_id), own)

    async def forget(self, session: Session, link: AgentLink) -> None:
        """Have the agent forget a session, where it can."""
        if link.has("close"):
            try:
                await link.request("session/close", {"sessionId": session.acp_id}, timeout=self._config.cancel_timeout)
            except GatewayError as exc:
                logger.info("session/close failed", extra={"session": session.id, "error": str(exc)})
        await self.let_go(session)

    async def take_up(self, session: Session, link: AgentLink) -> str:
        """Load or resume the session where the agent can, else begin anew under the same id; how it was done."""
        try:
            how, _ = await self.restore(session, link, replay=False)
            return how
        except (AgentRefused, AgentTimeout, NotImplementedYet):
            await self.open(session, link)
            return "new"

    async def restore(self, session: Session, link: AgentLink, *, replay: bool) -> tuple[str, dict[str, Any]]:
        """Load the session, or else resume it: how it was done, and what the agent says of its modes."""
        failure: AgentRefused | AgentTimeout | NotImplementedYet
        failure = NotImplementedYet(f"{session.agent_id} can neither load nor resume sessions")
        ways: dict[str, Callable[[Session, AgentLink], Awaitable[dict[str, Any]]]] = {}
        if link.capabilities.get("loadSession") is True:
            ways["load"] = partial(self.load, replay=replay)
        if link.has("resume") and not replay:
            ways["resume"] = self._resume
        for how, way in ways.items():
            try:
                return how, await way(session, link)
            except (AgentRefused, AgentTimeout) as exc:
                logger.info("session not taken up", extra={"session": session.id, "how": how, "error": str(exc)})
                failure = exc
        raise failure

    async def _resume(self, session: Session, link: AgentLink) -> dict[str, Any]:
        answer = await self._place_on(link, session, "session/resume", self._place(session))
        self._client.bind(link, session.acp_id, session)
        return _extras(answer)

    async def load(self, session: Session, link: AgentLink, *, replay: bool) -> dict[str, Any]:
        """ACP's `session/load`: what the agent says of its modes; with `replay` its history becomes events again."""
        if link.capabilities.get("loadSession") is not True:
            raise NotImplementedYet(f"{session.agent_id} cannot load sessions")
        session.muted = not replay
        # The history comes before the answer, so the session must be known already. Where it cannot be loaded, its
        # next prompt finds it on this process, or is told that it is not there.
        self._client.bind(link, session.acp_id, session)
        try:
            return _extras(await self._place_on(link, session, "session/load", self._place(session)))
        finally:
            session.muted = False

    async def open(self, session: Session, link: AgentLink) -> dict[str, Any]:
        """ACP's `session/new`: what the agent says of its modes."""
        place = self._place(session)
        del place["sessionId"]
        with self._client.opening(link):
            answer = await self._place_on(link, session, "session/new", place)
            if not isinstance(acp_id := answer.get("sessionId"), str):
                raise AgentFailed(f"{session.agent_id}: session/new gave no sessionId")
            self._client.bind(link, acp_id, session)
        return _extras(answer)

    async def _place_on(self, link: AgentLink, session: Session, method: str, place: dict[str, Any]) -> dict[str, Any]:
        """One of the calls that give a session to a process; they show whether the agent has its credential."""
        agent = self._agents.get(session.agent_id)
        try:
            with link.at_work():
                answer = await link.request(method, place, timeout=self._config.start_timeout)
        except AuthRequired as exc:
            self._agents.refused(agent, exc, link.owner)
            raise
        self._agents.used(agent, link.owner)
        return answer

    def _place(self, session: Session) -> dict[str, Any]:
        return {"sessionId": session.acp_id, "cwd": str(session.cwd), "mcpServers": session.mcp_servers}


def _extras(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in ("modes", "configOptions") if answer.get(name) is not None}
