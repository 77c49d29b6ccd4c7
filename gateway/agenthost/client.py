"""The client side of ACP: handles agents' notifications and requests, inside the workspace."""

import asyncio
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import attrs
import msgspec

from gateway.agenthost.journal import Journal
from gateway.agenthost.link import AgentLink
from gateway.agenthost.modes import MODE_UPDATES, decider, mode_in
from gateway.agenthost.permissions import Permission, Permissions
from gateway.agenthost.rpc import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    RESOURCE_NOT_FOUND,
    RequestError,
)
from gateway.agenthost.sessions import Session
from gateway.agenthost.shown import SIGN, ShownTerminals
from gateway.agenthost.workspace import Workspace
from gateway.errors import BadRequest, GatewayError, NotFound
from gateway.wire.codec import parse_foreign_json
from gateway.wire.events import EventData, FileRead

logger = logging.getLogger(__name__)

#: Updates that agents replay during `session/load`.
_HISTORY = frozenset(
    {"user_message_chunk", "agent_message_chunk", "agent_thought_chunk", "tool_call", "tool_call_update", "plan"}
)
#: Updates held for sessions whose id the agent has not returned yet.
_HELD_AT_MOST = 1000
#: Bytes that are told of a message that cannot be read, and the session that it is about.
_SHOWN = 500
_SESSION = re.compile(rb'"sessionId"\s*:\s*"([^"\\]{1,200})"')


class _Kind(msgspec.Struct):
    session_update: Any = msgspec.field(name="sessionUpdate", default=None)


class _Update(msgspec.Struct):
    session_id: str = msgspec.field(name="sessionId")
    update: _Kind


@attrs.define(eq=False)
class _Routes:
    """The sessions of one process by the agent's ids."""

    sessions: dict[str, Session] = attrs.field(factory=dict)
    #: `session/new` calls in progress. Agents may send updates of a session before they return its id.
    opening: int = 0
    #: What is held by the agent's session id: parameters of updates, and permission requests.
    held: list[tuple[str, "bytes | _Held"]] = attrs.field(factory=list)
    shown: ShownTerminals = attrs.field(factory=ShownTerminals)


@attrs.define(eq=False)
class _Held:
    """A permission request of a session whose id the agent has not returned yet."""

    params: dict[str, Any]
    #: The request, or its parameters if they are of no session.
    asked: "asyncio.Future[Any]" = attrs.field(factory=lambda: asyncio.get_running_loop().create_future())


