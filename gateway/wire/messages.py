"""The transcript: what people read, folded from events. Pure: events in, messages out.

Roles: ``user`` and ``assistant`` and ``thought`` have ``content`` (ACP content blocks, adjacent text joined) and, where
the agent named it, ``messageId``; ``tool`` has ``toolCall`` (ACP's tool call with all its updates applied), ``plan``
has ``entries`` (the turn's newest plan).
Kinds of update that are none of these (commands, modes, usage) stay in the log and make no message.
"""

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Literal

import attrs

from gateway.wire.codec import DecodeError, dump_foreign_json, is_too_deep, parse_foreign_json, storable
from gateway.wire.events import Event, TurnEnded, TurnStarted
from gateway.wire.times import timestamp

#: An id of the agent's that is longer is stored as its digest: an index takes no more than some 2,700 bytes.
_MAX_ID = 200


MessageRole = Literal["user", "assistant", "thought", "tool", "plan"]
#: Either changes the call of its id, and begins one where there is none.
_TOOL_KINDS = ("tool_call", "tool_call_update")
_TEXT_ROLES: dict[str, MessageRole] = {
    "agent_message_chunk": "assistant",
    "agent_thought_chunk": "thought",
    "user_message_chunk": "user",
}


@attrs.frozen(kw_only=True)
class Message:
    """One message of a session; ``first_seq`` to ``last_seq`` is the range of events that it covers."""

    first_seq: int
    last_seq: int
    role: MessageRole
    turn_id: str | None
    tool_call_id: str | None
    at: datetime
    updated_at: datetime
    #: JSON object of what the role has: ``content``, ``toolCall`` or ``entries``.
    body: bytes

    @property
    def id(self) -> str:
        return str(self.first_seq)

    def to_json(self) -> dict[str, Any]:
        head = {"id": self.id, "role": self.role, "turnId": self.turn_id}
        times = {"at": timestamp(self.at), "updatedAt": timestamp(self.updated_at)}
        body: dict[str, Any] = parse_foreign_json(self.body)
        return head | times | body


@attrs.define(kw_only=True)
class _Draft:
    """A message that may still grow."""

    first: Event
    last: Event
    role: MessageRole
    message_id: str | None = None
    tool_call_id: str | None = None
    #: Content blocks; the text of adjacent text blocks is kept in pieces, so that a long message folds in linear time.
    blocks: list[dict[str, Any]] = attrs.field(factory=list)
    pieces: list[str] = attrs.field(factory=list)
    body: dict[str, Any] = attrs.field(factory=dict)

    def add(self, block: Any) -> None:
        if not isinstance(block, dict):
            return
        if set(block) == {"type", "text"} and block["type"] == "text" and isinstance(block["text"], str):
            self.pieces.append(block["text"])
            return
        self.close_text()
        self.blocks.append(block)

    def close_text(self) -> None:
        if self.pieces:
            self.blocks.append({"type": "text", "text": "".join(self.pieces)})
            self.pieces = []

    def to_message(self) -> Message:
        body = self.body
        if self.role in ("user", "assistant", "thought"):
            self.close_text()
            named = {} if self.message_id is None else {"messageId": self.message_id}
            body = named | {"content": self.blocks}
        return Message(
            first_seq=self.first.seq,
            last_seq=self.last.seq,
            role=self.role,
            turn_id=self.first.turn_id,
            tool_call_id=self.tool_call_id,
            at=self.first.at,
            updated_at=self.last.at,
            body=dump_foreign_json(body),
        )


