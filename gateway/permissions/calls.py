"""The tool calls of a turn, as far as the log knows them when an agent asks permission for one. Pure.

A request may contain only its call's id; the rest is in earlier `tool_call` and `tool_call_update`s.
https://agentclientprotocol.com/protocol/tool-calls#requesting-permission

Of each call all kinds are kept, because the strictest one counts if an agent changes them; of its other members short
ones, and otherwise the number of the event that has the newest.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from gateway.permissions.policy import TOOL_KINDS
from gateway.wire.codec import DecodeError, parse_foreign_json
from gateway.wire.events import Event, Gap, PermissionRequest, SessionCreated, TurnEnded, TurnStarted

#: Bytes kept of one turn's calls. After some were dropped, a later request may be about one of them.
MOST_BYTES: Final = 8_388_608
#: Approximate bytes of a call, of each kind, and of each value in addition to its JSON.
_CALL_BYTES, _KIND_BYTES, _VALUE_BYTES = 900, 70, 40
#: A call with a longer id counts as one without an id.
LONGEST_ID: Final = 1_000
#: Members with shorter JSON are kept themselves.
SHORT_BYTES: Final = 256
#: Longer events are not read again for a request.
LONGEST_EVENT: Final = 2_097_152
#: Up to this length, events that the fast reader refuses are parsed leniently.
_LONGEST_ODD: Final = 262_144
#: The longest JSON of a string of ``LONGEST_ID`` characters.
_LONGEST_WORD: Final = 6 * LONGEST_ID + 2

_NULL: Final = msgspec.Raw(b"null")


class Told(msgspec.Struct, rename="camel"):
    """A tool call in one event, as raw JSON: most of it is never read, and may be large."""

    session_update: msgspec.Raw = _NULL
    tool_call_id: msgspec.Raw = _NULL
    kind: msgspec.Raw = _NULL
    title: msgspec.Raw = _NULL
    locations: msgspec.Raw = _NULL
    raw_input: msgspec.Raw = _NULL
    content: msgspec.Raw = _NULL

    def members(self) -> Mapping[str, msgspec.Raw]:
        """Its members, short ones first; a request may leave any of them out."""
        values = {
            "title": self.title,
            "kind": self.kind,
            "locations": self.locations,
            "rawInput": self.raw_input,
            "content": self.content,
        }
        return {name: value for name, value in values.items() if not _is_null(value)}


class _Data(msgspec.Struct, rename="camel"):
    """The data of an event about a call: `update` in a `session_update`, `toolCall` in a permission request."""

    update: Told | None = None
    tool_call: Told | None = None


_read: Final = msgspec.json.Decoder(_Data).decode


def told(event: Event) -> Told | None:
    """The call of an event; None if there is none. Raises ``DecodeError`` if it cannot be read."""
    try:
        data = _read(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        data = _read_leniently(event.data, exc)
    return data.tool_call if event.type == PermissionRequest.type else data.update


def _read_leniently(raw: bytes, exc: Exception) -> _Data:
    """For example with an unpaired surrogate."""
    if len(raw) > _LONGEST_ODD:
        raise DecodeError("neither readable nor short") from exc
    try:
        return _read(json.dumps(parse_foreign_json(raw), ensure_ascii=False).encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError) as again:
        raise DecodeError(str(again)) from again


@attrs.frozen
class AskedCall:
    """The call in a permission request."""

    #: A digest; None if the log cannot know the id.
    id: bytes | None
    #: None if it is not one of ACP's kinds.
    kind: str | None
    names_kind: bool

    @classmethod
    def of(cls, members: Mapping[str, bytes]) -> "AskedCall":
        """``members`` of the request's tool call, as JSON."""
        call_id, kind = (msgspec.Raw(members.get(name, b"null")) for name in ("toolCallId", "kind"))
        return cls(id=_id(call_id), kind=_kind(_text(kind)), names_kind=not _is_null(kind))


