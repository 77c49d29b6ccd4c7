"""Events folded into messages: values in, values out."""

import inspect
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from acp import schema
from hypothesis import given
from hypothesis import strategies as st

from gateway.ingest import translate
from gateway.wire.codec import storable
from gateway.wire.events import Cursor, Event, EventData, SessionCleared
from gateway.wire.folder import Folder
from gateway.wire.messages import MAX_MEMBERS, MAX_OMITTED, MAX_TEXT, MAX_TOOL_CALL, Message
from gateway.wire.updates import changed_message, update_of
from tests.fixtures.folding import CASES, Case, event_of
from tests.fixtures.folding import fold as folded

START = datetime(2026, 11, 22, tzinfo=UTC)
#: All that the Agent Client Protocol has.
KINDS_OF_ACP = set(re.findall(r'session_update: Annotated\[Literal\["(\w+)"\]', inspect.getsource(schema)))


def event(seq: int, type: str, data: Any, turn: str | None = "t1") -> Event:
    return Event(
        cursor=Cursor(1, seq),
        type=type,
        session_id="s",
        turn_id=turn,
        agent_id="demo",
        at=START + timedelta(seconds=seq),
        data=json.dumps(data).encode(),
    )


def update(seq: int, update_kind: str, turn: str | None = "t1", **members: Any) -> Event:
    return event(seq, "session_update", {"sessionId": "x", "update": {"sessionUpdate": update_kind, **members}}, turn)


def chunk(seq: int, text: str, kind: str = "agent_message_chunk", turn: str | None = "t1", **members: Any) -> Event:
    return update(seq, kind, turn, content={"type": "text", "text": text}, **members)


def fold(*events: Event, known: list[Message] | None = None) -> list[Message]:
    folder = Folder(known or [])
    for one in events:
        folder.add(one, update_of(one))
    return list(folder.messages())


def shown(messages: list[Message]) -> list[tuple[str, Any]]:
    return [(message.role, json.loads(message.body)) for message in messages]


