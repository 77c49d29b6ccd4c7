"""Which process has a session: opens, restores and releases sessions on processes."""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from gateway.agenthost import modes
from gateway.agenthost.agents import Agents
from gateway.agenthost.client import Client
from gateway.agenthost.errors import AgentFailed, AgentRefused, AgentTimeout, AuthRequired
from gateway.agenthost.link import AgentLink
from gateway.agenthost.sessions import Session
from gateway.agenthost.settings import AgentHostConfig
from gateway.errors import GatewayError, NotImplementedYet

logger = logging.getLogger(__name__)


class Placement:
    """Places the sessions of one host on its agents' processes."""

    def __init__(self, agents: Agents, client: Client, config: AgentHostConfig) -> None:
        self._agents = agents
        self._client = client
        self._config = config

    async def link_for(self, session: Session) -> AgentLink:
        """The process for a session: its owner's, or one of its own if it has an environment."""
        agent = self._agents.get(session.agent_id)
        if session.env is None:
            return await self._agents.process(agent, agent.slot(session.owner))
        if session.own is None:
            session.own = self._agents.own_slot(agent, session.owner, session.env, session.cwd)
        return await self._agents.process(agent, session.own)

    async def let_go(self, session: Session) -> None:
        """Take the session off its process; a process of its own is ended."""
        self._client.unbind(session)
        if session.own is not None:
            own, session.own = session.own, None
            await self._agents.give_up(self._agents.held(session.agent_id), own)

    async def forget(self, session: Session, link: AgentLink) -> None:
        """Have the agent close a session, if it can."""
        if link.has("close"):
            try:
                await link.request("session/close", {"sessionId": session.acp_id}, timeout=self._config.cancel_timeout)
            except GatewayError as exc:
                logger.info("session/close failed", extra={"session": session.id, "error": str(exc)})
        await self.let_go(session)

    async def take_up(self, session: Session, link: AgentLink) -> str:
        """Load or resume the session if the agent can, otherwise open a new one; returns which."""
        try:
            how, _ = await self.restore(session, link, replay=False)
            return how
        except (AgentRefused, AgentTimeout, NotImplementedYet):
            await self.open(session, link)
            return "new"

    async def restore(self, session: Session, link: AgentLink, *, replay: bool) -> tuple[str, dict[str, Any]]:
        """Load the session, or else resume it; returns which, and the agent's modes."""
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
        with link.at_work():
            answer = await self._place_on(link, session, "session/resume", self._place(session))
            self._client.bind(link, session.acp_id, session)
            return await self._set_up(session, link, answer)

    async def load(self, session: Session, link: AgentLink, *, replay: bool) -> dict[str, Any]:
        """ACP's `session/load`; returns the agent's modes. With `replay` its history becomes events again."""
        if link.capabilities.get("loadSession") is not True:
            raise NotImplementedYet(f"{session.agent_id} cannot load sessions")
        session.muted = not replay
        # Bound before, because the history comes before the answer. If loading fails, the next prompt shows whether
        # this process has the session.
        self._client.bind(link, session.acp_id, session)
        with link.at_work():
            try:
                answer = await self._place_on(link, session, "session/load", self._place(session))
            finally:
                session.muted = False
            return await self._set_up(session, link, answer)

    async def open(self, session: Session, link: AgentLink) -> dict[str, Any]:
        """ACP's `session/new`; returns the agent's modes."""
        place = self._place(session)
        del place["sessionId"]

        def opened(answer: dict[str, Any]) -> None:
            # At once: what the agent says and asks right behind its answer is of this session.
            if isinstance(acp_id := answer.get("sessionId"), str):
                self._client.bind(link, acp_id, session)

        with link.at_work():
            with self._client.opening(link):
                answer = await self._place_on(link, session, "session/new", place, on_result=opened)
            if not isinstance(answer.get("sessionId"), str):
                raise AgentFailed(f"{session.agent_id}: session/new gave no sessionId")
            return await self._set_up(session, link, answer)

    async def _set_up(self, session: Session, link: AgentLink, answer: dict[str, Any]) -> dict[str, Any]:
        """Bring the session into its mode: the last one that it had, or the one that it is to begin in.

        Before its first prompt on this process: agents begin in modes of their own, some of which ask nobody. Returns
        the agent's modes and options. If the agent refuses a mode, the session says who decides in the one it has.
        """
        told = {name: answer[name] for name in ("modes", "configOptions") if answer.get(name) is not None}
        if session.mode and not modes.has(told, session.mode):
            # Of another version of the agent. Its own default may ask nobody.
            session.mode = None
        mode = session.mode or link.spec.start_mode
        for method, params in modes.calls(told, mode, {**link.spec.start_options, **session.options}):
            try:
                given = {"sessionId": session.acp_id, **params}
                changed = await link.request(method, given, timeout=self._config.start_timeout)
            except (AgentRefused, AgentTimeout) as exc:
                extra = {"session": session.id, "method": method, "error": str(exc)}
                logger.warning("an agent did not take the mode or option that it is to begin with", extra=extra)
            else:
                told = modes.changed(told, (method, params), changed)
        if mode and modes.mode_in(told) not in (mode, None):
            logger.warning("an agent works in a mode of its own", extra={"agent": session.agent_id, "wanted": mode})
        self._client.works_in(session, link, modes.mode_in(told))
        return told

    async def _place_on(
        self,
        link: AgentLink,
        session: Session,
        method: str,
        place: dict[str, Any],
        *,
        on_result: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Call a method that places a session, at work; it also shows whether the agent has its credential."""
        agent = self._agents.held(session.agent_id)
        try:
            answer = await link.request(method, place, timeout=self._config.start_timeout, on_result=on_result)
        except AuthRequired as exc:
            self._agents.refused(agent, exc, link.owner)
            raise
        self._agents.used(agent, link.owner)
        return answer

    def _place(self, session: Session) -> dict[str, Any]:
        return {"sessionId": session.acp_id, "cwd": str(session.cwd), "mcpServers": session.mcp_servers}
