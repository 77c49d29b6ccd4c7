"""What an agent writes to its stdout: lines of a bounded length, and the JSON-RPC messages in them."""

import asyncio
from typing import Any

import msgspec

from gateway.wire.codec import dump_foreign_json, parse_foreign_json

_CHUNK = 256 * 1024


class LineTooLong(Exception):
    """The agent sent a line longer than the host takes."""


class Message(msgspec.Struct):
    """A request has an id and a method, a notification a method alone, an answer an id alone."""

    method: str | None = None
    id: Any = msgspec.UNSET
    params: msgspec.Raw = msgspec.Raw(b"null")
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: Any = None


_decoder = msgspec.json.Decoder(Message)


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


def parse_message(line: bytes) -> Message:
    """ValueError where the line holds none."""
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
        message = Message(method=value.get("method"), error=value.get("error"))
        message.id = value.get("id", msgspec.UNSET)
        message.params = msgspec.Raw(dump_foreign_json(value.get("params")))
        if "result" in value:
            message.result = msgspec.Raw(dump_foreign_json(value["result"]))
        return message
