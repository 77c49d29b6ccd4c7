"""What is said to be missing of a turn makes the log whole, or nothing is said."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backfill.missing import Uncertain, Update, missing
from gateway.container.opencode import Exchange, exchanges
from gateway.wire.events import Cursor, Event
from gateway.wire.steps import at_once

GAP: Update = {}

PIECES = st.text(alphabet="ab ", min_size=1, max_size=4)
ITEMS = st.lists(st.tuples(st.sampled_from(["text", "reasoning", "tool"]), PIECES), min_size=1, max_size=6)


def message(*parts: dict[str, Any], **info: Any) -> dict[str, Any]:
    return {"info": {"id": "msg_1", "role": "assistant", **info}, "parts": list(parts)}


def asked(text: str = "do it", **members: Any) -> dict[str, Any]:
    return message({"type": "text", "text": text, **members}, role="user")


def exchange_of(items: Sequence[tuple[str, str]]) -> Exchange:
    parts: list[dict[str, Any]] = []
    for number, (kind, text) in enumerate(items):
        state = {"status": "completed", "input": {"command": text}, "output": text, "title": text, "metadata": {}}
        tool = {"type": "tool", "callID": f"call-{number}", "tool": "bash", "state": state}
        parts.append(tool if kind == "tool" else {"type": kind, "text": text})
    (exchange,) = at_once(exchanges([asked(), message(*parts)]))
    return exchange


def told_whole(items: Sequence[tuple[str, str]]) -> list[Update]:
    """The updates by which the agent itself would have told the items, text letter by letter."""
    updates: list[Update] = []
    for number, (kind, text) in enumerate(items):
        call = {"toolCallId": f"call-{number}"}
        if kind == "tool":
            updates.append({"sessionUpdate": "tool_call", **call, "status": "pending"})
            updates.append({"sessionUpdate": "tool_call_update", **call, "status": "completed"})
            continue
        chunk = "agent_thought_chunk" if kind == "reasoning" else "agent_message_chunk"
        updates += [{"sessionUpdate": chunk, "content": {"type": "text", "text": letter}} for letter in text]
    return updates


def logged(updates: Sequence[Update]) -> list[Event]:
    at = datetime.now(UTC)
    return [
        Event(
            cursor=Cursor(1, seq),
            type="session_update" if update else "gap",
            session_id="s",
            turn_id="t",
            agent_id="opencode",
            at=at,
            data=json.dumps({"sessionId": "x", "update": update}).encode(),
        )
        for seq, update in enumerate(updates, start=1)
    ]


def text(updates: Sequence[Update], kind: str) -> str:
    return "".join(update["content"]["text"] for update in updates if update.get("sessionUpdate") == kind)


def finished(updates: Sequence[Update]) -> list[str]:
    return sorted(update["toolCallId"] for update in updates if update.get("status") == "completed")


@given(items=ITEMS, data=st.data())
def test_whatever_one_gap_took_is_put_back_where_it_was(items: list[tuple[str, str]], data: st.DataObject) -> None:
    whole = told_whole(items)
    begin = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(begin, len(whole)))
    before, after = whole[:begin], whole[end:]
    filled = at_once(missing(exchange_of(items), logged([*before, GAP, *after])))
    for kind in ("agent_message_chunk", "agent_thought_chunk"):
        assert text([*before, *filled, *after], kind) == text(whole, kind)
    assert finished([*before, *filled, *after]) == finished(whole)


@given(items=ITEMS, data=st.data())
def test_what_has_been_filled_in_is_not_filled_in_again(items: list[tuple[str, str]], data: st.DataObject) -> None:
    whole = told_whole(items)
    begin = data.draw(st.integers(0, len(whole)))
    kept = [*whole[:begin], GAP]
    filled = at_once(missing(exchange_of(items), logged(kept)))
    assert at_once(missing(exchange_of(items), logged([*kept, *filled]))) == []


@given(items=ITEMS, data=st.data())
def test_however_many_gaps_there_are_nothing_is_told_twice(items: list[tuple[str, str]], data: st.DataObject) -> None:
    whole = told_whole(items)
    kept = [update if data.draw(st.booleans()) else GAP for update in whole]
    try:
        filled = at_once(missing(exchange_of(items), logged(kept)))
    except Uncertain:
        return
    for kind in ("agent_message_chunk", "agent_thought_chunk"):
        assert len(text([*kept, *filled], kind)) == len(text(whole, kind))
    assert set(finished(filled)).isdisjoint(finished(kept))


@pytest.mark.parametrize(
    ("updates", "why"),
    [
        ([{"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "else"}}, GAP], "not what"),
        ([{"sessionUpdate": "agent_message_chunk", "content": {"type": "image"}}, GAP], "no text"),
        ([{"sessionUpdate": "tool_call", "toolCallId": "unheard of"}, GAP], "does not know"),
    ],
)
def test_what_does_not_match_is_uncertain(updates: list[Update], why: str) -> None:
    with pytest.raises(Uncertain, match=why):
        at_once(missing(exchange_of([("text", "said")]), logged(updates)))


def test_a_turn_into_which_opencode_has_put_something_is_uncertain() -> None:
    compacted = message({"type": "compaction"}, role="user")
    go_on = asked("Continue", synthetic=True)
    (exchange,) = at_once(
        exchanges([asked(), message(), compacted, message(), go_on, message({"type": "text", "text": "x"})])
    )
    with pytest.raises(Uncertain, match="of its own"):
        at_once(missing(exchange, logged([GAP])))


@pytest.mark.parametrize(
    ("info", "over"),
    [
        ({"finish": "stop", "time": {"created": 1, "completed": 2}}, True),
        ({"finish": "tool-calls", "time": {"created": 1, "completed": 2}}, False),
        ({"finish": "stop", "time": {"created": 1}}, False),
        ({"error": {"name": "MessageAbortedError", "data": {"message": "Aborted"}}, "time": {"created": 1}}, True),
        ({"time": {"created": 1}}, False),
        ({"finish": 5, "time": "soon", "error": []}, False),
    ],
)
def test_a_turn_is_over_when_its_last_answer_is(info: dict[str, Any], over: bool) -> None:
    (exchange,) = at_once(exchanges([asked(), message(**info)]))
    assert exchange.over is over


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["info", "parts", "role", "type", "text", "state", "time"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@given(answer=JSON)
def test_a_history_of_any_shape_is_read_without_harm(answer: Any) -> None:
    for exchange in at_once(exchanges(answer)):
        assert exchange.over in (True, False)
