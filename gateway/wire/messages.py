"""The transcript: what people read, folded from events. Pure: events in, messages out.

Roles: ``user`` and ``assistant`` and ``thought`` have ``content`` (ACP content blocks, adjacent text joined) and, where
the agent named it, ``messageId``; a prompt has its ``author``. ``tool`` has ``toolCall`` (ACP's tool call with all its
updates applied) and, where some of its members were too large together, their names in ``omitted``; ``plan`` has
``entries`` (the turn's newest plan). ``terminal`` has ``terminal``: a command with what it has written and how it
ended. ``event`` is an event that says something by itself, in its place: the type as ``event``, and its ``data``. A
gap also has ``filled``, if the agent's history had what is missing: messages with ``role`` and what such a role has;
``through`` is the last event that is in them. A text that is longer than ``MAX_TEXT`` goes on in a next message.
Updates of a session's state (commands, usage, title, configuration) stay in the log and make no message.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from datetime import datetime
from typing import Any, Literal, get_args

import attrs
import msgspec

from gateway.wire.codec import (
    MAX_SHOWN,
    DecodeError,
    dump_foreign_json,
    is_too_deep,
    members_of,
    parse_foreign_json,
    raw_members,
    storable,
)
from gateway.wire.events import (
    Event,
    Gap,
    HistoryFilled,
    SessionCleared,
    TerminalEnded,
    TerminalOutput,
    TerminalStarted,
    TurnEnded,
    TurnStarted,
)
from gateway.wire.times import timestamp

#: A longer id of an agent's is stored as its digest: an index allows some 2,700 bytes.
_MAX_ID = 200
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
_EVENTS = frozenset(get_args(EventMessageType)) - {"session_update"}
#: Kinds of update that tell a session's state, which the newest of them is.
_STATES = frozenset(("available_commands_update", "config_option_update", "session_info_update", "usage_update"))
#: Either changes the call of its id, and begins one where there is none.
_TOOL_KINDS = ("tool_call", "tool_call_update")
_TERMINALS = frozenset((TerminalStarted.type, TerminalOutput.type, TerminalEnded.type))
#: Before a terminal's id, and a gap's number, where a tool call's id could stand; a call's id that begins so is stored
#: as its digest.
_TERMINAL, _GAP = "terminal ", "gap "
#: The status of a call that has ended.
_OVER = (b'"completed"', b'"failed"')
_TEXT_ROLES: dict[str, MessageRole] = {
    "agent_message_chunk": "assistant",
    "agent_thought_chunk": "thought",
    "user_message_chunk": "user",
}


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


#: A part of a JSON document, unparsed; and an ACP update by its members.
_Json = bytes
Update = Mapping[str, _Json]


@attrs.define(kw_only=True)
class _Draft:
    """A message that may still grow. Content is kept unparsed: values would take fifty times the memory."""

    first: Event
    last: Event
    role: MessageRole
    message_id: _Json | None = None
    tool_call_id: str | None = None
    #: Content blocks; adjacent text is kept in pieces, so that a long message takes linear time.
    blocks: list[_Json] = attrs.field(factory=list)
    pieces: list[str] = attrs.field(factory=list)
    #: A tool call's members, and the names of those too large to keep; or a terminal's beside its output.
    members: dict[str, _Json] = attrs.field(factory=dict)
    omitted: list[str] = attrs.field(factory=list)
    #: What a command has written first, and after the bytes that were not kept.
    output: list[str] = attrs.field(factory=list)
    output_end: list[str] = attrs.field(factory=list)
    output_size: int = 0
    omitted_bytes: int = 0
    entries: _Json = b"[]"
    author: _Json | None = None
    #: What a gap lost.
    filled: "list[_Draft]" = attrs.field(factory=list)
    #: Bytes, about.
    size: int = 0

    def add(self, block: _Json) -> None:
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

    def change(self, members: Mapping[str, _Json]) -> None:
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
        role = _role_of(update)
        if role is None:
            return
        last = self.filled[-1] if self.filled else None
        named = None if role == "tool" else _message_id(update)
        if role == "tool" or last is None or (last.role, last.message_id) != (role, named) or last.size >= MAX_TEXT:
            last = _Draft(first=event, last=event, role=role, message_id=named)
            self.filled.append(last)
            self.size += DRAFT_BYTES
        before = last.size
        if role == "tool":
            last.change(_changes(update))
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

    def as_filled(self) -> _Json:
        """As a gap has it."""
        return b'{"role":%b,%b' % (dump_foreign_json(self.role), self._body()[1:])


class Folder:
    """Folds a session's events, in order, into messages.

    ``known`` are stored messages that these events may change, of tool calls, terminals and gaps; ``resumed`` a text
    and plans that they go on with.
    """

    def __init__(self, known: Iterable[Message] = (), resumed: Iterable[Message] = ()) -> None:
        self._drafts: list[_Draft] = []
        self._resumed = {_name_of(message): message for message in resumed}
        self._text: _Draft | None = None
        #: Tool calls, terminals and gaps.
        self._named: dict[str, _Draft] = {}
        self._plans: dict[str | None, _Draft] = {}
        self._known: dict[str, Message] = {}
        #: Approximate memory of the messages.
        self.size = 0
        self._folds: Mapping[str, Callable[[Event, Update], None]] = {
            **dict.fromkeys(_TEXT_ROLES, self._fold_text),
            **dict.fromkeys(_TOOL_KINDS, self._fold_tool_call),
            "plan": self._fold_plan,
        }
        self.learn(known)

    def add(self, event: Event, update: Update) -> None:
        """Add the session's next event and its update.

        Kinds without a message are skipped, and so are events of the whole project other than gaps.
        """
        if event.session_id is None and event.type != Gap.type:
            return
        if event.type in (TurnStarted.type, TurnEnded.type):
            self._text = None
            self._resumed.pop(_TEXT, None)
            for turn_id in (None, event.turn_id):
                self._plans.pop(turn_id, None)
                self._resumed.pop(turn_id, None)
        if event.type == SessionCleared.type:
            self._forget()
            self._known.clear()
            self._resumed.clear()
            self.size = 0
        kind = _text(update.get("sessionUpdate"))
        if event.type == TurnStarted.type:
            self._fold_prompt(event)
        elif event.type in _TERMINALS:
            self._fold_terminal(event, update)
        elif event.type == HistoryFilled.type:
            self._fold_filled(event, update)
        elif fold := self._folds.get(kind or ""):
            fold(event, update)
        elif (kind is not None and kind not in _STATES) or _is_told(event):
            draft = self._begin(event, "event")
            draft.size = len(event.data)
            self.size += draft.size
            if event.type == Gap.type:
                draft.tool_call_id = _GAP + str(event.seq)
                self._named[draft.tool_call_id] = draft

    @property
    def tool_calls(self) -> set[str]:
        """The ids of the tool calls, terminals and gaps whose messages are known here."""
        return self._named.keys() | self._known.keys()

    def learn(self, known: Iterable[Message]) -> None:
        """Add stored messages that the next events may change."""
        self._known.update({message.tool_call_id: message for message in known if message.tool_call_id is not None})

    @property
    def open(self) -> set[int]:
        """Where the messages begin that a text or a plan of the next events goes on with."""
        drafts = [*self._plans.values(), *([] if self._text is None else [self._text])]
        return {draft.first.seq for draft in drafts} | {one.first_seq for one in self._resumed.values()}

    def successor(self, messages: Iterable[Message], open: Set[int]) -> "Folder":
        """A folder for the next events: ``messages`` are this one's, and ``open`` was so before they were taken."""
        return Folder(resumed=[one for one in (*self._resumed.values(), *messages) if one.first_seq in open])

    def messages(self) -> Iterator[Message]:
        """All messages so far, oldest first. Each is removed when it is yielded, so that none is in memory twice."""
        drafts = sorted(self._drafts, key=lambda draft: draft.first.seq, reverse=True)
        self._forget()
        while drafts:
            yield drafts.pop().to_message()

    def _forget(self) -> None:
        for one in (self._drafts, self._named, self._plans):
            one.clear()
        self._text = None

    def _fold_prompt(self, event: Event) -> None:
        members = members_of(event.data)
        draft = self._begin(event, "user")
        author = members.get("startedBy", b"")
        draft.author = author if author.startswith(b'"') else None
        for block in _items(members.get("prompt", b"")):
            draft.add(block)
        self.size += draft.size

    def _fold_text(self, event: Event, update: Update) -> None:
        role = _TEXT_ROLES[_text(update["sessionUpdate"]) or ""]
        if role == "user" and event.turn_id is not None:
            return  # the agent echoes the prompt, which stands in turn_started already
        message_id = _message_id(update)
        text = self._text or self._resumed_draft(_TEXT, event)
        if (
            text is None
            or (text.role, text.message_id, text.first.turn_id) != (role, message_id, event.turn_id)
            or text.size >= MAX_TEXT
        ):
            text = self._begin(event, role)
            text.message_id = message_id
        self._text = text
        before = text.size
        text.add(update.get("content", b""))
        text.last = event
        self.size += text.size - before

    def _fold_tool_call(self, event: Event, update: Update) -> None:
        draft = self._with_name(event, _tool_call_id(update), "tool", begins=_begins_call(update))
        before = draft.size
        draft.change(_changes(update))
        self.size += draft.size - before

    def _fold_filled(self, event: Event, update: Update) -> None:
        """What a gap lost stands in it; the end of a call that had begun before, in the call."""
        if _role_of(update) is None:
            if _text(update.get("sessionUpdate")) in _TOOL_KINDS:
                self._fold_tool_call(event, update)
            return
        name = _gap_name(event)
        known = self._named.get(name)
        draft = known or self._reopened(event, name)
        if draft is None:
            return  # it has been cleared away with its place
        if draft is not known:
            self._drafts.append(draft)
            self.size += DRAFT_BYTES + draft.size
            self._named[name] = draft
        before = draft.size
        draft.fill(event, update)
        draft.last = event
        self.size += draft.size - before

    def _fold_terminal(self, event: Event, said: Update) -> None:
        begins = event.type == TerminalStarted.type
        draft = self._with_name(event, _terminal_id(said), "terminal", begins=begins)
        before = draft.size
        draft.members.setdefault("terminalId", said.get("terminalId", b"null"))
        draft.hear(event, said)
        self.size += draft.size - before

    def _with_name(self, event: Event, name: str, role: MessageRole, *, begins: bool) -> _Draft:
        """The message that the event changes: the newest of its name, or another one if the event ``begins`` one."""
        known = self._named.get(name)
        draft = known or self._reopened(event, name)
        if draft is None or (begins and draft.is_closed_to(event)):
            draft = self._begin(event, role)
            draft.tool_call_id = name
        elif draft is not known:
            self._drafts.append(draft)
            self.size += DRAFT_BYTES + draft.size
        self._named[name] = draft
        draft.last = event
        return draft

    def _fold_plan(self, event: Event, update: Update) -> None:
        draft = self._plans.get(event.turn_id) or self._resumed_draft(event.turn_id, event)
        if draft is None:
            draft = self._begin(event, "plan")
        self._plans[event.turn_id] = draft
        entries = update.get("entries", b"")
        self.size -= len(draft.entries)
        draft.entries = entries if entries.startswith(b"[") else b"[]"
        self.size += len(draft.entries)
        draft.last = event

    def _begin(self, event: Event, role: MessageRole) -> _Draft:
        self._text = None
        self._resumed.pop(_TEXT, None)
        draft = _Draft(first=event, last=event, role=role)
        self._drafts.append(draft)
        self.size += DRAFT_BYTES
        return draft

    def _resumed_draft(self, name: str | None, event: Event) -> _Draft | None:
        known = self._resumed.pop(name, None)
        body = {} if known is None else raw_members(known.body)
        if known is None or not body:
            return None
        draft = _Draft(first=_beginning_of(known, event), last=_end_of(known, event), role=known.role)
        if known.role == "plan":
            draft.entries = bytes(body["entries"])
            draft.size = len(draft.entries)
        else:
            draft.message_id = bytes(body["messageId"]) if "messageId" in body else None
            for block in _items(bytes(body["content"])):
                draft.add(block)
        self._drafts.append(draft)
        self.size += DRAFT_BYTES + draft.size
        return draft

    def _reopened(self, event: Event, name: str) -> _Draft | None:
        known = self._known.pop(name, None)
        if known is None:
            return None
        # It began earlier: new text follows, as if all had been folded at once.
        first = _beginning_of(known, event)
        draft = _Draft(first=first, last=first, role=known.role, tool_call_id=name)
        body = raw_members(known.body)
        if known.role == "event":
            draft.first = attrs.evolve(first, type=Gap.type, data=bytes(body.get("data", b"{}")))
            filled = _items(bytes(body.get("filled", b"[]")))
            draft.filled = [_filled_draft(first, raw_members(item)) for item in filled]
            draft.size = len(draft.first.data) + sum(DRAFT_BYTES + one.size for one in draft.filled)
        elif known.role == "terminal":
            draft.members = members = members_of(body.get("terminal", b"{}"))
            output, end = members.pop("output", b'""'), members.pop("outputEnd", b'""')
            draft.output, draft.output_end = [parse_foreign_json(output)], [parse_foreign_json(end)]
            draft.output_size = sum(map(_length, (*draft.output, *draft.output_end)))
            draft.omitted_bytes = parse_foreign_json(members.pop("omittedBytes", b"0"))
            if not _given(members.get("exitStatus", b"null")):
                members.pop("exitStatus", None)
            draft.size = sum(map(len, members.values())) + draft.output_size
        else:
            draft.members = members_of(body.get("toolCall", b"{}"))
            draft.omitted = parse_foreign_json(body.get("omitted", b"[]"))
            draft.size = sum(map(len, draft.members.values()))
        return draft


