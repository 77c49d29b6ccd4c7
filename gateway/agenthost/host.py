"""Sessions and turns of the agent host."""

import asyncio
import logging
from typing import Any

from gateway.agenthost import modes
from gateway.agenthost.agents import Agents
from gateway.agenthost.client import Client
from gateway.agenthost.credentials import Credential
from gateway.agenthost.errors import AgentRefused, AuthRequired
from gateway.agenthost.journal import Journal
from gateway.agenthost.link import AgentLink
from gateway.agenthost.logins import Logins
from gateway.agenthost.permissions import Permissions
from gateway.agenthost.placement import Placement
from gateway.agenthost.process import Lifeline
from gateway.agenthost.rpc import METHOD_NOT_FOUND
from gateway.agenthost.sessions import Session, Turn
from gateway.agenthost.settings import AgentHostConfig
from gateway.agenthost.workspace import Workspace
from gateway.errors import Conflict, GatewayError, NotImplementedYet, SessionBusy, SessionNotFound
from gateway.tasks import Tasks
from gateway.wire.codec import dump_foreign_json

logger = logging.getLogger(__name__)

Blocks = list[dict[str, Any]]

#: A longer prompt is not told: it would push other events out of the journal.
MAX_PROMPT_BYTES = 65_536


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
        self.logins = Logins(self.agents, self.journal, self.tasks, config)
        self._placement = Placement(self.agents, self._client, config)
        self._sessions: dict[str, Session] = {}
        self._closed = False

    async def close(self) -> None:
        """End all agents, turns and streams. May be called again."""
        if self._closed:
            return
        self._closed = True
        await self.agents.close()
        await self.tasks.close()
        # A process may have started during the first round.
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
        """Create a session, with `env` in a process of its own. The answer includes the agent's modes."""
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
        """End a session: cancel its turn, have the agent forget it, end a process of its own."""
        self._sessions.pop(session.id, None)
        session.status = "ended"
        if session.turn is not None:
            await self.cancel(session)
        if session.turn_task is not None:
            session.turn_task.cancel()
            await asyncio.wait([session.turn_task])
        # A call that moves the session to another process finishes first; later ones see that it has ended.
        async with session.moving:
            if session.link is not None and session.link.alive:
                await self._placement.forget(session, session.link)

    def prompt(self, session: Session, blocks: Blocks, turn_id: str | None = None) -> Turn:
        """Begin a turn in a task of its own; SessionBusy while another one runs.

        If there was a turn with this id already, return it and run nothing.
        """
        if turn_id is not None and (known := session.turns.get(turn_id)) is not None:
            return known
        if session.turn is not None:
            raise SessionBusy()
        turn = session.begin(turn_id)
        self._tell_beginning(session, turn, blocks)
        session.turn_task = self.tasks.start(self._run(session, turn, blocks), name=f"turn {turn.id}")
        return turn

    def _tell_beginning(self, session: Session, turn: Turn, blocks: Blocks) -> None:
        """With the prompt, for a client that has lost what it knew of the turn."""
        prompt = blocks if session.link is None else session.link.masker.mask_value(blocks)
        data = dump_foreign_json({"turnId": turn.id, "prompt": prompt})
        if len(data) > MAX_PROMPT_BYTES:
            data = dump_foreign_json({"turnId": turn.id, "prompt": None})
        self.journal.append("session_begin_turn", data, session_id=session.id, agent_id=session.agent_id)

    async def cancel(self, session: Session) -> None:
        """Ask the agent to cancel the turn, cancel its permission requests, and wait a while for its end."""
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
            # Only `delete` and `close` cancel this task; the end must be reported.
            end = {"stopReason": "cancelled"}
        except GatewayError as exc:
            end = {"error": _failure(exc)}
        except Exception:
            logger.exception("a turn failed", extra={"session": session.id})
            message = "this is a bug in the agent host; its log has details"
            end = {"error": {"code": "internal_error", "message": message}}
        finally:
            self._end_turn(session, turn, end)

    async def _converse(self, session: Session, turn: Turn, blocks: Blocks) -> dict[str, Any]:
        link = await self.connect(session)
        if turn.cancelled:
            return {"stopReason": "cancelled"}
        turn.sent = True
        agent = self.agents.held(session.agent_id)
        try:
            with link.at_work():
                # No timeout: a turn may take hours, and ends with the agent or by a cancel.
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

    async def connect(self, session: Session) -> AgentLink:
        """A process that has the session: its current one, or another if that accepts no more work.

        A running turn stays where it is.
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
        """ACP's `session/load` on the session's process; with `replay` its history becomes events again."""
        if session.turn is not None:
            raise SessionBusy()
        self._give(session, credential)
        link = await self.connect(session)
        async with session.moving:
            return await self._placement.load(session, link, replay=replay)

    async def adopt(self, session: Session, credential: Credential | None, *, replay: bool) -> dict[str, Any]:
        """Restore a session from before this host's start.

        NotImplementedYet if the agent can neither load nor resume sessions, AgentRefused if it refuses.
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
        """Forget another session with the same agent id, which a client has restored before and abandoned."""
        if session.id in self._sessions:
            raise Conflict(f"there is a session {session.id} already")
        for other in self.sessions:
            if (other.agent_id, other.acp_id) == (session.agent_id, session.acp_id):
                if other.turn is not None:
                    raise SessionBusy()
                del self._sessions[other.id]

    async def set_mode(self, session: Session, mode: str) -> dict[str, Any]:
        """ACP's `session/set_mode`. The session keeps it when another process takes it up."""
        answer = await self._call(session, "session/set_mode", {"modeId": mode})
        self._works_in(session, mode)
        return answer

    async def set_option(self, session: Session, option_id: str, value: str | bool) -> dict[str, Any]:
        """ACP's `session/set_config_option`. The session keeps it when another process takes it up."""
        params = {"configId": option_id, "value": value}
        if isinstance(value, bool):
            params["type"] = "boolean"
        answer = await self._call(session, "session/set_config_option", params)
        if option_id not in modes.mode_options(answer):
            session.options[option_id] = value
        self._works_in(session, modes.mode_in(answer))
        return answer

    def _works_in(self, session: Session, mode: str | None) -> None:
        if session.link is not None:
            self._client.works_in(session, session.link, mode)

    async def _call(self, session: Session, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Call an ACP method on a session; NotImplementedYet if the agent does not have it."""
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
