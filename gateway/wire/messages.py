"""Messages: what people read of a session, and how each grows as ``gateway.wire.folder`` folds events into it. Pure.

Roles: ``user`` and ``assistant`` and ``thought`` have ``content`` (ACP content blocks, adjacent text joined) and, where
the agent named it, ``messageId``; a prompt has its ``author``. ``tool`` has ``toolCall`` (ACP's tool call with all its
updates applied) and, where some of its members were too large together, their names in ``omitted``; ``plan`` has
``entries`` (the turn's newest plan). ``terminal`` has ``terminal``: a command with what it has written and how it
ended. ``event`` is an event that says something by itself, in its place: the type as ``event``, and its ``data``. A
gap also has ``filled``, if the agent's history had what is missing: messages with ``role`` and what such a role has;
``through`` is the last event that is in them. A text that is longer than ``MAX_TEXT`` goes on in a next message.
Updates of a session's state (commands, usage, title, configuration) stay in the log and make no message.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import attrs
import msgspec

from gateway.wire.codec import MAX_SHOWN, DecodeError, dump_foreign_json, members_of, parse_foreign_json, raw_members
from gateway.wire.events import Cursor, Event, Gap, TerminalEnded, TerminalStarted
from gateway.wire.times import timestamp
from gateway.wire.updates import Json, Update, changes_of, given, message_id_of, role_in_gap

#: Bytes of a message before a text goes on in the next one, of a tool call, and of a command's output.
MAX_TEXT, MAX_TOOL_CALL, MAX_OUTPUT = 1_048_576, 4_194_304, 1_048_576
#: Pieces of a text before they are joined: a piece may be a character, and takes some tens of bytes.
_MOST_PIECES = 4096
#: Members of a tool call (ACP has about ten), and names that ``omitted`` lists.
MAX_MEMBERS, MAX_OMITTED = 64, 20
#: Approximate memory of a message beside its content.
DRAFT_BYTES = 4_000
#: Bytes.
_PIECE = 65_536


MessageRole = Literal["user", "assistant", "thought", "tool", "terminal", "plan", "event"]
#: Events that are messages as they are. Of ``turn_ended`` those of a turn that did not complete, and of
#: ``session_update`` those that say neither a text, a call nor a plan, and no state of the session's.
EventMessageType = Literal[
    "agent_stopping",
    "auth_complete",
    "auth_required",
    "container_event",
    "file_read",
    "file_written",
    "gap",
    "permission_request",
    "permission_resolved",
    "session_cleared",
    "session_ended",
    "session_renamed",
    "session_restored",
    "session_update",
    "turn_cancelling",
    "turn_ended",
    "turn_stalling",
]
#: The status of a call that has ended.
_OVER = (b'"completed"', b'"failed"')


@attrs.frozen(kw_only=True)
class Message:
    """A message of a session, from the events ``first_seq`` to ``last_seq``."""

    first_seq: int
    last_seq: int
    role: MessageRole
    turn_id: str | None
    #: The id of what later events may change: a tool call, a terminal, or a gap.
    tool_call_id: str | None
    at: datetime
    updated_at: datetime
    #: JSON object of what the role has: ``content``, ``toolCall``, ``terminal``, ``entries``, ``event`` with ``data``.
    body: bytes

    @property
    def id(self) -> str:
        return str(self.first_seq)

    def to_json(self) -> Iterator[bytes]:
        """As JSON, in pieces, without parsing the body."""
        head = {"id": self.id, "role": self.role, "turnId": self.turn_id}
        times = {"at": timestamp(self.at), "updatedAt": timestamp(self.updated_at)}
        yield dump_foreign_json(head | times)[:-1] + b","
        for start in range(1, len(self.body), _PIECE):
            yield self.body[start : start + _PIECE]


@attrs.define(kw_only=True)
class Draft:
    """A message that may still grow. Content is kept unparsed: values would take fifty times the memory."""

    first: Event
    last: Event
    role: MessageRole
    message_id: Json | None = None
    tool_call_id: str | None = None
    #: Content blocks; adjacent text is kept in pieces, so that a long message takes linear time.
    blocks: list[Json] = attrs.field(factory=list)
    pieces: list[str] = attrs.field(factory=list)
    #: A tool call's members, and the names of those too large to keep; or a terminal's beside its output.
    members: dict[str, Json] = attrs.field(factory=dict)
    omitted: list[str] = attrs.field(factory=list)
    #: What a command has written first, and after the bytes that were not kept.
    output: list[str] = attrs.field(factory=list)
    output_end: list[str] = attrs.field(factory=list)
    output_size: int = 0
    omitted_bytes: int = 0
    entries: Json = b"[]"
    author: Json | None = None
    #: What a gap lost.
    filled: "list[Draft]" = attrs.field(factory=list)
    #: Bytes, about.
    size: int = 0

    @classmethod
    def of(cls, known: Message, event: Event) -> "Draft":
        """Of a stored message, which ``event`` changes."""
        first = attrs.evolve(event, cursor=_at(event, known.first_seq), turn_id=known.turn_id, at=known.at)
        last = attrs.evolve(event, cursor=_at(event, known.last_seq), at=known.updated_at)
        draft = cls(first=first, last=last, role=known.role, tool_call_id=known.tool_call_id)
        draft._restore(raw_members(known.body))
        return draft

    def _restore(self, body: Mapping[str, Any]) -> None:
        """Take what ``_body`` has made."""
        match self.role:
            case "tool":
                self.members = members_of(body.get("toolCall", b"{}"))
                self.omitted = parse_foreign_json(body.get("omitted", b"[]"))
                self.size = sum(map(len, self.members.values()))
            case "terminal":
                self._restore_terminal(members_of(body.get("terminal", b"{}")))
            case "plan":
                self.entries = bytes(body["entries"])
                self.size = len(self.entries)
            case "event":
                self.first = attrs.evolve(self.first, type=Gap.type, data=bytes(body.get("data", b"{}")))
                self.size = len(self.first.data)
                for part in map(raw_members, items(bytes(body.get("filled", b"[]")))):
                    lost = Draft(first=self.first, last=self.first, role=parse_foreign_json(part["role"]))
                    lost._restore(part)
                    self.filled.append(lost)
                    self.size += DRAFT_BYTES + lost.size
            case _:
                self.message_id = bytes(body["messageId"]) if "messageId" in body else None
                for block in items(bytes(body["content"])):
                    self.add(block)

    def _restore_terminal(self, members: dict[str, Json]) -> None:
        output, end = members.pop("output", b'""'), members.pop("outputEnd", b'""')
        self.output, self.output_end = [parse_foreign_json(output)], [parse_foreign_json(end)]
        self.output_size = sum(map(_length, (*self.output, *self.output_end)))
        self.omitted_bytes = parse_foreign_json(members.pop("omittedBytes", b"0"))
        if not given(members.get("exitStatus", b"null")):
            members.pop("exitStatus", None)
        self.members = members
        self.size = sum(map(len, members.values())) + self.output_size

    def add(self, block: Json) -> None:
        text = _plain_text(block)
        if text is not None:
            self.pieces.append(text)
            self.size += _length(text)
            if len(self.pieces) == _MOST_PIECES:
                self.pieces = ["".join(self.pieces)]
        elif block.startswith(b"{"):
            self.close_text()
            self.blocks.append(block)
            self.size += len(block)

    def close_text(self) -> None:
        if self.pieces:
            self.blocks.append(dump_foreign_json({"type": "text", "text": "".join(self.pieces)}))
            self.pieces = []

    def change(self, members: Mapping[str, Json]) -> None:
        """Apply an update of a tool call."""
        for name, value in members.items():
            self.size -= len(self.members.pop(name, b""))
            if len(self.members) < MAX_MEMBERS and self.size + len(value) <= MAX_TOOL_CALL:
                self.members[name] = value
                self.size += len(value)
                if name in self.omitted:
                    self.omitted.remove(name)
            elif name not in self.omitted and len(self.omitted) < MAX_OMITTED:
                self.omitted.append(name[:MAX_SHOWN])

    def hear(self, event: Event, said: Update) -> None:
        """Apply what is told of a terminal."""
        match event.type:
            case TerminalStarted.type:
                self.members.update(said)
                self.size += sum(map(len, said.values()))
            case TerminalEnded.type:
                status = {name: said.get(name, b"null") for name in ("exitCode", "signal")}
                self.members["exitStatus"] = _object(status)
            case _:
                self._write(said)

    def _write(self, said: Update) -> None:
        text = parse_foreign_json(said.get("text", b'""'))
        omitted = parse_foreign_json(said.get("omittedBytes", b"0"))
        size = _length(text)
        if self.output_size + size > MAX_OUTPUT:
            omitted, text, size = omitted + len(text.encode("utf-8", "surrogatepass")), "", 0
        self.omitted_bytes += omitted
        (self.output_end if self.omitted_bytes else self.output).append(text)
        self.output_size += size
        self.size += size

    def fill(self, event: Event, update: Update) -> None:
        """Take an update of what a gap lost."""
        role = role_in_gap(update)
        if role is None:
            return
        last = self.filled[-1] if self.filled else None
        named = None if role == "tool" else message_id_of(update)
        if role == "tool" or last is None or (last.role, last.message_id) != (role, named) or last.size >= MAX_TEXT:
            last = Draft(first=event, last=event, role=role, message_id=named)
            self.filled.append(last)
            self.size += DRAFT_BYTES
        before = last.size
        if role == "tool":
            last.change(changes_of(update))
        else:
            last.add(update.get("content", b""))
        self.size += last.size - before

    def is_closed_to(self, event: Event) -> bool:
        """Whether what begins under this one's id is another one: ids are unique within one answer, at most."""
        is_over = self.members.get("status") in _OVER or "exitStatus" in self.members
        return self.first.turn_id != event.turn_id or is_over

    def to_message(self) -> Message:
        return Message(
            first_seq=self.first.seq,
            last_seq=self.last.seq,
            role=self.role,
            turn_id=self.first.turn_id,
            tool_call_id=self.tool_call_id,
            at=self.first.at,
            updated_at=self.last.at,
            body=self._body(),
        )

    def _body(self) -> bytes:
        match self.role:
            case "tool":
                body = b'{"toolCall":%b' % _object(self.members)
                return body + (b',"omitted":%b}' % dump_foreign_json(self.omitted) if self.omitted else b"}")
            case "terminal":
                output: dict[str, Any] = {"output": "".join(self.output), "omittedBytes": self.omitted_bytes}
                if self.omitted_bytes:
                    output["outputEnd"] = "".join(self.output_end)
                told = {name: dump_foreign_json(value) for name, value in output.items()}
                exit_status = self.members.get("exitStatus", b"null")
                through = dump_foreign_json(str(self.last.seq))
                return b'{"terminal":%b}' % _object(
                    {**self.members, **told, "exitStatus": exit_status, "through": through}
                )
            case "plan":
                return b'{"entries":%b}' % self.entries
            case "event":
                # Line ends can only stand between JSON's tokens, and part the lines of an export.
                data = self.first.data.replace(b"\n", b" ").replace(b"\r", b" ")
                told = {"event": dump_foreign_json(self.first.type), "data": data}
                if self.filled:
                    told["filled"] = b"[%b]" % b",".join(one.as_filled() for one in self.filled)
                    told["through"] = dump_foreign_json(str(self.last.seq))
                return _object(told)
            case _:
                self.close_text()
                named = b"" if self.message_id is None else b'"messageId":%b,' % self.message_id
                author = b"" if self.author is None else b'"author":%b,' % self.author
                return b'{%b%b"content":[%b]}' % (author, named, b",".join(self.blocks))

    def as_filled(self) -> Json:
        """As a gap has it."""
        return b'{"role":%b,%b' % (dump_foreign_json(self.role), self._body()[1:])


