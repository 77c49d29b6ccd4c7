"""The beginnings of a JSON document that is too large to keep: bytes in, a smaller document out. Pure.

Of a text, a list and an object the first part is kept, and of an object also the members that the container contract
names, as they may decide something. It takes linear time and bounded memory.
"""

import re
from typing import Final

import attrs

#: A member of what was cut, and of what is told of it.
CUT: Final = "acp-gateway/cut"
#: Bytes of a text, entries of a list or object, and levels that are kept.
MAX_STRING, MAX_ENTRIES, MAX_LEVELS = 4_096, 200, 32
#: Bytes of an event's data's member, and of the whole, after which nothing but the named members is kept.
_MEMBER_BYTES, _BYTES = 524_288, 2_097_152
#: The level of an event's data, and the one to which members are kept by their names. So many may be in a document.
_DATA, _NAMED_LEVELS, _MOST_NAMED = 2, 4, 1_000
_NAMED: Final = frozenset(
    b"sessionId agentId timestamp data requestId permissionId id toolCall toolCallId kind title options optionId name "
    b"outcome reason turnId stopReason error code message status owner how acpSessionId".split()
)
_LONGEST_KEY, _LONGEST_NUMBER = 200, 400
_TOKEN: Final = re.compile(rb'[{}\[\]",:]|[^{}\[\]",:\s]+')
_STOP: Final = re.compile(rb'["\\]')
#: What is left out is passed over at the speed of C: the rest of a text, texts and scalars up to a bracket, and members
#: that have neither a name that matters nor a bracket.
_REST_OF_TEXT: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_NO_BRACKET: Final = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_UNNAMED: Final = re.compile(
    rb'(?:\s*+"(?!(?:%b)")[^"\\]*+"\s*+:\s*+(?:[^"\[\]{},\s]++|"(?:[^"\\]++|\\.)*+")\s*+,)*+'
    % b"|".join(sorted(_NAMED)),
    re.DOTALL,
)


@attrs.define
class _Open:
    """A list or object that has not ended."""

    is_object: bool
    #: Entries that are kept.
    count: int = 0
    #: Whether the next text is a member's name, and the current entry is kept.
    expects_key: bool = False
    keeps: bool = False


