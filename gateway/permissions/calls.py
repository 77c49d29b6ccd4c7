"""The tool calls of a turn, as far as the log knows them when an agent asks leave for one of them. Pure.

A request may name no more than its call's id: the rest stands in the `tool_call` and the `tool_call_update`s before it.
https://agentclientprotocol.com/protocol/tool-calls#requesting-permission

Of each call all kinds are remembered that the agent has ever called it, because an agent that changes its word is
judged by the strictest; of its other members what is short, and of the rest only in which event it was last told.
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

#: Bytes that are remembered of one turn's calls. What comes when some have been forgotten may be about one of them.
MOST_BYTES: Final = 8_388_608
#: Bytes of a call of which nothing is known but that it was told, of each kind, and of each value beside its JSON.
_CALL_BYTES, _KIND_BYTES, _VALUE_BYTES = 900, 70, 40
#: A call with a longer id counts as one without.
LONGEST_ID: Final = 1_000
#: JSON of a member that is no longer is remembered itself.
SHORT_BYTES: Final = 256
#: An event that is longer is not read again for the sake of a request.
LONGEST_EVENT: Final = 2_097_152
#: What the fast reader refuses is read again where it is no longer than this.
_LONGEST_ODD: Final = 262_144
#: JSON of a text of ``LONGEST_ID`` characters is no longer than this.
_LONGEST_WORD: Final = 6 * LONGEST_ID + 2

_NULL: Final = msgspec.Raw(b"null")


class Told(msgspec.Struct, rename="camel"):
    """A tool call as one event has it. All of it stays JSON: most of it is never looked at, and may be large."""

    session_update: msgspec.Raw = _NULL
    tool_call_id: msgspec.Raw = _NULL
    kind: msgspec.Raw = _NULL
    title: msgspec.Raw = _NULL
    locations: msgspec.Raw = _NULL
    raw_input: msgspec.Raw = _NULL
    content: msgspec.Raw = _NULL

    def members(self) -> Mapping[str, msgspec.Raw]:
        """What it says of the call, short members first; a request may leave all of it out."""
        values = {
            "title": self.title,
            "kind": self.kind,
            "locations": self.locations,
            "rawInput": self.raw_input,
            "content": self.content,
        }
        return {name: value for name, value in values.items() if not _is_null(value)}


class _Data(msgspec.Struct, rename="camel"):
    """What an event that may tell of a call has: a `session_update` the one, a permission request the other."""

    update: Told | None = None
    tool_call: Told | None = None


_read: Final = msgspec.json.Decoder(_Data).decode


def told(event: Event) -> Told | None:
    """What an event tells of a call; None where it is about none. Raises ``DecodeError`` where it cannot be read."""
    try:
        data = _read(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        data = _read_leniently(event.data, exc)
    return data.tool_call if event.type == PermissionRequest.type else data.update


def _read_leniently(raw: bytes, exc: Exception) -> _Data:
    """Half an emoji in a text, say."""
    if len(raw) > _LONGEST_ODD:
        raise DecodeError("neither readable nor short") from exc
    try:
        return _read(json.dumps(parse_foreign_json(raw), ensure_ascii=False).encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError) as again:
        raise DecodeError(str(again)) from again


@attrs.frozen
class AskedCall:
    """What a permission request itself says of its call."""

    #: A digest; None where it names none that the log could know.
    id: bytes | None
    #: None for what is no kind of ACP's.
    kind: str | None
    names_kind: bool

    @classmethod
    def of(cls, members: Mapping[str, bytes]) -> "AskedCall":
        """``members`` of the request's tool call, each as JSON."""
        call_id, kind = (msgspec.Raw(members.get(name, b"null")) for name in ("toolCallId", "kind"))
        return cls(id=_id(call_id), kind=_kind(_text(kind)), names_kind=not _is_null(kind))


@attrs.define
class KnownCall:
    """What the log tells of a call."""

    #: In the order in which they were told last; None for what is no kind of ACP's.
    kinds: dict[str | None, None] = attrs.field(factory=dict)
    #: Member → its JSON, or the number of the event that has told it last; None where that event is too long.
    members: dict[str, bytes | int | None] = attrs.field(factory=dict)

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        values = (len(value) if isinstance(value, bytes) else 0 for value in self.members.values())
        return _CALL_BYTES + _KIND_BYTES * len(self.kinds) + _VALUE_BYTES * len(self.members) + sum(values)


class TurnCalls:
    """The calls of a session's newest turn."""

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        #: By a digest of the call's id: agents choose how long that is.
        self._calls: OrderedDict[bytes, KnownCall] = OrderedDict()
        self._forgot = False
        #: Bytes of memory, about.
        self.size = 0
        #: Whether something may have been told of a call that is not known here.
        self.incomplete = False

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, event: Event) -> None:
        """Take the session's next event, or a gap of its project."""
        if event.type in (SessionCreated.type, TurnStarted.type, TurnEnded.type):
            # A call's id is unique in its turn at most.
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
        """What is known of the call that a request is about; None where that is nothing."""
        return None if asked.id is None else self._calls.get(asked.id)

    def kinds(self, asked: AskedCall) -> tuple[str | None, ...]:
        """Each kind that the call of a request has been called, the newest first; None where it may be any."""
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
            # Requests about a call that nobody has told of say nothing about one another.
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
                # Another call under the same id. What the one before it was counts all the same.
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
    """A member that is a short text; None where it is anything else."""
    if memoryview(value).nbytes > _LONGEST_WORD:
        return None
    try:
        decoded = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return decoded if isinstance(decoded, str) else None


def _id(value: msgspec.Raw) -> bytes | None:
    """What a call is remembered under; None where it has no id that could be another event's, too."""
    text = _text(value)
    return None if text is None or len(text) > LONGEST_ID else hashlib.sha256(text.encode()).digest()


def _kind(value: Any) -> str | None:
    return value if isinstance(value, str) and value in TOOL_KINDS else None