def text(value: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": value}]}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_events_fold_into_the_messages_of_the_fixture(case: Case) -> None:
    assert folded(case.events) == case.messages


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_fold_that_is_cut_anywhere_has_the_messages_of_one_that_is_not(case: Case) -> None:
    """Its messages are stored at the cut, and those of them that go on are read again behind it."""
    events = [event_of(envelope) for envelope in case.events]
    for cut in range(1, len(events)):
        folder = Folder()
        for one in events[:cut]:
            folder.add(one, update_of(one))
        goes_on = folder.open
        stored = list(folder.messages())
        rest = folder.successor(stored, goes_on)
        # Of several calls with one id the newest.
        rest.learn(stored)
        for one in events[cut:]:
            rest.add(one, update_of(one))
            if one.type == SessionCleared.type:
                stored.clear()
        written = {message.id: message for message in stored} | {message.id: message for message in rest.messages()}
        told = [json.loads(b"".join(written[key].to_json())) for key in sorted(written, key=int)]
        assert told == case.messages, cut


def test_a_long_text_and_a_long_output_are_the_same_messages_however_often_they_are_written() -> None:
    head = {"sessionId": "s", "turnId": "t", "agentId": "demo", "at": "2026-11-22T09:00:00.000Z"}
    said = '\x1b[1m"é' * 6_000
    chunk = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": said}}
    kinds: list[tuple[str, Any]] = [
        *[("session_update", {"sessionId": "a", "update": chunk})] * 40,
        ("terminal_started", {"terminalId": "t1", "command": "yes"}),
        *[("terminal_output", {"terminalId": "t1", "text": said})] * 40,
    ]
    envelopes = [{"id": f"1-{n}", "type": kind, "data": data, **head} for n, (kind, data) in enumerate(kinds, 1)]
    events = [event_of(envelope) for envelope in envelopes]
    folder, written = Folder(), dict[str, Message]()
    for one in events:
        folder.add(one, update_of(one))
        goes_on, stored = folder.open, list(folder.messages())
        written |= {message.id: message for message in stored}
        folder = folder.successor(stored, goes_on)
        folder.learn(written.values())
    told = [json.loads(b"".join(written[key].to_json())) for key in sorted(written, key=int)]
    assert told == folded(envelopes)
    assert len(told) > 2
    assert told[-1]["terminal"]["omittedBytes"] > 0


def test_the_fixture_has_every_type_of_event_and_every_kind_of_update() -> None:
    events = [event for case in CASES for event in case.events]
    types = {event["type"] for event in events}
    # A reset says that what was folded counts no more.
    assert types >= {cls.type for cls in EventData.__subclasses__()} - {"reset"}
    assert types >= translate.PASSED_ON
    updates = [event["data"].get("update") for event in events if isinstance(event["data"], dict)]
    kinds = {json.dumps(update.get("sessionUpdate")) for update in updates if isinstance(update, dict)}
    assert kinds >= {json.dumps(kind) for kind in KINDS_OF_ACP}


def test_chunks_of_one_kind_are_one_message_that_covers_their_range() -> None:
    [message] = fold(chunk(3, "a"), chunk(4, "b"), chunk(5, "c"))
    assert shown([message]) == [("assistant", text("abc"))]
    assert (message.id, message.first_seq, message.last_seq) == ("3", 3, 5)
    assert message.updated_at - message.at == timedelta(seconds=2)


def test_another_kind_of_chunk_begins_another_message() -> None:
    messages = fold(chunk(1, "hm", "agent_thought_chunk"), chunk(2, "a"), chunk(3, "hm", "agent_thought_chunk"))
    assert [message.role for message in messages] == ["thought", "assistant", "thought"]


def test_a_tool_call_between_chunks_keeps_its_place() -> None:
    messages = fold(chunk(1, "before"), update(2, "tool_call", toolCallId="c", title="run"), chunk(3, "after"))
    assert [message.role for message in messages] == ["assistant", "tool", "assistant"]


def test_the_end_of_a_turn_ends_its_message() -> None:
    ended = event(2, "turn_ended", {"outcome": "completed"})
    started = event(3, "turn_started", {"prompt": [{"type": "text", "text": "more"}]}, "t2")
    messages = fold(chunk(1, "one"), ended, started, chunk(4, "two", turn="t2"))
    assert shown(messages) == [("assistant", text("one")), ("user", text("more")), ("assistant", text("two"))]


def test_messages_with_ids_of_the_agent_stay_apart() -> None:
    assert len(fold(chunk(1, "a", messageId="m1"), chunk(2, "b", messageId="m1"), chunk(3, "c", messageId="m2"))) == 2


def test_the_prompt_is_the_users_message_and_its_echo_is_not_shown_twice() -> None:
    image = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
    started = event(1, "turn_started", {"prompt": [{"type": "text", "text": "look"}, image]})
    assert shown(fold(started, chunk(2, "look", "user_message_chunk"))) == [
        ("user", {"content": [{"type": "text", "text": "look"}, image]})
    ]


def test_blocks_that_are_not_plain_text_stand_between_the_text_around_them() -> None:
    image = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
    noted = {"type": "text", "text": "n", "annotations": {"audience": ["user"]}}
    messages = fold(
        chunk(1, "a"),
        update(2, "agent_message_chunk", content=image),
        update(3, "agent_message_chunk", content=noted),
        chunk(4, "b"),
        chunk(5, "c"),
    )
    texts = [{"type": "text", "text": "a"}, image, noted, {"type": "text", "text": "bc"}]
    assert shown(messages) == [("assistant", {"content": texts})]


def test_a_tool_call_has_all_its_updates_applied() -> None:
    diff = [{"type": "diff", "path": "/a", "oldText": None, "newText": "hi"}]
    messages = fold(
        update(1, "tool_call", toolCallId="c", title="write", kind="edit", status="pending", rawInput={"path": "/a"}),
        update(2, "tool_call_update", toolCallId="c", status="in_progress", content=diff, title=None),
        update(3, "tool_call_update", toolCallId="c", status="completed", rawOutput={"ok": True}),
    )
    expected = {
        "toolCallId": "c",
        "title": "write",
        "kind": "edit",
        "status": "completed",
        "rawInput": {"path": "/a"},
        "content": diff,
        "rawOutput": {"ok": True},
    }
    assert shown(messages) == [("tool", {"toolCall": expected})]


def test_a_stored_tool_call_goes_on_under_its_id() -> None:
    known = fold(update(5, "tool_call", toolCallId="c", title="long", status="in_progress"))
    late = update(9, "tool_call_update", None, toolCallId="c", status="completed")
    assert changed_message(late, update_of(late)) == "c"
    [message] = fold(late, known=known)
    assert (message.id, message.last_seq, message.turn_id, message.at) == ("5", 9, "t1", known[0].at)
    assert json.loads(message.body)["toolCall"] == {"toolCallId": "c", "title": "long", "status": "completed"}


def test_a_turns_plan_is_its_newest_one_in_its_first_place() -> None:
    old, new = [{"content": "a", "status": "pending"}], [{"content": "a", "status": "completed"}]
    messages = fold(update(1, "plan", entries=old), chunk(2, "x"), update(3, "plan", entries=new))
    assert shown(messages) == [("plan", {"entries": new}), ("assistant", text("x"))]
    assert len(fold(update(1, "plan", entries=old), update(2, "plan", "t2", entries=new))) == 2


def test_kinds_without_a_message_and_nonsense_are_passed_over() -> None:
    odd = [
        update(1, "available_commands_update", availableCommands=[]),
        update(2, "usage_update", used=1),
        event(3, "session_update", {"update": "no object"}),
        event(4, "session_update", 5),
        event(5, "agent_status", {"status": "running"}),
        event(6, "turn_ended", {"outcome": "completed"}),
        update(7, "agent_message_chunk", content="no block"),
        update(8, "plan", entries="no list"),
    ]
    roles = [message.role for message in fold(*odd)]
    assert roles == ["assistant", "plan"]


def test_a_call_that_begins_after_its_ids_last_one_ended_or_in_another_turn_is_another_call() -> None:
    begun = update(1, "tool_call", toolCallId="c", title="first", status="in_progress")
    ended = update(2, "tool_call_update", toolCallId="c", status="completed")
    again = update(3, "tool_call", toolCallId="c", title="second")
    assert [json.loads(one.body)["toolCall"]["title"] for one in fold(begun, ended, again)] == ["first", "second"]
    assert [json.loads(one.body)["toolCall"]["title"] for one in fold(begun, again)] == ["second"]
    elsewhere = update(3, "tool_call", "t2", toolCallId="c", title="second")
    assert [json.loads(one.body)["toolCall"]["title"] for one in fold(begun, elsewhere)] == ["first", "second"]
    # The same where the first one was stored before.
    [known] = fold(begun, ended)
    late = update(4, "tool_call_update", toolCallId="c", status="failed")
    [message] = fold(again, late, known=[known])
    assert (message.id, json.loads(message.body)["toolCall"]["status"]) == ("3", "failed")


def test_an_event_that_says_something_is_a_message_in_its_place() -> None:
    messages = fold(chunk(1, "a"), event(2, "gap", {"reason": "skipped"}, None), chunk(3, "b"))
    assert [(message.role, message.turn_id) for message in messages] == [
        ("assistant", "t1"),
        ("event", None),
        ("assistant", "t1"),
    ]
    assert json.loads(messages[1].body) == {"event": "gap", "data": {"reason": "skipped"}}
    failed = {"outcome": "failed", "failure": "agent_died", "message": "It died."}
    assert shown(fold(event(1, "turn_ended", failed))) == [("event", {"event": "turn_ended", "data": failed})]


def test_a_line_end_between_the_tokens_of_an_event_does_not_part_a_line_of_an_export() -> None:
    odd = attrs.evolve(event(1, "container_event", None), data=b'{"event":\r\n"x",\n"data":{}}')
    [message] = fold(odd)
    assert b"\n" not in b"".join(message.to_json())


def test_ids_that_no_database_holds_are_stored_as_something_it_does() -> None:
    for odd in ("a\0b", "\ud800", "x" * 5000, ["\0"], {"\0": 1}, None):
        told = update(1, "tool_call_update", toolCallId=odd, status="completed")
        [message] = fold(told)
        assert changed_message(told, update_of(told)) == message.tool_call_id
        assert message.tool_call_id is not None
        assert storable(message.tool_call_id) == message.tool_call_id
        assert len(message.tool_call_id) <= 200
        assert json.loads(b"".join(message.to_json()))["toolCall"].get("toolCallId") == odd


def test_an_update_that_is_nested_too_deeply_makes_no_message() -> None:
    deep: Any = "bottom"
    for _ in range(900):
        deep = [deep]
    assert fold(update(1, "tool_call", toolCallId="c", rawInput=deep)) == []


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KINDS = st.sampled_from(["agent_message_chunk", "user_message_chunk", "tool_call", "tool_call_update", "plan"])
NAMES = st.sampled_from(["toolCallId", "content", "entries", "messageId", "status", "rawInput"])


@given(
    st.lists(
        st.builds(lambda members, kind: members | {"sessionUpdate": kind}, st.dictionaries(NAMES, ANY_JSON), KINDS)
        | st.builds(lambda kind: {"sessionUpdate": kind}, ANY_JSON)
        | ANY_JSON,
        max_size=6,
    )
)
def test_whatever_an_agent_says_folds_and_is_shown_again(updates: list[Any]) -> None:
    events = [event(seq, "session_update", {"update": one}, turn=None) for seq, one in enumerate(updates, start=1)]
    messages = fold(*events)
    fold(*events, known=messages)
    for message in messages:
        assert message.tool_call_id is None or storable(message.tool_call_id) == message.tool_call_id
    for name in filter(None, (changed_message(event, update_of(event)) for event in events)):
        assert storable(name) == name

    def fail(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    for message in messages:
        json.loads(b"".join(message.to_json()), parse_constant=fail)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=40), st.data())
