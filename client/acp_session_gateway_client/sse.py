"""The event-stream format, read (WHATWG HTML, 9.2.5 and 9.2.6). No I/O.

The gateway reads its containers' streams with another parser, which bounds what a stranger may send and is made for
speed. This one trusts its gateway and is short. Tests hold the two against each other.
"""

from dataclasses import dataclass
from typing import Final

_BOM: Final = b"\xef\xbb\xbf"
#: A longer number is no reconnection time: nobody waits 10**18 ms.
_MAX_RETRY_DIGITS: Final = 18


@dataclass(frozen=True, kw_only=True)
class Block:
    """One dispatched event."""

    event: str = "message"
    data: str
    #: The last event id in force, this block's or an earlier one's; None until the stream has named one.
    id: str | None = None
    #: Reconnection time that this block set, in milliseconds.
    retry: int | None = None


class TooLarge(Exception):
    """A block has more bytes than the parser takes."""


class Parser:
    """Turns an event stream into blocks, however its bytes are cut; holds one block at most."""

    def __init__(self, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._is_first_line = True
        self._after_cr = False
        self._id: str | None = None
        self._retry: int | None = None
        self._begin_block()

    def feed(self, data: bytes) -> list[Block]:
        """The blocks that ``data`` completes, in order; ``TooLarge``, after which the parser is of no use."""
        if not data:
            return []
        # A CR ends its line at once; the LF that may follow in a later read belongs to it.
        if self._after_cr:
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        *ends, rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        blocks = []
        for end in ends:
            line = bytes(self._line + end)
            self._line.clear()
            if (block := self._take(line)) is not None:
                blocks.append(block)
        self._line += rest
        self._check(len(self._line))
        return blocks

    def _take(self, line: bytes) -> Block | None:
        """The block that this line ends."""
        if self._is_first_line:
            line = line.removeprefix(_BOM)
            self._is_first_line = False
        if not line:
            return self._end_block()
        self._check(len(line))
        self._size += len(line)
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._event = value
        elif field == b"id" and b"\0" not in value:
            self._id = _text(value)
        elif field == b"retry" and value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
            self._retry = int(value)
        return None

    def _check(self, more: int) -> None:
        if self._size + more > self._max_bytes:
            raise TooLarge

    def _end_block(self) -> Block | None:
        block = None
        if self._data:
            data = _text(b"\n".join(self._data))
            block = Block(event=_text(self._event) or "message", data=data, id=self._id, retry=self._retry)
        self._begin_block()
        return block

    def _begin_block(self) -> None:
        self._size = 0
        self._data: list[bytes] = []
        self._event = b""
        self._retry = None


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
