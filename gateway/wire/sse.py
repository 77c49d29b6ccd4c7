"""The event-stream format, read and written: bytes in, values out, and back. No I/O.

Source: WHATWG HTML, 9.2.5 "Parsing an event stream" and 9.2.6 "Interpreting an event stream".
"""

import re
from collections.abc import Collection
from functools import lru_cache

import attrs
import msgspec

from gateway.wire.census import Census
from gateway.wire.cutting import Cutter, cut

BOM = b"\xef\xbb\xbf"
DEFAULT_MAX_EVENT_BYTES = 4 * 1024 * 1024
#: JSON values in an event: each takes about a hundred bytes in Python, and time.
DEFAULT_MAX_EVENT_VALUES = 100_000

# int() refuses more than 4,300 digits, and nobody waits 10**18 ms: such a value is ignored.
_MAX_RETRY_DIGITS = 18

#: A value of so many bytes may turn out to be too large: from here on the beginnings in it are kept beside it.
_CUT_FROM = 65_536

#: A whole block as most servers write it, taken without reading line by line.
_COMMON_BLOCK = re.compile(rb"(?:id: ?([^\n\0]*)\n)?(?:event: ?([^\n]*)\n)?data: ?([^\n]*)\n\n")


#: Lines without effect between blocks: empty ones, and comments.
_NOTHING = re.compile(rb"(?:(?::[^\n]*+)?+\n)++")


class SSEEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One dispatched event. A Struct, because making a frozen attrs value took longer than parsing."""

    event: str = "message"
    data: str
    #: The current last event id, from this or an earlier block; None if there is none yet.
    id: str | None = None
    #: Reconnection time that this block sets, in milliseconds.
    retry: int | None = None


@attrs.frozen(kw_only=True)
class OversizedEvent:
    """An event that was skipped because it is too large to keep."""

    event: str = "message"
    #: As in ``SSEEvent``, for the reader's cursor.
    id: str | None = None
    #: Bytes of its lines, without line ends and comments.
    size: int


class SSEParser:
    """Turns an event stream into events, however its bytes are cut.

    Takes linear time, and holds at most one event of ``max_event_bytes`` (its lines without line ends and comments).
    Larger events, and JSON data with more than ``max_event_values`` values, are skipped and reported as
    ``OversizedEvent``; of the types in ``cuts`` they are cut (``wire.cutting``). A block without an empty line at its
    end is not an event.
    """

    def __init__(
        self,
        *,
        max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES,
        max_event_values: int = DEFAULT_MAX_EVENT_VALUES,
        cuts: Collection[str] = (),
    ) -> None:
        self.max_event_bytes = max_event_bytes
        self.max_event_values = max_event_values
        self._cuts = cuts
        self._cut_from = min(_CUT_FROM, max_event_bytes)
        #: The last event id of complete blocks, for ``Last-Event-ID``.
        self.last_event_id: str | None = None
        #: The stream's last reconnection time in milliseconds, with or without an event.
        self.retry: int | None = None

        self._at_start = True
        self._after_cr = False
        self._line = bytearray()
        self._line_bytes = 0
        self._id: str | None = None
        self._retry: int | None = None
        self._cutter: Cutter | None = None
        self._is_line_cut = False
        self._begin_block()

    def feed(self, data: bytes) -> list[SSEEvent | OversizedEvent]:
        """The events that ``data`` completes, in order."""
        if self._at_start:
            data = self._without_bom(data)
        # A CR ends its line at once; an LF in a later read belongs to it.
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if not data:
            return []
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        events: list[SSEEvent | OversizedEvent] = []
        place = 0
        while place < len(data):
            if not self._begun and not self._line_bytes:
                if data[place] in b":\n" and (found := _NOTHING.match(data, place)):
                    place = found.end()
                place = self._take_common_blocks(data, place, events)
            place = self._take_lines(data, place, events)
        return events

    def _take_common_blocks(self, data: bytes, place: int, events: list[SSEEvent | OversizedEvent]) -> int:
        """Take common blocks; returns where the next other block begins."""
        while found := _COMMON_BLOCK.match(data, place):
            end = found.end()
            if end - place > self.max_event_bytes:
                break
            id, event, value = found.groups()
            if id is not None:
                self.last_event_id = self._id = _text(id)
            if self._has_too_much(value):
                type = _text(event or b"message")
                events.append(self._too_large(type, end - place, cut(value) if type in self._cuts else None))
            else:
                events.append(SSEEvent(event=_text(event) if event else "message", data=_text(value), id=self._id))
            place = end
        return place

    def _take_lines(self, data: bytes, place: int, events: list[SSEEvent | OversizedEvent]) -> int:
        """Take lines to the end of their block, or of the data; returns where the next block begins."""
        while (end := data.find(b"\n", place)) >= 0:
            if self._line_bytes:
                self._extend_line(data[place:end])
                self._end_line(events)
            else:
                self._take_line(data[place:end], end - place, events)
            place = end + 1
            if not self._begun:
                return place
        self._extend_line(data[place:])
        return len(data)

    def _without_bom(self, data: bytes) -> bytes:
        self._line += data
        data = bytes(self._line)
        if len(data) < len(BOM) and BOM.startswith(data):
            return b""
        self._line.clear()
        self._at_start = False
        return data.removeprefix(BOM)

    def _extend_line(self, piece: bytes) -> None:
        self._line_bytes += len(piece)
        if self._is_line_cut:
            self._cut(piece)
        elif self._cut_from < self._line_bytes and self._line_bytes - len(piece) <= self._cut_from:
            line = bytes(self._line) + piece
            if line.startswith(b"data:") and self._may_be_cut:
                self._is_line_cut = True
                self._cut(line.removeprefix(b"data:"))
        if self._line_bytes <= self.max_event_bytes:
            self._line += piece
        elif not self._line:
            self._line += piece[:1]
        else:
            # Too long to keep: the first byte still tells a comment from a field.
            del self._line[1:]

    def _end_line(self, events: list[SSEEvent | OversizedEvent]) -> None:
        line, size, is_cut = bytes(self._line), self._line_bytes, self._is_line_cut
        self._line.clear()
        self._line_bytes, self._is_line_cut = 0, False
        self._take_line(line, size, events, is_cut=is_cut)

    def _take_line(
        self, line: bytes, size: int, events: list[SSEEvent | OversizedEvent], *, is_cut: bool = False
    ) -> None:
        """``line`` may be incomplete if its ``size`` exceeds the limit of an event; ``is_cut``: the cutter has it."""
        if not size:
            self._end_block(events)
            return
        self._begun = True
        if line.startswith(b":"):
            return
        self._size += size
        if self._size > self.max_event_bytes:
            if self._data and not is_cut:
                self._cut()
            self._data.clear()
        if size <= self.max_event_bytes or (size == len(line) and line.startswith(b"data:")):
            self._take_field(line, is_cut=is_cut)

    def _take_field(self, line: bytes, *, is_cut: bool) -> None:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            if not is_cut and (self._cutter is not None or self._size > self.max_event_bytes):
                self._cut(b"\n" + value)
            if self._size <= self.max_event_bytes:
                self._data.append(value)
        elif field == b"event":
            self._event = value
        elif field == b"id":
            if b"\0" not in value:
                self._id = _text(value)
        elif field == b"retry" and value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
            self.retry = self._retry = int(value)

    def _end_block(self, events: list[SSEEvent | OversizedEvent]) -> None:
        self.last_event_id = self._id
        event = _text(self._event) or "message"
        # UTF-8 has no CR or LF inside a character, so lines can be decoded together.
        data = b"\n".join(self._data)
        if self._size > self.max_event_bytes or self._has_too_much(data):
            events.append(self._too_large(event, self._size, self._beginnings(event, data)))
        elif self._data:
            events.append(SSEEvent(event=event, data=_text(data), id=self._id, retry=self._retry))
        self._begin_block()

    @property
    def _may_be_cut(self) -> bool:
        """Whether the block's type is one that is cut, as far as it is known."""
        return bool(self._cuts) and (not self._event or _text(self._event) in self._cuts)

    def _cut(self, piece: bytes = b"") -> None:
        """Keep the beginnings of the block's data; ``piece`` is the next of it."""
        if self._cutter is None:
            if not self._may_be_cut:
                return
            self._cutter = Cutter()
            self._cutter.feed(b"\n".join(self._data))
        self._cutter.feed(piece)

    def _beginnings(self, event: str, data: bytes) -> bytes | None:
        if event not in self._cuts:
            return None
        return cut(data) if self._cutter is None else self._cutter.finish()

    def _too_large(self, event: str, size: int, beginnings: bytes | None) -> SSEEvent | OversizedEvent:
        if beginnings is None:
            return OversizedEvent(event=event, id=self._id, size=size)
        return SSEEvent(event=event, data=_text(beginnings), id=self._id)

    def _has_too_much(self, data: bytes) -> bool:
        return len(data) > self.max_event_values and Census(data).has_more_than(self.max_event_values)

    def _begin_block(self) -> None:
        self._begun = False
        self._size = 0
        self._data: list[bytes] = []
        self._event = b""
        self._retry = None
        self._cutter = None
        self._is_line_cut = False