def test_the_sum_of_the_text_is_the_same_wherever_a_fold_is_cut(texts: list[str], data: st.DataObject) -> None:
    events = [chunk(seq, piece) for seq, piece in enumerate(texts, start=1)]
    cut = data.draw(st.integers(0, len(events)))
    messages = fold(*events[:cut]) + fold(*events[cut:])
    blocks = [block for message in messages for block in json.loads(message.body)["content"]]
    assert "".join(block["text"] for block in blocks) == "".join(texts)


def test_a_text_that_is_long_goes_on_in_a_next_message() -> None:
    piece = "a" * 100_000
    messages = fold(*(chunk(seq, piece, messageId="m") for seq in range(1, 26)))
    bodies = [json.loads(message.body) for message in messages]
    assert "".join(body["content"][0]["text"] for body in bodies) == piece * 25
    assert {body["messageId"] for body in bodies} == {"m"}
    assert max(len(message.body) for message in messages) < MAX_TEXT + 2 * len(piece)
    assert [(message.first_seq, message.last_seq) for message in messages] == [(1, 11), (12, 22), (23, 25)]


def test_what_is_too_large_in_a_tool_call_is_named() -> None:
    half = "a" * (MAX_TOOL_CALL // 2)
    large = update(1, "tool_call", toolCallId="c", content=half, rawOutput=half)
    [message] = fold(large)
    body = json.loads(message.body)
    assert (body["toolCall"], body["omitted"]) == ({"toolCallId": "c", "content": half}, ["rawOutput"])
    [message] = fold(update(2, "tool_call_update", toolCallId="c", content=[], rawOutput=half), known=[message])
    body = json.loads(message.body)
    assert body == {"toolCall": {"toolCallId": "c", "content": [], "rawOutput": half}}
    [message] = fold(update(1, "tool_call", toolCallId="c", **{f"n{number}": 1 for number in range(1000)}))
    body = json.loads(message.body)
    assert (len(body["toolCall"]), len(body["omitted"])) == (MAX_MEMBERS, MAX_OMITTED)


def test_what_an_agent_says_stays_as_it_wrote_it() -> None:
    raw = b'{"update":{"sessionUpdate":"tool_call","toolCallId":"c","rawInput":{"n":1e400,"a":1,"a":2.50}}}'
    [message] = fold(attrs.evolve(update(1, "tool_call"), data=raw))
    assert b'"rawInput":{"n":1e400,"a":1,"a":2.50}' in message.body