class Client:
    """Answers every agent of this host."""

    def __init__(self, journal: Journal, permissions: Permissions, workspace: Workspace) -> None:
        self._journal = journal
        self._permissions = permissions
        self._workspace = workspace
        # Weak, because sessions may look here long after the process has ended.
        self._routes: WeakKeyDictionary[AgentLink, _Routes] = WeakKeyDictionary()
        #: Called with the link, a sentence about its end, and whether we stopped it.
        self.on_end: Callable[[AgentLink, str, bool], None] = lambda *_: None
        self._methods: dict[str, Callable[[AgentLink, dict[str, Any]], Any]] = {
            "session/request_permission": self._permission,
            "fs/read_text_file": self._read,
            "fs/write_text_file": self._write,
            "terminal/create": self._create_terminal,
            "terminal/output": self._terminal_output,
            "terminal/wait_for_exit": self._wait_for_exit,
            "terminal/kill": self._kill_terminal,
            "terminal/release": self._release_terminal,
        }

    @contextmanager
    def opening(self, link: AgentLink) -> Iterator[None]:
        """Around `session/new`: what the agent says and asks in unknown sessions may be in the new one, and is held."""
        routes = self._of(link)
        routes.opening += 1
        try:
            yield
        finally:
            routes.opening -= 1
            if not routes.opening:
                held, routes.held = routes.held, []
                for _, one in held:
                    self._release(link, None, one)

    def bind(self, link: AgentLink, acp_id: str, session: Session) -> None:
        """Map the agent's `acp_id` to this session."""
        self.unbind(session)
        routes = self._of(link)
        routes.sessions[acp_id] = session
        session.link, session.acp_id = link, acp_id
        mine = [held for held_id, held in routes.held if held_id == acp_id]
        routes.held = [held for held in routes.held if held[0] != acp_id]
        for held in mine:
            self._release(link, session, held)

    def _release(self, link: AgentLink, session: Session | None, held: bytes | _Held) -> None:
        if isinstance(held, bytes):
            self._update(link, session, _addressee(held)[1], held)
        elif not held.asked.done():
            held.asked.set_result(self._ask(link, session, held.params))

    def unbind(self, session: Session) -> None:
        if session.link is not None:
            self._of(session.link).sessions.pop(session.acp_id, None)

    def notified(self, link: AgentLink, method: str, params: bytes) -> None:
        """Append a notification to the journal."""
        if method != "session/update":
            data = b'{"method":%b,"params":%b}' % (json.dumps(method).encode(), link.masker.mask(params))
            self._journal.append("agent_notification", data, agent_id=link.spec.id)
            return
        acp_id, kind = _addressee(params)
        routes = self._of(link)
        session = routes.sessions.get(acp_id)
        if session is None and routes.opening and len(routes.held) < _HELD_AT_MOST:
            routes.held.append((acp_id, params))
        else:
            self._update(link, session, kind, params)

    def _update(self, link: AgentLink, session: Session | None, kind: str | None, params: bytes) -> None:
        if session is not None and session.muted and kind in _HISTORY:
            return
        self._emit(link, session, params)
        if session is not None and kind in MODE_UPDATES:
            self.works_in(session, link, mode_in(parse_foreign_json(params)["update"]))

    def works_in(self, session: Session, link: AgentLink, mode: str | None) -> None:
        """The session's agent works in this mode now, None where it does not say; a change is told."""
        before = session.mode, session.decider
        session.mode = session.mode if mode is None else mode
        session.decider = decider(link.spec, session.mode)
        if session.decider != before[1] or session.mode != before[0]:
            session.touch()
            if before[1] is not None:
                data = {"modeId": session.mode, "decides": session.decider}
                self._journal.append("session_mode", data, session_id=session.id, agent_id=session.agent_id)

    def requested(self, link: AgentLink, method: str, params: Any) -> Any:
        """Called in order with the notifications, so that a permission's event keeps its place among them."""
        if method != "session/request_permission" or not isinstance(params, dict):
            return params
        routes, acp_id = self._of(link), str(params.get("sessionId"))
        session = routes.sessions.get(acp_id)
        if session is None and routes.opening and len(routes.held) < _HELD_AT_MOST:
            held = _Held(params)
            routes.held.append((acp_id, held))
            return held
        return self._ask(link, session, params)

    def _ask(self, link: AgentLink, session: Session | None, params: dict[str, Any]) -> Any:
        """The request as an event; its parameters if nobody can be asked."""
        options = params.get("options")
        if session is None or not isinstance(options, list) or not all(map(_is_option, options)):
            return params
        refused = "turn_cancelled" if session.turn is not None and session.turn.cancelled else None
        return self._permissions.ask(session.id, session.agent_id, link.masker.mask_value(params), refused=refused)

    async def answer(self, link: AgentLink, method: str, params: Any) -> Any:
        """Answer an agent's request, or raise RequestError."""
        if (answer := self._methods.get(method)) is None:
            raise RequestError(METHOD_NOT_FOUND, "Method not found", {"method": method})
        if isinstance(params, _Held):
            # This task ends with the agent, and what is held is released when the session has its id, or has none.
            params = await params.asked
        if isinstance(params, Permission):
            return await self._await_outcome(params)
        try:
            if not isinstance(params, dict):
                raise BadRequest("the parameters must be an object")
            return await answer(link, params)
        except GatewayError as exc:
            raise _request_error(exc) from exc
        except OSError as exc:
            raise RequestError(INTERNAL_ERROR, f"{exc.strerror}: {exc.filename}") from exc

    def withdrawn(self, params: Any) -> bool:
        """A permission request that the agent takes back is cancelled."""
        if isinstance(params, _Held) and params.asked.done() and not params.asked.cancelled():
            params = params.asked.result()
        if not isinstance(params, Permission):
            return False
        self._permissions.withdraw(params)
        return True

    def unreadable(self, link: AgentLink, text: bytes) -> None:
        """Tell that something was said which is lost, with its beginning."""
        named = _SESSION.search(text)
        session = self._of(link).sessions.get(named[1].decode("utf-8", "replace")) if named else None
        # A secret that is cut in two is not found, so the place of the cut is not told.
        longest = max(map(len, link.masker.secrets), default=0)
        shown = link.redact(text[: _SHOWN + longest].decode("utf-8", "replace"))
        shown = shown[: max(0, len(shown) - longest)] if len(text) > _SHOWN + longest else shown
        logger.warning("a message of an agent cannot be read", extra={"agent": link.spec.id, "bytes": len(text)})
        self._journal.append(
            "agent_output_lost",
            {"bytes": len(text), "text": shown},
            session_id=None if session is None else session.id,
            agent_id=link.spec.id,
        )

    def ended(self, link: AgentLink, text: str, *, stopped: bool) -> None:
        routes = self._routes.pop(link, _Routes())
        routes.shown.close()
        for session in routes.sessions.values():
            self._permissions.cancel_session(session.id, "agent_stopped" if stopped else "agent_died")
        self.on_end(link, text, stopped)

    def _of(self, link: AgentLink) -> _Routes:
        return self._routes.setdefault(link, _Routes())

    def _emit(self, link: AgentLink, session: Session | None, params: bytes) -> None:
        if session is not None:
            session.touch()
            masked = session.running.update(params, link.masker)
        else:
            masked = link.masker.mask(params)
        self._journal.append(
            "session_update", masked, session_id=None if session is None else session.id, agent_id=link.spec.id
        )
        if session is not None and SIGN in params:
            said = parse_foreign_json(params)
            update = said.get("update") if isinstance(said, dict) else None
            self._of(link).shown.update(session.id, update, partial(self._tell, link, session), link.masker)

    async def _permission(self, link: AgentLink, params: dict[str, Any]) -> Any:
        # `requested` has handled every valid request.
        raise BadRequest("needs the sessionId of a known session, and options, each with optionId, name and kind")

    async def _await_outcome(self, permission: Permission) -> dict[str, Any]:
        # This task ends with the agent; `ended` settles the request.
        return {"outcome": await asyncio.shield(permission.outcome)}

    def _session(self, link: AgentLink, params: dict[str, Any]) -> Session | None:
        return self._of(link).sessions.get(str(params.get("sessionId")))

    def _tell(self, link: AgentLink, session: Session | None, event: EventData) -> None:
        """Append what was done for an agent."""
        session_id = None if session is None else session.id
        data = link.masker.mask(event.to_json())
        self._journal.append(event.type, data, session_id=session_id, agent_id=link.spec.id)

    async def _read(self, link: AgentLink, params: dict[str, Any]) -> dict[str, Any]:
        path, line, limit = _path(params, "path"), _whole(params, "line"), _whole(params, "limit")
        session = self._session(link, params)
        text = await asyncio.to_thread(self._workspace.read_text, path, line=line, limit=limit)
        self._tell(link, session, FileRead(path=path, size=len(text.encode()), line=line, limit=limit))
        return {"content": text}

    async def _write(self, link: AgentLink, params: dict[str, Any]) -> dict[str, Any]:
        session = self._session(link, params)
        path, content = _path(params, "path"), _text(params, "content")

        async def write() -> None:
            self._tell(link, session, await asyncio.to_thread(self._workspace.write_text, path, content))

        # A thread cannot be stopped: what is written is told, even if the agent takes the request back.
        await link.tasks.complete(write(), name="write a file")
        return {}

    async def _create_terminal(self, link: AgentLink, params: dict[str, Any]) -> dict[str, Any]:
        _text(params, "sessionId")
        session = self._session(link, params)
        cwd = session.cwd if session is not None else self._workspace.root
        if params.get("cwd") is not None:
            cwd = self._workspace.directory(_path(params, "cwd"))
        args = params.get("args") or []
        if not isinstance(args, list) or not all(isinstance(arg, str) for arg in args):
            raise BadRequest("args must be a list of strings")
        terminal_id = await link.terminals.create(
            _text(params, "command"),
            args,
            cwd=cwd,
            env={**link.terminal_env, **_variables(params)},
            output_limit=_whole(params, "outputByteLimit"),
            tell=partial(self._tell, link, session),
            masker=link.masker,
        )
        return {"terminalId": terminal_id}

    async def _terminal_output(self, link: AgentLink, params: dict[str, Any]) -> dict[str, Any]:
        return link.terminals.get(_text(params, "terminalId")).output()

    async def _wait_for_exit(self, link: AgentLink, params: dict[str, Any]) -> dict[str, Any]:
        return await link.terminals.get(_text(params, "terminalId")).wait()

    async def _kill_terminal(self, link: AgentLink, params: dict[str, Any]) -> dict[str, Any]:
        link.terminals.get(_text(params, "terminalId")).kill()
        return {}

    async def _release_terminal(self, link: AgentLink, params: dict[str, Any]) -> dict[str, Any]:
        await link.terminals.release(_text(params, "terminalId"))
        return {}


