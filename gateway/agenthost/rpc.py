"""JSON-RPC with one agent.

Notifications are handed over in the order of the wire, before the next answer is: when a prompt's answer arrives, all
that came before it is in the journal.
"""

import asyncio
import contextlib
import json
import logging
from itertools import count
from typing import Any, Protocol

import msgspec

from gateway.agenthost.stdio import Lines, LineTooLong, Message, parse_message
from gateway.tasks import Tasks
from gateway.wire.codec import parse_foreign_json

logger = logging.getLogger(__name__)

METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
#: ACP's own.
RESOURCE_NOT_FOUND = -32002


class RequestError(Exception):
    """A request was answered with an error, or is to be."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class Peer(Protocol):
    """Who is told what the agent sends."""

    def notified(self, method: str, params: bytes) -> None:
        """A notification; `params` is its JSON as it came."""

    def requested(self, method: str, params: Any) -> Any:
        """A request, in its place among the notifications; what is returned is what `answer` gets."""

    async def answer(self, method: str, params: Any) -> Any:
        """The result of a request; RequestError where there is none."""

    def invalid_line(self, line: bytes) -> None:
        """A line that is not JSON-RPC: banners and warnings that belong on stderr."""

    def ended(self, problem: str | None) -> None:
        """Nothing more will come. `problem` tells why, where it is not the end of the output."""


class Connection:
    """Requests in both directions. Whoever made it must await `close()`."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer, *, line_limit: int
    ) -> None:
        self._lines = Lines(reader, line_limit)
        self._writer = writer
        self._peer = peer
        self._ids = count()
        #: Each gets the result, or the exception to raise: one set as the future's own is logged if nobody awaits it.
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._ended = False
        self._tasks = Tasks()
        self._tasks.start(self._receive(), name="read an agent's output")

    async def request(self, method: str, params: dict[str, Any]) -> Any:
        """The agent's result. Raises RequestError for its error, and ConnectionError where it ends before."""
        number = next(self._ids)
        self._pending[number] = answered = asyncio.get_running_loop().create_future()
        try:
            await self._send({"id": number, "method": method, "params": params})
            outcome = await answered
        finally:
            del self._pending[number]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        await self._send({"method": method, "params": params})

    async def close(self) -> None:
        """Fail the requests under way, stop answering the agent's, and close its stdin."""
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
            message = parse_message(line)
            if message.method is None:
                self._settle(message)
            elif message.id is msgspec.UNSET:
                self._peer.notified(message.method, bytes(message.params))
            else:
                params = self._peer.requested(message.method, parse_foreign_json(bytes(message.params)))
                self._tasks.start(self._answer(message.id, message.method, params), name="answer an agent")
        except ValueError:
            self._peer.invalid_line(line)

    def _settle(self, message: Message) -> None:
        """Give an answer to who waits for it."""
        if message.id is msgspec.UNSET:
            return
        if type(message.id) is not int:
            raise ValueError("no request of ours has this id")
        answered = self._pending.get(message.id)
        if answered is None or answered.done():
            return
        if message.result is not msgspec.UNSET:
            answered.set_result(parse_foreign_json(bytes(message.result)))
        else:
            answered.set_result(_error_of(message.error))

    async def _answer(self, request_id: Any, method: str, params: Any) -> None:
        try:
            outcome = {"result": await self._peer.answer(method, params)}
        except RequestError as exc:
            outcome = {"error": {"code": exc.code, "message": str(exc), "data": exc.data}}
        except Exception:
            logger.exception("a request of an agent failed", extra={"method": method})
            outcome = {"error": {"code": INTERNAL_ERROR, "message": "Internal error"}}
        # An answer that the agent has not lived to read is nobody's failure.
        with contextlib.suppress(ConnectionError):
            await self._send({"id": request_id, **outcome})


def _error_of(error: Any) -> RequestError:
    """What the agent answered in place of a result, of whatever form."""
    if not isinstance(error, dict):
        error = {"message": str(error)}
    code, message = error.get("code"), error.get("message")
    return RequestError(
        code if isinstance(code, int) else INTERNAL_ERROR,
        message if isinstance(message, str) else "the agent answered with an error",
        error.get("data"),
    )
