"""An agent's stdout: bounded lines, and the JSON-RPC messages in them."""

import asyncio
import json
import re
from itertools import islice
from typing import Any, Final

import attrs
import msgspec

from gateway.wire.codec import dump_foreign_json, parse_foreign_json

_CHUNK = 256 * 1024
#: Messages are looked for in a line that is not one: so many times, and once in a longer line.
_MOST_LOOKS: Final = 20
_MOST_BYTES: Final = 4_194_304
#: Where a message may begin.
_BEGINNING: Final = re.compile(r'\{\s*"(?:jsonrpc|id|method|params|result|error)"\s*:')
#: A member of ACP's `_meta`: what the host has mended in a message.
REPAIRED: Final = "acp-gateway/repaired"


class LineTooLong(Exception):
    """The agent sent a line that is too long."""


class Message(msgspec.Struct):
    """A request has an id and a method, a notification only a method, an answer only an id."""

    jsonrpc: Any = None
    method: str | None = None
    id: Any = msgspec.UNSET
    params: msgspec.Raw = msgspec.Raw(b"null")
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: Any = None


_decoder = msgspec.json.Decoder(Message)


class Lines:
    """Lines of a stream, each at most `limit` bytes long, without their newline.

    What is written as an object over many lines, as people read it, is one of them.
    """

    def __init__(self, stream: asyncio.StreamReader, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._complete: list[bytes] = []
        self._begun = bytearray()
        #: The line behind one that was read to its end.
        self._after: list[bytes] = []

    async def next(self) -> bytes | None:
        """The next line; None at the end. The last one may lack its newline. May raise LineTooLong."""
        if self._after:
            return self._after.pop()
        line = await self._next()
        return await self._object(line) if line is not None and line.rstrip() == b"{" else line

    async def _object(self, begun: bytes) -> bytes:
        """An object whose first line is a bracket, up to the one that ends it; or what came in its place."""
        lines, size, ends = [begun], 0, 0
        while (line := await self._next()) is not None:
            size += len(line)
            if size > self._limit:
                raise LineTooLong(f"an object of more than {self._limit} bytes")
            if _BEGINNING.search(line.decode("utf-8", "replace")):
                # It was none: here a message begins.
                self._after.append(line)
                break
            lines.append(line)
            if line.rstrip() == b"}":
                # Where nothing is indented, it may be the end of an object inside.
                ends += 1
                if ends == _MOST_LOOKS or _is_json(b"\n".join(lines)):
                    break
        return b"\n".join(lines)

    async def _next(self) -> bytes | None:
        while not self._complete:
            chunk = await self._stream.read(_CHUNK)
            if not chunk:
                last, self._begun = bytes(self._begun), bytearray()
                return last or None
            head, *rest = chunk.split(b"\n")
            self._begun += head
            if len(self._begun) > self._limit:
                raise LineTooLong(f"a line of more than {self._limit} bytes")
            if rest:
                self._complete = [bytes(self._begun), *rest[:-1]]
                self._complete.reverse()
                self._begun = bytearray(rest[-1])
        return self._complete.pop()


def _is_json(text: bytes) -> bool:
    try:
        parse_foreign_json(text)
    except (ValueError, RecursionError):
        return False
    return True


def parse_message(line: bytes) -> Message:
    """ValueError where the line is none."""
    try:
        # JSON must be UTF-8.
        line.decode("utf-8")
        return _decoder.decode(line)
    except (msgspec.DecodeError, RecursionError):
        # Agents in JavaScript cut emoji in two; `\ud83d` alone is JSON all the same, only not to msgspec.
        return _message_of(parse_foreign_json(line))


@attrs.frozen
class Recovered:
    """What a line holds that is not one message as it should be."""

    messages: list[Message]
    #: What stands before, between and behind them: banners and warnings, or a message that is broken.
    rest: bytes


def recover(line: bytes) -> Recovered:
    """The messages in a line that is not one.

    They stand behind a progress bar without a newline, or one behind the other; they have bytes in them that are no
    UTF-8, or control characters in their texts.
    """
    text = line.decode("utf-8", "replace")
    looks = _MOST_LOOKS if len(line) <= _MOST_BYTES else 1
    messages, rest, place = list[Message](), list[str](), 0
    for found in islice(_BEGINNING.finditer(text), looks):
        if found.start() < place:
            continue
        try:
            value, end = _lenient.raw_decode(text, found.start())
            message = _message_of(_marked(value) if _is_mended(text[found.start() : end], line) else value)
        except (ValueError, RecursionError):
            continue
        rest.append(text[place : found.start()])
        messages.append(message)
        place = end
    rest.append(text[place:])
    return Recovered(messages, " ".join(filter(None, map(str.strip, rest))).encode("utf-8", "replace"))


_lenient = json.JSONDecoder(strict=False)


def _is_mended(text: str, line: bytes) -> bool:
    """Whether a part of a line was not UTF-8."""
    return "\ufffd" in text and text.encode() not in line


def _marked(value: Any) -> Any:
    """A message with a note in ACP's `_meta` that it is not as the agent sent it."""
    name = next(
        (one for one in ("params", "result") if isinstance(value, dict) and isinstance(value.get(one), dict)), None
    )
    if name is None:
        return value
    meta = value[name].get("_meta")
    noted = {**(meta if isinstance(meta, dict) else {}), REPAIRED: "it was not UTF-8"}
    return {**value, name: {**value[name], "_meta": noted}}


def _message_of(value: Any) -> Message:
    if not isinstance(value, dict) or not value.keys() & {"method", "result", "error"}:
        raise ValueError("not a message")
    if not isinstance(value.get("method"), str | None):
        raise ValueError("the method is not a string")
    message = Message(jsonrpc=value.get("jsonrpc"), method=value.get("method"), error=value.get("error"))
    message.id = value.get("id", msgspec.UNSET)
    message.params = msgspec.Raw(dump_foreign_json(value.get("params")))
    if "result" in value:
        message.result = msgspec.Raw(dump_foreign_json(value["result"]))
    return message