def _addressee(params: bytes) -> tuple[str, str | None]:
    """The agent's session id and the update's kind, as far as they are there."""
    try:
        notification = msgspec.json.decode(params, type=_Update)
        kind = notification.update.session_update
        return notification.session_id, kind if isinstance(kind, str) else None
    except (msgspec.DecodeError, RecursionError):
        # Invalid by the protocol, or with an unpaired surrogate; passed on all the same.
        value = parse_foreign_json(params)
    if not isinstance(value, dict):
        return "", None
    inner = value.get("update")
    kind = inner.get("sessionUpdate") if isinstance(inner, dict) else None
    return str(value.get("sessionId", "")), kind if isinstance(kind, str) else None


def _is_option(option: Any) -> bool:
    return isinstance(option, dict) and isinstance(option.get("optionId"), str)


def _text(params: dict[str, Any], name: str) -> str:
    if not isinstance(value := params.get(name), str):
        raise BadRequest(f"{name} must be a string")
    return value


def _path(params: dict[str, Any], name: str) -> str:
    path = _text(params, name)
    if not path.startswith("/"):
        raise BadRequest(f"{name} must be an absolute path")
    return path


def _whole(params: dict[str, Any], name: str) -> int | None:
    value = params.get(name)
    if value is not None and (type(value) is not int or value < 0):
        raise BadRequest(f"{name} must be a whole number from 0")
    return value


def _variables(params: dict[str, Any]) -> dict[str, str]:
    given = params.get("env") or []
    if not isinstance(given, list):
        raise BadRequest("env must be a list")
    return {_text(one, "name"): _text(one, "value") for one in given if isinstance(one, dict)}


def _request_error(exc: GatewayError) -> RequestError:
    if isinstance(exc, NotFound):
        return RequestError(RESOURCE_NOT_FOUND, str(exc))
    if 400 <= exc.status < 500:
        return RequestError(INVALID_PARAMS, str(exc))
    return RequestError(INTERNAL_ERROR, str(exc))
