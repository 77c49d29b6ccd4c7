"""JSON-RPC with one agent.

Messages are handled in the order of arrival: when a prompt is answered, all earlier notifications are in the journal.
"""

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Callable
from itertools import count
from typing import Any, Protocol

import msgspec

from gateway.agenthost.stdio import Lines, LineTooLong, Message, Recovered, parse_message, recover
from gateway.tasks import Tasks
from gateway.wire.codec import parse_foreign_json

logger = logging.getLogger(__name__)

PARSE_ERROR = -32700
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
#: ACP's own.
RESOURCE_NOT_FOUND = -32002
REQUEST_CANCELLED = -32800
#: Either side takes a request of its own back with it.
CANCEL_REQUEST = "$/cancel_request"
#: Need no answer, though some agents give them an id, or null.
_NOTIFICATIONS = ("session/update", CANCEL_REQUEST)

#: An answer that cannot be read tells whom it was for, as a rule.
_ANSWERED = re.compile(rb'"id"\s*:\s*"?(\d{1,18})"?\s*[,}]')
#: And a request what its answer is to be called: before the parameters, or at the end.
_ASKED = re.compile(rb'"id"\s*:\s*(\d{1,18}|"[^"\\]{1,200}")\s*,')
_ASKED_AT_END = re.compile(rb',\s*"id"\s*:\s*(\d{1,18}|"[^"\\]{1,200}")\s*\}\s*$')


