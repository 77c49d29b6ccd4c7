"""Sessions and turns, over the agents that run them."""

import asyncio
import logging
from typing import Any

from gateway.agenthost.agents import Agents
from gateway.agenthost.client import Client
from gateway.agenthost.credentials import Credential
from gateway.agenthost.errors import AgentRefused, AuthRequired
from gateway.agenthost.journal import Journal
from gateway.agenthost.link import AgentLink
from gateway.agenthost.permissions import Permissions
from gateway.agenthost.placement import Placement
from gateway.agenthost.process import Lifeline
from gateway.agenthost.rpc import METHOD_NOT_FOUND
from gateway.agenthost.sessions import Session, Turn
from gateway.agenthost.settings import AgentHostConfig
from gateway.agenthost.workspace import Workspace
from gateway.errors import Conflict, GatewayError, NotImplementedYet, SessionBusy, SessionNotFound
from gateway.tasks import Tasks

logger = logging.getLogger(__name__)

Blocks = list[dict[str, Any]]


class AgentHost:
    """Everything that runs in one container. Owns its tasks, processes and events; `close()` ends them."""

    def __init__(self, config: AgentHostConfig) -> None:
        self.config = config
        self.journal = Journal(size=config.journal_size, size_bytes=config.journal_bytes)
        self.permissions = Permissions(self.journal, timeout=config.permission_timeout)
        self.workspace = Workspace(config.workspace)
        self.tasks = Tasks()
        self.streams = 0
        self._lifeline = Lifeline()
        self._client = Client(self.journal, self.permissions, self.workspace)
        self._client.on_end = self._ended
        self.agents = Agents(config, self.journal, self._client, self._lifeline)
        self._placement = Placement(self.agents, self._client, config)
        self._sessions: dict[str, Session] = {}
        self._closed = False

    async def close(self) -> None:
        """End every agent, let every turn and every stream hear of it. May be called again."""
        if self._closed:
            return
        self._closed = True
        await self.agents.close()
        await self.tasks.close()
        # A start that was under way when the first round began may have got through.
        await self.agents.close()
        self.journal.close()
        self._lifeline.close()

    @property
    def sessions(self) -> list[Session]:
        return list(self._sessions.values())

    def session(self, session_id: str) -> Session:
        if (session := self._sessions.get(session_id)) is None:
            raise SessionNotFound(f"there is no session {session_id}")
        return session

    async def create(self, session: Session, credential: Credential | None = None) -> dict[str, Any]:
        """A new session; with `env` in a process of its own. What the agent said of its modes is in the answer."""
        self._give(session, credential)
        link = await self._placement.link_for(session)
        try:
            extras = await self._placement.open(session, link)
        except BaseException:
            await self._placement.let_go(session)
            raise
        self._sessions[session.id] = session
        return {**session.describe(), **extras}

    def _give(self, session: Session, credential: Credential | None) -> None:
        if credential is None:
            return
        if session.owner != credential.owner:
            raise Conflict("the session runs with another owner's credential, or with none")
        self.agents.give(self.agents.get(session.agent_id), credential)

    async def delete(self, session: Session) -> None:
        """End a session: its turn is cancelled, the agent forgets it, a process of its own is ended."""
        self._sessions.pop(session.id, None)
        session.status = "ended"
        if session.turn is not None:
            await self.cancel(session)
        if session.turn_task is not None:
            session.turn_task.cancel()
            await asyncio.wait([session.turn_task])
        # A call that is moving the session to another process finishes first; later ones find it ended.
        async with session.moving:
            if session.link is not None and session.link.alive:
                await self._placement.forget(session, session.link)

    # Turns.

    def prompt(self, session: Session, blocks: Blocks, turn_id: str | None = None) -> Turn:
        """Begin a turn; it runs to its end whoever waits for it. SessionBusy while another one runs.

        With the id of a turn that there was already, it is that turn, and nothing is run.
        """
        if turn_id is not None and (known := session.turns.get(turn_id)) is not None:
            return known
        if session.turn is not None:
            raise SessionBusy()
        turn = session.begin(turn_id)
        session.turn_task = self.tasks.start(self._run(session, turn, blocks), name=f"turn {turn.id}")
        return turn

    async def cancel(self, session: Session) -> None:
        """Ask for the end of the turn, if one runs, and wait a while for it. What it has asked is cancelled."""
        if (turn := session.turn) is None:
            if session.status == "processing":
                session.status = "idle"
            return
        turn.cancelled = True
        self.permissions.cancel_session(session.id, "turn_cancelled")
        if turn.sent and session.link is not None:
            await session.link.notify("session/cancel", {"sessionId": session.acp_id})
        await asyncio.wait([turn.end], timeout=self.config.cancel_timeout)

    async def _run(self, session: Session, turn: Turn, blocks: Blocks) -> None:
        end: dict[str, Any] = {"stopReason": "cancelled"}
        try:
            end = await self._converse(session, turn, blocks)
        except asyncio.CancelledError:
            # Only `delete` and `close` cancel this task, and both want its end told.
            end = {"stopReason": "cancelled"}
        except GatewayError as exc:
            end = {"error": _failure(exc)}
        except Exception:
            logger.exception("a turn failed", extra={"session": session.id})
            end = {"error": {"code": "internal_error", "message": "the agent host has failed; its log tells why"}}
        finally:
            self._end_turn(session, turn, end)

    async def _converse(self, session: Session, turn: Turn, blocks: Blocks) -> dict[str, Any]:
        link = await self.connect(session)
        if turn.cancelled:
            return {"stopReason": "cancelled"}
        turn.sent = True
        agent = self.agents.get(session.agent_id)
        try:
            with link.at_work():
                # A turn may take hours; its limit is the agent's life, or somebody's cancel.
                answer = await link.request("session/prompt", {"sessionId": session.acp_id, "prompt": blocks})
        except AuthRequired as exc:
            self.agents.refused(agent, exc, link.owner)
            raise
        self.agents.used(agent, link.owner)
        return {"stopReason": None, **link.masker.mask_value(answer)}

    def _end_turn(self, session: Session, turn: Turn, end: dict[str, Any]) -> None:
        self.permissions.cancel_session(session.id, "turn_ended")
        session.turn = session.turn_task = None
        session.running.forget()
        if session.status != "ended":
            session.status = "error" if "error" in end else "idle"
        session.touch()
        data = {"turnId": turn.id, **end}
        self.journal.append("session_end_turn", data, session_id=session.id, agent_id=session.agent_id)
        turn.end.set_result(data)

    # Processes.

    async def connect(self, session: Session) -> AgentLink:
        """A process that knows the session: the one it has, or another that takes it up where that takes no more work.

        A turn that runs stays where it is.
        """
        async with session.moving:
            if session.status == "ended":
                raise SessionNotFound(f"there is no session {session.id}")
            before = session.link
            runs = session.turn is not None and session.turn.sent
            if before is not None and (before.usable or (before.alive and runs)):
                return before
            link = await self._placement.link_for(session)
            try:
                how = await self._placement.take_up(session, link)
            except BaseException:
                await self._placement.let_go(session)
                raise
            reason = (None if before is None else before.retired) or "agent_restarted"
            data = {"how": how, "reason": reason, "acpSessionId": session.acp_id}
            self.journal.append("session_restored", data, session_id=session.id, agent_id=session.agent_id)
            return link

    async def load(self, session: Session, credential: Credential | None, *, replay: bool) -> dict[str, Any]:
        """ACP's `session/load` on the process that the session has or gets; with `replay` its history is told again."""
        if session.turn is not None:
            raise SessionBusy()
        self._give(session, credential)
        link = await self.connect(session)
        async with session.moving:
            return await self._placement.load(session, link, replay=replay)

    async def adopt(self, session: Session, credential: Credential | None, *, replay: bool) -> dict[str, Any]:
        """Take up a session that this host does not know, from before its start, under the id it is to have.

        NotImplementedYet where the agent can neither load nor resume it, AgentRefused where it does not.
        """
        self._make_room(session)
        self._give(session, credential)
        link = await self._placement.link_for(session)
        try:
            how, extras = await self._placement.restore(session, link, replay=replay)
            self._make_room(session)
        except BaseException:
            await self._placement.let_go(session)
            raise
        self._sessions[session.id] = session
        return {"how": how, **extras}

    def _make_room(self, session: Session) -> None:
        """One that the agent knows by the same id, which a client has taken up and forgotten, gives way."""
        if session.id in self._sessions:
            raise Conflict(f"there is a session {session.id} already")
        for other in self.sessions:
            if (other.agent_id, other.acp_id) == (session.agent_id, session.acp_id):
                if other.turn is not None:
                    raise SessionBusy()
                del self._sessions[other.id]

    async def call(self, session: Session, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """One of ACP's calls on a session; NotImplementedYet where the agent does not have it."""
        link = await self.connect(session)
        try:
            with link.at_work():
                return await link.request(
                    method, {"sessionId": session.acp_id, **params}, timeout=self.config.start_timeout
                )
        except AgentRefused as exc:
            if exc.rpc_code == METHOD_NOT_FOUND:
                raise NotImplementedYet(f"{session.agent_id} does not have {method}") from exc
            raise

    def _ended(self, link: AgentLink, text: str, stopped: bool) -> None:
        self.agents.ended(link, text, stopped=stopped)


def _failure(exc: GatewayError) -> dict[str, Any]:
    failure: dict[str, Any] = {"code": exc.code, "message": str(exc)}
    if isinstance(exc, AgentRefused):
        failure["rpcCode"] = exc.rpc_code
    return failure