def _at(event: Event, seq: int) -> Cursor:
    return attrs.evolve(event.cursor, seq=seq)


def _length(text: str) -> int:
    """Bytes of a text in JSON: those of its pieces together are those of the whole, however it is folded."""
    return len(dump_foreign_json(text)) - 2


def _object(members: dict[str, Json]) -> Json:
    return b"{%b}" % b",".join(b"%b:%b" % (dump_foreign_json(name), value) for name, value in members.items())


def items(raw: Json) -> list[Json]:
    """The items of a list; none where it is no list."""
    try:
        return [bytes(item) for item in _read_items(raw)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        # Only a lone surrogate may be wrong.
        value = parse_foreign_json(raw)
    except DecodeError:
        return []
    return [dump_foreign_json(item) for item in value] if isinstance(value, list) else []


def _plain_text(block: Json) -> str | None:
    """The text of a block that has nothing else."""
    try:
        return _read_text_block(block).text
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    # A lone surrogate does not make it something else.
    if b"\\u" not in block or len(members_of(block)) != 2:
        return None
    value = parse_foreign_json(block)
    text = value.get("text") if value.get("type") == "text" else None
    return text if isinstance(text, str) else None


class _TextBlock(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["text"]
    text: str


_read_text_block = msgspec.json.Decoder(_TextBlock).decode
_read_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