class RequestError(Exception):
    """A request was answered with an error, or is to be."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class Peer(Protocol):
    """Handles what the agent sends."""

    def notified(self, method: str, params: bytes) -> None:
        """A notification; `params` is raw JSON."""

    def requested(self, method: str, params: Any) -> Any:
        """A request, in order with the notifications; the result is passed to `answer` as its `params`."""

    async def answer(self, method: str, params: Any) -> Any:
        """The result of a request, or RequestError."""

    def withdrawn(self, params: Any) -> bool:
        """The agent takes a request back; `params` is what `requested` gave. Whether that has its answer now."""

    def unreadable(self, text: bytes) -> None:
        """Something that is not JSON-RPC: banners and warnings that belong on stderr, or a broken message."""

    def ended(self, problem: str | None) -> None:
        """No more messages. `problem`: why, unless the output just ended."""


class Connection:
    """Requests in both directions. Its creator must await `close()`."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer, *, line_limit: int
    ) -> None:
        self._lines = Lines(reader, line_limit)
        self._writer = writer
        self._peer = peer
        self._ids = count()
        #: Resolved to the result or an exception to raise. (`set_exception` would log it if nobody awaits.)
        self._pending: dict[int, asyncio.Future[Any]] = {}
        #: How many requests were sent.
        self._sent = 0
        #: Called with a result before the next message is taken.
        self._on_result: dict[int, Callable[[Any], None]] = {}
        #: What the agent asked and has no answer to, by the id that it gave it, as JSON.
        self._asked: dict[str, tuple[Any, asyncio.Task[None]]] = {}
        self._ended = False
        self._tasks = Tasks()
        self._tasks.start(self._receive(), name="read an agent's output")

    async def request(
        self, method: str, params: dict[str, Any], *, on_result: Callable[[Any], None] | None = None
    ) -> Any:
        """The agent's result. Raises RequestError for its error, and ConnectionError if it ends first.

        `on_result` gets the result before anything that the agent says after it is taken.
        """
        number = next(self._ids)
        self._sent = number + 1
        self._pending[number] = answered = asyncio.get_running_loop().create_future()
        if on_result is not None:
            self._on_result[number] = on_result
        try:
            await self._send({"id": number, "method": method, "params": params})
            outcome = await answered
        finally:
            del self._pending[number]
            self._on_result.pop(number, None)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        await self._send({"method": method, "params": params})

    async def close(self) -> None:
        """Fail open requests, stop answering the agent's, and close its stdin."""
        self._end()
        self._writer.close()
        await self._tasks.close()

    def _end(self) -> None:
        self._ended = True
        for answered in self._pending.values():
            if not answered.done():
                answered.set_result(ConnectionError("the agent has ended"))

    async def _send(self, message: dict[str, Any]) -> None:
        """Write one message; waits while the agent does not read."""
        if self._ended:
            raise ConnectionError("the agent has ended")
        self._writer.write(json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode() + b"\n")
        await self._writer.drain()

    async def _receive(self) -> None:
        problem = None
        try:
            while (line := await self._lines.next()) is not None:
                if line.strip():
                    self._accept(line)
        except LineTooLong as exc:
            problem = f"it sent {exc}"
        except OSError as exc:
            problem = f"its output could not be read: {exc}"
        except Exception:
            logger.exception("an agent's output could not be understood")
            problem = "its output could not be understood"
        self._peer.ended(problem)
        self._end()

    def _accept(self, line: bytes) -> None:
        try:
            found = Recovered([parse_message(line)], b"")
        except ValueError:
            found = recover(line)
        for message in found.messages:
            try:
                self._take(message)
            except ValueError:
                self._peer.unreadable(line)
        if found.rest:
            self._peer.unreadable(found.rest)
            self._fail_answered(found.rest)
            self._fail_asked(found.rest)

    def _take(self, message: Message) -> None:
        if message.method is None:
            self._settle(message)
        elif message.id is not msgspec.UNSET and message.method not in _NOTIFICATIONS:
            params = self._peer.requested(message.method, parse_foreign_json(bytes(message.params)))
            answering = self._answer(message.id, message.method, params)
            self._asked[json.dumps(message.id)] = (params, self._tasks.start(answering, name="answer an agent"))
        else:
            if message.method == CANCEL_REQUEST:
                self._withdraw(parse_foreign_json(bytes(message.params)))
            else:
                self._peer.notified(message.method, bytes(message.params))
            if message.id not in (msgspec.UNSET, None):
                self._tasks.start(self._reply(message.id, {"result": {}}), name="answer an agent")

    def _withdraw(self, params: Any) -> None:
        request_id = params.get("id", params.get("requestId")) if isinstance(params, dict) else None
        asked = self._asked.get(key := json.dumps(request_id))
        if asked is not None and not self._peer.withdrawn(asked[0]):
            del self._asked[key]
            asked[1].cancel()
            error = {"code": REQUEST_CANCELLED, "message": "Request cancelled"}
            self._tasks.start(self._reply(request_id, {"error": error}), name="answer an agent")

    async def _reply(self, request_id: Any, outcome: dict[str, Any]) -> None:
        # The agent may have ended meanwhile.
        with contextlib.suppress(ConnectionError):
            await self._send({"id": request_id, **outcome})

    def _settle(self, message: Message) -> None:
        if message.id is msgspec.UNSET and message.jsonrpc is None:
            raise ValueError("neither a request nor an answer")
        number = self._waiting_for(None if message.id is msgspec.UNSET else message.id)
        answered = self._pending.get(number)
        if answered is None or answered.done():
            return
        # JSON-RPC 1.0 has both members, one of them null.
        if message.result is not msgspec.UNSET and message.error is None:
            result = parse_foreign_json(bytes(message.result))
            answered.set_result(result)
            if (on_result := self._on_result.get(number)) is not None:
                on_result(result)
        else:
            answered.set_result(_error_of(message.error))

    def _waiting_for(self, answer_id: Any) -> int:
        """The number of the request that an answer with this id is for.

        Some agents turn the number into a text, and JSON-RPC has them answer with null where they could not read the
        request: that is meant for the only one that waits, and so is an answer without an id. Who has given up waits
        no more.
        """
        if answer_id is None and len(self._pending) == 1:
            (number,) = self._pending
            return number
        if isinstance(answer_id, str) and answer_id.isascii() and answer_id.isdigit() and len(answer_id) < 19:
            answer_id = int(answer_id)
        if isinstance(answer_id, bool) or not isinstance(answer_id, int | float):
            raise ValueError("no request of ours has this id")
        if answer_id != answer_id // 1 or not 0 <= answer_id < self._sent:
            raise ValueError("no request of ours has this id")
        return int(answer_id)

    def _fail_answered(self, text: bytes) -> None:
        """Who waits for an answer that has come and cannot be read need not wait on."""
        if b'"method"' in text or b'"jsonrpc"' not in text:
            return
        for found in _ANSWERED.finditer(text):
            if (answered := self._pending.get(int(found[1]))) is not None and not answered.done():
                answered.set_result(RequestError(INTERNAL_ERROR, "the agent's answer could not be read"))

    def _fail_asked(self, text: bytes) -> None:
        """An agent whose request cannot be read need not wait for its answer."""
        if b'"method"' not in text or b'"jsonrpc"' not in text:
            return
        before, _, _ = text.partition(b'"params"')
        found = _ASKED.search(before) or _ASKED_AT_END.search(text)
        if found is not None and b'"session/update"' not in text:
            reply = self._reply(json.loads(found[1]), {"error": {"code": PARSE_ERROR, "message": "Parse error"}})
            self._tasks.start(reply, name="answer an agent")

    async def _answer(self, request_id: Any, method: str, params: Any) -> None:
        try:
            outcome = {"result": await self._peer.answer(method, params)}
        except RequestError as exc:
            outcome = {"error": {"code": exc.code, "message": str(exc), "data": exc.data}}
        except Exception:
            logger.exception("a request of an agent failed", extra={"method": method})
            outcome = {"error": {"code": INTERNAL_ERROR, "message": "Internal error"}}
        # Before it is sent, which may take long: what has its answer cannot be taken back. The agent may have used the
        # id again meanwhile.
        key = json.dumps(request_id)
        if key in self._asked and self._asked[key][1] is asyncio.current_task():
            del self._asked[key]
        await self._reply(request_id, outcome)


def _error_of(error: Any) -> RequestError:
    """The agent's error, which may have any form."""
    if not isinstance(error, dict):
        error = {"message": str(error)}
    code, message = error.get("code"), error.get("message")
    return RequestError(
        code if isinstance(code, int) else INTERNAL_ERROR,
        message if isinstance(message, str) else "the agent answered with an error",
        error.get("data"),
    )