def _filled_draft(event: Event, body: Mapping[str, Any]) -> _Draft:
    """Of what a stored gap has."""
    role: MessageRole = parse_foreign_json(body["role"])
    draft = _Draft(first=event, last=event, role=role)
    if role == "tool":
        draft.members = members_of(body["toolCall"])
        draft.omitted = parse_foreign_json(body.get("omitted", b"[]"))
        draft.size = sum(map(len, draft.members.values()))
    else:
        draft.message_id = bytes(body["messageId"]) if "messageId" in body else None
        for block in _items(bytes(body["content"])):
            draft.add(block)
    return draft


def _length(text: str) -> int:
    """Bytes of a text in JSON: those of its pieces together are those of the whole, however it is folded."""
    return len(dump_foreign_json(text)) - 2


#: Of the resumed text; resumed plans are named by their turns.
_TEXT = "\0text"


def _name_of(resumed: Message) -> str | None:
    return resumed.turn_id if resumed.role == "plan" else _TEXT


def _beginning_of(known: Message, event: Event) -> Event:
    """For the draft of a stored message that ``event`` changes."""
    cursor = attrs.evolve(event.cursor, seq=known.first_seq)
    return attrs.evolve(event, cursor=cursor, turn_id=known.turn_id, at=known.at)


def _end_of(known: Message, event: Event) -> Event:
    return attrs.evolve(event, cursor=attrs.evolve(event.cursor, seq=known.last_seq), at=known.updated_at)