class Cutter:
    """Takes a document in pieces."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._open: list[_Open] = []
        #: Lists and objects around this place that are left out.
        self._skipped = 0
        self._named = 0
        #: Where the current member of the event's data begins.
        self._member_from = 0
        #: Of the text that has not ended: where it is kept, and how much more of it.
        self._text: bytearray | None = None
        self._room = 0
        self._key = bytearray()
        #: The end of the last piece that can be read only together with the next one.
        self._rest = b""
        self._is_amid_scalar = False
        self._digits = 0

    def feed(self, piece: bytes) -> None:
        data, self._rest = self._rest + piece, b""
        place = 0
        while place < len(data):
            if self._text is not None:
                place = self._in_text(data, place)
            elif self._skipped or self._is_full:
                place = self._skip(data, place)
            else:
                place = self._outside(data, place)

    def finish(self) -> bytes | None:
        """The smaller document, marked as one that was cut; None if the document was no object, or had not ended."""
        if self._open or self._text is not None or not self._kept.startswith(b"{"):
            return None
        return marked(bytes(self._kept))

    @property
    def _is_full(self) -> bool:
        """Whether nothing more of this list or object is kept, whatever its name."""
        if not self._open or self._has_room(self._open[-1]):
            return False
        inner = self._open[-1]
        return not inner.is_object or (inner.expects_key and not self._may_be_named)

    @property
    def _may_be_named(self) -> bool:
        return len(self._open) <= _NAMED_LEVELS and self._named < _MOST_NAMED

    def _skip(self, data: bytes, place: int) -> int:
        """Pass over what is left out, up to the end of its list or object."""
        self._is_amid_scalar = False
        while (place := _past(_NO_BRACKET, data, place)) < len(data):
            place += 1
            match data[place - 1 : place]:
                case b'"':
                    self._text, self._room = bytearray(), 0
                    break
                case b"{" | b"[":
                    self._skipped += 1
                case _:
                    self._end()
                    if not self._skipped:
                        break
        return place

    def _outside(self, data: bytes, place: int) -> int:
        if self._open and self._open[-1].expects_key and not self._has_room(self._open[-1]):
            place = _past(_UNNAMED, data, place)
        found = _TOKEN.search(data, place)
        if found is None:
            self._is_amid_scalar = False
            return len(data)
        token = found[0]
        if found.start() != place or token in b'{}[]",:':
            self._is_amid_scalar = False
        match token:
            case b'"':
                self._begin_text()
            case b"{" | b"[":
                self._begin(is_object=token == b"{")
            case b"}" | b"]":
                self._end()
            case b",":
                if self._open and not self._skipped:
                    self._open[-1].expects_key = self._open[-1].is_object
            case b":":
                self._decide_member()
            case _:
                self._scalar(token)
        return found.end()

    def _in_text(self, data: bytes, place: int) -> int:
        if not self._room:
            place = _past(_REST_OF_TEXT, data, place)
        found = _STOP.search(data, place)
        end = len(data) if found is None else found.start()
        self._add_text(data[place:end])
        if found is None:
            return end
        if found[0] == b'"':
            if self._text is self._kept:
                self._kept += b'"'
            self._text = None
            return end + 1
        size = 6 if data[end + 1 : end + 2] == b"u" else 2
        if end + size > len(data):
            self._rest = data[end:]
            return len(data)
        if self._room < size:
            self._room = 0
        self._add_text(data[end : end + size])
        return end + size

    def _add_text(self, text: bytes) -> None:
        assert self._text is not None
        self._text += text[: self._room]
        self._room = max(0, self._room - len(text))

    def _begin_text(self) -> None:
        inner = self._open[-1] if self._open else None
        if inner is not None and inner.expects_key and not self._skipped:
            inner.expects_key = False
            self._key.clear()
            self._text, self._room = self._key, _LONGEST_KEY
        elif self._keeps_value():
            self._kept += b'"'
            self._text, self._room = self._kept, MAX_STRING
        else:
            self._text, self._room = bytearray(), 0

    def _begin(self, *, is_object: bool) -> None:
        if not self._keeps_value():
            self._skipped += 1
        elif len(self._open) == MAX_LEVELS:
            self._kept += b"null"
            self._skipped += 1
        else:
            self._kept += b"{" if is_object else b"["
            self._open.append(_Open(is_object, expects_key=is_object))

    def _end(self) -> None:
        if self._skipped:
            self._skipped -= 1
        elif self._open:
            self._kept += b"}" if self._open.pop().is_object else b"]"

    def _scalar(self, token: bytes) -> None:
        if self._is_amid_scalar:
            # The number or word of the piece before goes on.
            keeps = self._digits > 0
        else:
            keeps = self._keeps_value()
            self._digits = _LONGEST_NUMBER if keeps else 0
        if keeps:
            self._kept += token[: self._digits]
            self._digits -= len(token[: self._digits])
        self._is_amid_scalar = True

    def _keeps_value(self) -> bool:
        """Whether the value that begins here is kept; an entry of a list is begun."""
        if self._skipped:
            return False
        if len(self._open) == _DATA:
            self._member_from = len(self._kept)
        if not self._open:
            return not self._kept
        inner = self._open[-1]
        if not inner.is_object:
            inner.keeps = self._has_room(inner)
            if inner.keeps:
                self._kept += b"," if inner.count else b""
                inner.count += 1
        return inner.keeps

    def _decide_member(self) -> None:
        if self._skipped or not self._open:
            return
        inner, key = self._open[-1], bytes(self._key)
        inner.keeps = self._has_room(inner) and len(key) < _LONGEST_KEY
        if not inner.keeps and key in _NAMED and self._may_be_named:
            self._named += 1
            inner.keeps = True
        if inner.keeps:
            self._kept += b'%b"%b":' % (b"," if inner.count else b"", key)
            inner.count += 1

    def _has_room(self, inner: _Open) -> bool:
        of_member = len(self._kept) - self._member_from if len(self._open) > _DATA else 0
        return inner.count < MAX_ENTRIES and of_member < _MEMBER_BYTES and len(self._kept) < _BYTES


def marked(document: bytes) -> bytes:
    """An object with the mark."""
    return b'{"%b":true%b%b' % (CUT.encode(), b"" if document == b"{}" else b",", document[1:])


def cut(document: bytes) -> bytes | None:
    """A whole document; see ``Cutter.finish``."""
    cutter = Cutter()
    cutter.feed(document)
    return cutter.finish()


def _past(run: re.Pattern[bytes], data: bytes, place: int) -> int:
    """Where a run ends that begins here, and may be empty."""
    found = run.match(data, place)
    assert found is not None, "each of these patterns matches nothing, too"
    return found.end()
