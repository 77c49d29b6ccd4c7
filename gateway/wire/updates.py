"""What an agent's updates, and the events beside them, say of messages: which one they change, and what in it. Pure."""

import hashlib
from collections.abc import Mapping
from typing import Final, Literal

from gateway.wire.codec import (
    DecodeError,
    dump_foreign_json,
    is_too_deep,
    members_of,
    parse_foreign_json,
    raw_members,
    storable,
)
from gateway.wire.events import Event, Gap, HistoryFilled, TerminalEnded, TerminalOutput, TerminalStarted

#: A part of a JSON document, unparsed; and an ACP update by its members.
Json = bytes
Update = Mapping[str, Json]

#: A longer id of an agent's is stored as its digest: an index allows some 2,700 bytes.
_MAX_ID = 200
#: Kinds of update that are a text, with the role of its message.
TEXT_ROLES: Final[Mapping[str, Literal["assistant", "thought", "user"]]] = {
    "agent_message_chunk": "assistant",
    "agent_thought_chunk": "thought",
    "user_message_chunk": "user",
}
#: Either changes the call of its id, and begins one where there is none.
TOOL_KINDS = ("tool_call", "tool_call_update")
TERMINALS = frozenset((TerminalStarted.type, TerminalOutput.type, TerminalEnded.type))
#: Before a terminal's id, and a gap's number, where a tool call's id could stand; a call's id that begins so is stored
#: as its digest.
_TERMINAL, _GAP = "terminal ", "gap "


def update_of(event: Event) -> Update:
    """The update in an event, or what it says of a terminal; empty if there is none, or it is nested too deeply for a
    page to show."""
    if event.type in TERMINALS:
        return members_of(event.data)
    if event.type not in ("session_update", HistoryFilled.type):
        return {}
    try:
        return {} if is_too_deep(event.data) else members_of(raw_members(event.data).get("update", b"{}"))
    except DecodeError:
        return {}


def changed_message(event: Event, update: Update) -> str | None:
    """The id of the tool call, terminal or gap that an event changes."""
    if event.type in TERMINALS:
        return terminal_id_of(update)
    if event.type == HistoryFilled.type and role_in_gap(update) is not None:
        return gap_name(event)
    return tool_call_id_of(update) if short_text(update.get("sessionUpdate")) in TOOL_KINDS else None


def role_in_gap(update: Update) -> Literal["assistant", "thought", "tool"] | None:
    """What of a gap an update is; None if it changes another message, or none."""
    kind = short_text(update.get("sessionUpdate")) or ""
    role = TEXT_ROLES.get(kind)
    return "tool" if kind == "tool_call" else None if role == "user" else role


def message_id_of(update: Update) -> Json | None:
    named = update.get("messageId", b"")
    return named if named.startswith(b'"') else None


def changes_of(update: Update) -> dict[str, Json]:
    """What an update changes of its tool call."""
    return {name: value for name, value in update.items() if name != "sessionUpdate" and given(value)}


def begins_call(update: Update) -> bool:
    return short_text(update.get("sessionUpdate")) == "tool_call"


def tool_call_id_of(update: Update) -> str:
    """An id is a string; other values there are used as strings."""
    raw = update.get("toolCallId", b"null")
    if len(raw) > _MAX_ID and not raw.startswith(b'"'):
        return hashlib.sha256(raw).hexdigest()
    told = parse_foreign_json(raw)
    text = storable(told if isinstance(told, str) else dump_foreign_json(told).decode())
    return _digest(text) if len(text) > _MAX_ID or text.startswith((_TERMINAL, _GAP)) else text


def terminal_id_of(said: Update) -> str:
    text = storable(_TERMINAL + str(parse_foreign_json(said.get("terminalId", b"null"))))
    return text if len(text) <= _MAX_ID else _TERMINAL + _digest(text)


def gap_name(event: Event) -> str:
    """What stands for a tool call's id in the message of a gap; ``event`` is the gap, or says what it lost."""
    number = str(event.seq) if event.type == Gap.type else bytes(raw_members(event.data)["gap"]).decode()
    return _GAP + number


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def short_text(raw: Json | None) -> str | None:
    """A short string; otherwise None."""
    if raw is None or len(raw) > _MAX_ID or not raw.startswith(b'"'):
        return None
    value: str = parse_foreign_json(raw)
    return value


def given(raw: Json | None) -> Json | None:
    return None if raw == b"null" else raw