def _is_told(event: Event) -> bool:
    """Whether an event is a message."""
    is_completed = event.type == TurnEnded.type and members_of(event.data).get("outcome") == b'"completed"'
    return event.type in _EVENTS and not is_completed


def changed_message(event: Event, update: Update) -> str | None:
    """The id of the tool call, terminal or gap that an event changes."""
    if event.type in _TERMINALS:
        return _terminal_id(update)
    if event.type == HistoryFilled.type and _role_of(update) is not None:
        return _gap_name(event)
    return _tool_call_id(update) if _text(update.get("sessionUpdate")) in _TOOL_KINDS else None


def _role_of(update: Update) -> MessageRole | None:
    """What of a gap an update is; None if it changes another message, or none."""
    kind = _text(update.get("sessionUpdate")) or ""
    role = "tool" if kind == "tool_call" else _TEXT_ROLES.get(kind)
    return None if role == "user" else role


def _gap_name(event: Event) -> str:
    return _GAP + bytes(raw_members(event.data)["gap"]).decode()


def _message_id(update: Update) -> _Json | None:
    named = update.get("messageId", b"")
    return named if named.startswith(b'"') else None


def _changes(update: Update) -> dict[str, _Json]:
    """What an update changes of its tool call."""
    return {name: value for name, value in update.items() if name != "sessionUpdate" and _given(value)}