@attrs.define
class KnownCall:
    """What the log knows of a call."""

    #: By the time of the last mention; None for a kind that is not ACP's.
    kinds: dict[str | None, None] = attrs.field(factory=dict)
    #: Member → its JSON, or the number of the newest event with it; None if that event is too long.
    members: dict[str, bytes | int | None] = attrs.field(factory=dict)

    @property
    def size(self) -> int:
        """Approximate bytes of memory."""
        values = (len(value) if isinstance(value, bytes) else 0 for value in self.members.values())
        return _CALL_BYTES + _KIND_BYTES * len(self.kinds) + _VALUE_BYTES * len(self.members) + sum(values)


class TurnCalls:
    """The calls of a session's newest turn."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        #: By a digest of the call's id, whose length agents choose.
        self._calls: OrderedDict[bytes, KnownCall] = OrderedDict()
        self._forgot = False
        #: Approximate bytes of memory.
        self.size = 0
        #: Whether there may be calls that are not known here.
        self.incomplete = False

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, event: Event) -> None:
        """Take the session's next event, or a gap of its project."""
        if event.type in (SessionCreated.type, TurnStarted.type, TurnEnded.type):
            # Ids are unique within a turn at most.
            self._calls.clear()
            self.size = 0
            self.incomplete = self._forgot = False
        elif event.type == Gap.type:
            self.incomplete = True
        elif event.type in ("session_update", PermissionRequest.type):
            try:
                call = told(event)
            except DecodeError:
                self.incomplete = True
                return
            if call is not None and (call_id := _id(call.tool_call_id)) is not None:
                self._learn(event, call, call_id)

    def get(self, asked: AskedCall) -> KnownCall | None:
        """What is known of the request's call, or None."""
        return None if asked.id is None else self._calls.get(asked.id)

    def kinds(self, asked: AskedCall) -> tuple[str | None, ...]:
        """Each kind that the request's call has had, the newest first; None if it may be any."""
        known = self.get(asked)
        kinds = {asked.kind: None} if asked.names_kind else {}
        if known is not None:
            kinds |= dict.fromkeys(reversed(known.kinds))
        elif self._forgot or asked.id is None:
            kinds |= {None: None}
        if not kinds or (self.incomplete and not asked.names_kind):
            kinds |= {None: None}
        return tuple(kinds)

    def _learn(self, event: Event, call: Told, call_id: bytes) -> None:
        if event.type == PermissionRequest.type and call_id not in self._calls:
            # Requests about unknown calls say nothing about each other.
            return
        known = self._calls.pop(call_id, None)
        if known is None:
            known = KnownCall(kinds={None: None} if self._forgot else {})
        else:
            self.size -= known.size
        if not _is_null(call.kind):
            kind = _kind(_text(call.kind))
            known.kinds.pop(kind, None)
            known.kinds[kind] = None
        if event.type == "session_update":
            if _text(call.session_update) == "tool_call":
                # Another call with the same id; the former one's kinds still count.
                known.members.clear()
            known.members |= {name: _remembered(event, value) for name, value in call.members().items()}
        self._calls[call_id] = known
        self.size += known.size
        while self.size > self._most_bytes:
            _, forgotten = self._calls.popitem(last=False)
            self.size -= forgotten.size
            self._forgot = True


def _remembered(event: Event, value: msgspec.Raw) -> bytes | int | None:
    if memoryview(value).nbytes <= SHORT_BYTES:
        return bytes(value)
    return event.seq if len(event.data) <= LONGEST_EVENT else None


def _is_null(value: msgspec.Raw) -> bool:
    return bytes(memoryview(value)[:5]) == b"null"


def _text(value: msgspec.Raw) -> str | None:
    """A short string; None for anything else."""
    if memoryview(value).nbytes > _LONGEST_WORD:
        return None
    try:
        decoded = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return decoded if isinstance(decoded, str) else None


def _id(value: msgspec.Raw) -> bytes | None:
    """The key of a call; None if its id is not usable."""
    text = _text(value)
    return None if text is None or len(text) > LONGEST_ID else hashlib.sha256(text.encode()).digest()


def _kind(value: Any) -> str | None:
    return value if isinstance(value, str) and value in TOOL_KINDS else None