class Folder:
    """Folds one session's events, in their order, into messages.

    ``known`` are stored messages of tool calls that these events may go on to change.
    """

    def __init__(self, known: Iterable[Message] = ()) -> None:
        self._drafts: list[_Draft] = []
        self._text: _Draft | None = None
        self._tools: dict[str, _Draft] = {}
        self._plans: dict[str | None, _Draft] = {}
        self._known: dict[str, Message] = {}
        self.learn(known)

    def add(self, event: Event) -> None:
        """Take the next event of the session; kinds without a message are passed over."""
        if event.type in (TurnStarted.type, TurnEnded.type):
            self._text = None
            self._plans.pop(None, None)
            self._plans.pop(event.turn_id, None)
        if event.type == TurnStarted.type:
            draft = self._begin(event, "user")
            for block in _member(parse_foreign_json(event.data), "prompt", list) or []:
                draft.add(block)
        elif event.type == "session_update":
            update = _update(event)
            kind = update.get("sessionUpdate")
            fold = self._folds().get(kind) if isinstance(kind, str) else None
            if fold:
                fold(event, update)

    def add_all(self, events: Iterable[Event]) -> None:
        """Take the next events of the session."""
        for event in events:
            self.add(event)

    @property
    def tool_calls(self) -> set[str]:
        """The ids of the tool calls whose messages are known here."""
        return self._tools.keys() | self._known.keys()

    def learn(self, known: Iterable[Message]) -> None:
        """Take stored messages of tool calls that the next events may go on to change."""
        self._known.update({message.tool_call_id: message for message in known if message.tool_call_id is not None})

    def messages(self) -> list[Message]:
        """All messages so far, oldest first."""
        return sorted((draft.to_message() for draft in self._drafts), key=lambda message: message.first_seq)

    def _folds(self) -> dict[str, Callable[[Event, dict[str, Any]], None]]:
        texts = dict.fromkeys(_TEXT_ROLES, self._fold_text)
        return texts | dict.fromkeys(_TOOL_KINDS, self._fold_tool_call) | {"plan": self._fold_plan}

    def _fold_text(self, event: Event, update: dict[str, Any]) -> None:
        role = _TEXT_ROLES[update["sessionUpdate"]]
        if role == "user" and event.turn_id is not None:
            return  # the agent echoes the prompt, which stands in turn_started already
        message_id = _member(update, "messageId", str)
        text = self._text
        if text is None or (text.role, text.message_id, text.first.turn_id) != (role, message_id, event.turn_id):
            text = self._begin(event, role)
            text.message_id = message_id
            self._text = text
        text.add(update.get("content"))
        text.last = event

    def _fold_tool_call(self, event: Event, update: dict[str, Any]) -> None:
        tool_call_id = _tool_call_id(update)
        draft = self._tools.get(tool_call_id)
        if draft is None:
            draft = self._reopen(event, tool_call_id) or self._begin(event, "tool")
            draft.tool_call_id = tool_call_id
            self._tools[tool_call_id] = draft
        changes = {name: value for name, value in update.items() if name != "sessionUpdate" and value is not None}
        draft.body = {"toolCall": draft.body.get("toolCall", {}) | changes}
        draft.last = event

    def _fold_plan(self, event: Event, update: dict[str, Any]) -> None:
        draft = self._plans.get(event.turn_id)
        if draft is None:
            draft = self._plans[event.turn_id] = self._begin(event, "plan")
        draft.body = {"entries": _member(update, "entries", list) or []}
        draft.last = event

    def _begin(self, event: Event, role: MessageRole) -> _Draft:
        self._text = None
        draft = _Draft(first=event, last=event, role=role)
        self._drafts.append(draft)
        return draft

    def _reopen(self, event: Event, tool_call_id: str) -> _Draft | None:
        known = self._known.get(tool_call_id)
        if known is None:
            return None
        first = attrs.evolve(
            event, cursor=attrs.evolve(event.cursor, seq=known.first_seq), turn_id=known.turn_id, at=known.at
        )
        # It has begun long ago: the text of now goes on behind it, as it does where all is folded at once.
        draft = _Draft(first=first, last=first, role="tool", body=parse_foreign_json(known.body))
        self._drafts.append(draft)
        return draft


def changed_tool_calls(events: Iterable[Event]) -> set[str]:
    """The ids of the tool calls that these events change."""
    updates = (_update(event) for event in events if event.type == "session_update")
    return {_tool_call_id(update) for update in updates if update.get("sessionUpdate") in _TOOL_KINDS}


def _tool_call_id(update: dict[str, Any]) -> str:
    """An id is a text; an agent that has another kind of value there means the same by the same."""
    told = update.get("toolCallId")
    text = storable(told if isinstance(told, str) else dump_foreign_json(told).decode())
    return text if len(text) <= _MAX_ID else hashlib.sha256(text.encode()).hexdigest()


def _update(event: Event) -> dict[str, Any]:
    """The update; empty for what is none, or is nested so deeply that no page could show it."""
    try:
        value = parse_foreign_json(event.data)
    except DecodeError:
        return {}
    return {} if is_too_deep(event.data) else _member(value, "update", dict) or {}


def _member(value: Any, name: str, kind: type) -> Any:
    member = value.get(name) if isinstance(value, dict) else None
    return member if isinstance(member, kind) else None
