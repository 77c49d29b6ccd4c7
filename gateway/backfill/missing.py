"""What the log lacks of a turn that OpenCode remembers whole. Pure: events and an exchange in, updates out.

Where it is not certain what is missing, nothing is said to be.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from gateway.container.opencode import Exchange, Text, ToolCall
from gateway.wire.codec import DecodeError, parse_foreign_json
from gateway.wire.events import Event, Gap
from gateway.wire.steps import Steps

_KINDS = {"agent_message_chunk": False, "agent_thought_chunk": True}
#: A step ends after so many events or items.
_STEP: Final = 200
_FINISHED = {"completed", "failed"}
#: ACP's kind of each of OpenCode's tools; its own ``opencode acp`` names the rest ``other`` too.
_TOOL_KINDS = {
    **dict.fromkeys(("bash",), "execute"),
    **dict.fromkeys(("edit", "write", "patch", "multiedit"), "edit"),
    **dict.fromkeys(("read",), "read"),
    **dict.fromkeys(("grep", "glob", "list"), "search"),
    **dict.fromkeys(("webfetch",), "fetch"),
}

Update = dict[str, Any]


class Uncertain(Exception):
    """The two do not match for certain; ``str()`` says why."""


@attrs.define
class _Told:
    """What the log has of a turn: texts as they stand between its gaps, and the last status of each tool call."""

    #: The seq of the first gap.
    gap: int | None = None
    names_messages: bool = False
    said: list[list[str]] = attrs.field(factory=lambda: [[]])
    thought: list[list[str]] = attrs.field(factory=lambda: [[]])
    calls: dict[str, str | None] = attrs.field(factory=dict)

    def add(self, event: Event) -> None:
        if event.type == Gap.type:
            self.gap = self.gap or event.seq
            self.said.append([])
            self.thought.append([])
            return
        update = _update(event)
        kind, call_id, content = update.get("sessionUpdate"), update.get("toolCallId"), update.get("content")
        if kind in _KINDS:
            if not isinstance(content, dict) or not isinstance(content.get("text"), str):
                raise Uncertain("the agent has said something that is no text")
            (self.thought if _KINDS[kind] else self.said)[-1].append(content["text"])
            self.names_messages = self.names_messages or "messageId" in update
        elif isinstance(call_id, str):
            status = update.get("status")
            self.calls[call_id] = status if isinstance(status, str) else self.calls.get(call_id)


def gap_in(events: Iterable[Event]) -> int | None:
    """The seq of the first gap among a turn's events."""
    return next((event.seq for event in events if event.type == Gap.type), None)


def missing(exchange: Exchange, events: Sequence[Event]) -> Steps[list[Update]]:
    """The updates that would make the log whole, in the agent's order.

    ``events``: the session's updates of this turn and the gaps among them. Raises ``Uncertain``.
    """
    if exchange.mixed:
        raise Uncertain("OpenCode has put something of its own into the turn")
    told = _Told()
    for number, event in enumerate(events):
        if number % _STEP == 0:
            yield
        told.add(event)
    if not told.calls.keys() <= {item.call_id for item in exchange.items if isinstance(item, ToolCall)}:
        raise Uncertain("OpenCode does not know a tool call that the log has")
    ranges = {
        thought: _lost(_whole(exchange, thought=thought), ["".join(piece) for piece in pieces])
        for thought, pieces in ((False, told.said), (True, told.thought))
    }
    return (yield from _updates(exchange, told, ranges))


def _updates(exchange: Exchange, told: _Told, ranges: dict[bool, tuple[int, int]]) -> Steps[list[Update]]:
    place = {False: 0, True: 0}
    updates: list[Update] = []
    for number, item in enumerate(exchange.items):
        if number % _STEP == 0:
            yield
        if isinstance(item, ToolCall):
            if item.over and told.calls.get(item.call_id) not in _FINISHED:
                updates.append(_tool_call(item, known=item.call_id in told.calls))
            continue
        begin, end = ranges[item.thought]
        at = place[item.thought]
        place[item.thought] += len(item.text)
        if text := item.text[max(begin - at, 0) : max(end - at, 0)]:
            updates.append(_chunk(item, text, names_messages=told.names_messages))
    return updates


def _whole(exchange: Exchange, *, thought: bool) -> str:
    return "".join(item.text for item in exchange.items if isinstance(item, Text) and item.thought is thought)


def _lost(whole: str, pieces: Sequence[str]) -> tuple[int, int]:
    """Which part of the text fell into the gaps between these pieces of it; an empty range where none did."""
    if "".join(pieces) == whole:
        return 0, 0
    if any(pieces[1:-1]) or len(pieces) < 2:
        raise Uncertain("it cannot be told which gap the missing text fell into")
    before, after = pieces[0], pieces[-1]
    fits = len(before) + len(after) <= len(whole)
    if not (fits and whole.startswith(before) and whole.endswith(after)):
        raise Uncertain("the agent's text in the log is not what OpenCode remembers")
    return len(before), len(whole) - len(after)


def _chunk(item: Text, text: str, *, names_messages: bool) -> Update:
    kind = "agent_thought_chunk" if item.thought else "agent_message_chunk"
    named = {"messageId": item.message_id} if names_messages else {}
    return {"sessionUpdate": kind, **named, "content": {"type": "text", "text": text}}


def _tool_call(call: ToolCall, *, known: bool) -> Update:
    """The call with its outcome, as ``opencode acp`` tells it."""
    state = call.state
    failed = call.status == "error"
    output = state.get("error" if failed else "output")
    title = state.get("title") or call.tool
    update: Update = {"sessionUpdate": "tool_call_update" if known else "tool_call", "toolCallId": call.call_id}
    update |= {"status": "failed" if failed else "completed", "title": title}
    if not known:
        update |= {"kind": _TOOL_KINDS.get(call.tool, "other"), "rawInput": state.get("input") or {}}
    if isinstance(output, str):
        update["content"] = [{"type": "content", "content": {"type": "text", "text": output}}]
        update["rawOutput"] = {"error" if failed else "output": output}
        if isinstance(state.get("metadata"), dict):
            update["rawOutput"]["metadata"] = state["metadata"]
    return update


def _update(event: Event) -> Update:
    try:
        value = parse_foreign_json(event.data)
    except DecodeError:
        return {}
    update = value.get("update") if isinstance(value, dict) else None
    return update if isinstance(update, dict) else {}
