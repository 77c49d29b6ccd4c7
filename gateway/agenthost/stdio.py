"""JSON-RPC over an agent's stdin and stdout, as raw as the host needs it.

A `Transport` for `acp.connection.Connection`. The package's own one reads lines without a bound, and gives every
notification to a task of its own, which loses their order. This one hands notifications over in the order of the wire
before it returns the next answer, so that when a prompt's answer arrives, all that came before it is in the journal.
"""

import asyncio
import json
import logging
from typing import Any, Protocol

import msgspec

from gateway.wire.codec import dump_foreign_json, parse_foreign_json

logger = logging.getLogger(__name__)

_CHUNK = 256 * 1024


class LineTooLong(Exception):
    """The agent sent a line longer than the host takes."""


class Incoming(Protocol):
    """Who is told what the agent sends."""

    def notified(self, method: str, params: bytes) -> None:
        """A notification; `params` is its JSON as it came."""

    def requested(self, method: str, params: Any) -> Any:
        """A request, in its place among the notifications; what is returned is what the request's handler gets."""

    def babbled(self, line: bytes) -> None:
        """A line that is not JSON-RPC: banners and warnings that belong on stderr."""

    def ended(self, problem: str | None) -> None:
        """Nothing more will come. `problem` tells why, where it is not the end of the output."""


class _Message(msgspec.Struct):
    method: str | None = None
    id: Any = msgspec.UNSET
    params: msgspec.Raw = msgspec.Raw(b"null")
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: Any = None


_decoder = msgspec.json.Decoder(_Message)


class Lines:
    """Lines of a stream, each at most `limit` bytes long, without their newline."""

    def __init__(self, stream: asyncio.StreamReader, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._complete: list[bytes] = []
        self._begun = bytearray()

    async def next(self) -> bytes | None:
        """The next line; None at the end, where a line without its newline is not one. May raise LineTooLong."""
        while not self._complete:
            chunk = await self._stream.read(_CHUNK)
            if not chunk:
                return None
            head, *rest = chunk.split(b"\n")
            self._begun += head
            if len(self._begun) > self._limit:
                raise LineTooLong(f"a line of more than {self._limit} bytes")
            if rest:
                self._complete = [bytes(self._begun), *rest[:-1]]
                self._complete.reverse()
                self._begun = bytearray(rest[-1])
        return self._complete.pop()


class StdioTransport:
    """What `acp.connection.Connection` sends and receives through."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, incoming: Incoming, *, line_limit: int
    ) -> None:
        self._lines = Lines(reader, line_limit)
        self._writer = writer
        self._incoming = incoming
        self._draining = asyncio.Lock()

    async def send(self, message: dict[str, Any]) -> None:
        """Write one message; waits while the agent does not read."""
        self._writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        try:
            async with self._draining:
                await self._writer.drain()
        except ConnectionError:
            # An answer that the agent has not lived to read is nobody's failure; a request is its sender's.
            if "method" in message:
                raise

    async def receive(self) -> dict[str, Any] | None:
        """The next request or answer; None at the end."""
        problem = None
        try:
            while (line := await self._lines.next()) is not None:
                if line.strip() and (message := self._accept(line)) is not None:
                    return message
        except LineTooLong as exc:
            problem = f"it sent {exc}"
        except OSError as exc:
            problem = f"its output could not be read: {exc}"
        except BaseException:
            # The loop that called this ends with it, and nobody else would tell.
            self._incoming.ended("its output could not be understood")
            raise
        self._incoming.ended(problem)
        return None

    async def close(self) -> None:
        self._writer.close()

    def _accept(self, line: bytes) -> dict[str, Any] | None:
        try:
            message = _parse(line)
            if message.id is msgspec.UNSET:
                if message.method is not None:
                    self._incoming.notified(message.method, bytes(message.params))
                return None
            if message.method is not None:
                asked = self._incoming.requested(message.method, parse_foreign_json(bytes(message.params)))
                return {"jsonrpc": "2.0", "id": message.id, "method": message.method, "params": asked}
            return _answer(message)
        except ValueError:
            self._incoming.babbled(line)
            return None


def _parse(line: bytes) -> _Message:
    try:
        # SSE frames and our JSON are UTF-8; so is NDJSON.
        line.decode("utf-8")
        return _decoder.decode(line)
    except (msgspec.DecodeError, RecursionError):
        # Agents in JavaScript cut emoji in two; `\ud83d` alone is JSON all the same, only not to msgspec.
        value = parse_foreign_json(line)
        if not isinstance(value, dict):
            raise ValueError("not an object") from None
        if not isinstance(value.get("method"), str | None):
            raise ValueError("the method is not a string") from None
        message = _Message(method=value.get("method"), error=value.get("error"))
        message.id = value.get("id", msgspec.UNSET)
        message.params = msgspec.Raw(dump_foreign_json(value.get("params")))
        if "result" in value:
            message.result = msgspec.Raw(dump_foreign_json(value["result"]))
        return message


def _answer(message: _Message) -> dict[str, Any]:
    """An answer that the package can take: it looks the id up in a dict and calls `get` on the error."""
    if not isinstance(message.id, int):
        raise ValueError("no request of ours has this id")
    if message.result is not msgspec.UNSET:
        return {"jsonrpc": "2.0", "id": message.id, "result": parse_foreign_json(bytes(message.result))}
    error = message.error
    if not isinstance(error, dict):
        error = {"message": str(error)}
    code = error.get("code")
    text = error.get("message")
    return {
        "jsonrpc": "2.0",
        "id": message.id,
        "error": {
            "code": code if isinstance(code, int) else -32603,
            "message": text if isinstance(text, str) else "the agent answered with an error",
            "data": error.get("data"),
        },
    }