def _begins_call(update: Update) -> bool:
    return _text(update.get("sessionUpdate")) == "tool_call"


def _tool_call_id(update: Update) -> str:
    """An id is a string; other values there are used as strings."""
    raw = update.get("toolCallId", b"null")
    if len(raw) > _MAX_ID and not raw.startswith(b'"'):
        return hashlib.sha256(raw).hexdigest()
    told = parse_foreign_json(raw)
    text = storable(told if isinstance(told, str) else dump_foreign_json(told).decode())
    return _digest(text) if len(text) > _MAX_ID or text.startswith((_TERMINAL, _GAP)) else text


def _terminal_id(said: Update) -> str:
    text = storable(_TERMINAL + str(parse_foreign_json(said.get("terminalId", b"null"))))
    return text if len(text) <= _MAX_ID else _TERMINAL + _digest(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def update_of(event: Event) -> Update:
    """The update in an event, or what it says of a terminal; empty if there is none, or it is nested too deeply for a
    page to show."""
    if event.type in _TERMINALS:
        return members_of(event.data)
    if event.type not in ("session_update", HistoryFilled.type):
        return {}
    try:
        return {} if is_too_deep(event.data) else members_of(raw_members(event.data).get("update", b"{}"))
    except DecodeError:
        return {}


def _object(members: dict[str, _Json]) -> _Json:
    return b"{%b}" % b",".join(b"%b:%b" % (dump_foreign_json(name), value) for name, value in members.items())


def _items(raw: _Json) -> list[_Json]:
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


def _plain_text(block: _Json) -> str | None:
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


def _text(raw: _Json | None) -> str | None:
    """A short string; otherwise None."""
    if raw is None or len(raw) > _MAX_ID or not raw.startswith(b'"'):
        return None
    value: str = parse_foreign_json(raw)
    return value


def _given(raw: _Json | None) -> _Json | None:
    return None if raw == b"null" else raw


class _TextBlock(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["text"]
    text: str


_read_text_block = msgspec.json.Decoder(_TextBlock).decode
_read_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