def encode_event(*, event: str | None, data: bytes | str, id: str | None = None, retry: int | None = None) -> bytes:
    """An event as its block.

    ``data`` as bytes must be UTF-8; any line end arrives as LF. ValueError if ``event`` or ``id`` has a line end or
    NUL, which the format cannot express, or if ``retry`` (milliseconds) is negative.
    """
    raw = data.encode() if isinstance(data, str) else data
    if b"\r" in raw:
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\n" in raw:
        raw = raw.replace(b"\n", b"\ndata: ")
    head = b"" if id is None else _field("id", id)
    if event is not None:
        head += _event_field(event)
    if retry is not None:
        head += _retry_field(retry)
    return b"%bdata: %b\n\n" % (head, raw)


def encode_comment(text: str, *, id: str | None = None, retry: int | None = None) -> bytes:
    """A comment: clients do not see it, but bytes are sent. Line ends begin further comment lines.

    ``id`` and ``retry`` take effect without an event. ValueError as in ``encode_event``.
    """
    raw = text.encode().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    head = (b"" if id is None else _field("id", id)) + (b"" if retry is None else _retry_field(retry))
    return b"%b: %b\n\n" % (head, raw.replace(b"\n", b"\n: "))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _field(name: str, value: str) -> bytes:
    if "\n" in value or "\r" in value or "\0" in value:
        raise ValueError(f"{name} must have no line end and no NUL: {value[:80]!r}")
    return f"{name}: {value}\n".encode()


def _retry_field(milliseconds: int) -> bytes:
    if milliseconds < 0:
        raise ValueError(f"a reconnection time cannot be negative: {milliseconds}")
    return b"retry: %d\n" % milliseconds


@lru_cache(maxsize=256)
def _event_field(event: str) -> bytes:
    return _field("event", event)
