"""What a turn's log tells of the calls that an agent asks leave for: every kind that it has ever called them."""

import json
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.permissions.calls import LONGEST_EVENT, LONGEST_ID, SHORT_BYTES, AskedCall, TurnCalls, told
from gateway.permissions.policy import TOOL_KINDS, decide
from gateway.projects.store import ANY_KIND, PermissionRule
from gateway.wire.codec import DecodeError, members_of
from tests.sessions.calls import call, event, update

OPTIONS = [{"optionId": "once", "kind": "allow_once"}, {"optionId": "no", "kind": "reject_once"}]


def request(**members: Any) -> tuple[str, Any]:
    return "permission_request", {"toolCall": {"toolCallId": "c", **members}}


def asking(tool_call: Any) -> AskedCall:
    return AskedCall.of(members_of(json.dumps(tool_call).encode()))


GAP = ("gap", {"reason": "skipped"})


def after(events: Iterable[tuple[str, Any]], *, most_bytes: int = 100_000) -> TurnCalls:
    calls = TurnCalls(most_bytes=most_bytes)
    for seq, (type, data) in enumerate(events, 1):
        calls.add(event(seq, type, data))
    return calls


KINDS: list[tuple[list[tuple[str, Any]], Any, set[str | None]]] = [
    # What came before, the request's tool call, the kinds that count.
    ([], {"toolCallId": "c"}, {None}),
    ([], {"toolCallId": "c", "kind": "edit"}, {"edit"}),
    ([call(kind="execute")], {"toolCallId": "c"}, {"execute"}),
    ([call(kind="execute")], {"toolCallId": "c", "kind": None}, {"execute"}),
    ([call()], {"toolCallId": "c"}, {None}),
    ([call(), update(kind="execute")], {"toolCallId": "c"}, {"execute"}),
    ([update(kind="execute")], {"toolCallId": "c"}, {"execute"}),
    # The agent changes its word.
    ([call(kind="read")], {"toolCallId": "c", "kind": "execute"}, {"read", "execute"}),
    ([call(kind="execute"), update(kind="read")], {"toolCallId": "c"}, {"read", "execute"}),
    ([call(kind="execute"), update(kind="read")], {"toolCallId": "c", "kind": "other"}, {"read", "execute", "other"}),
    ([call(kind="execute"), call(kind="read")], {"toolCallId": "c"}, {"read", "execute"}),
    ([call(kind="read"), request(kind="execute")], {"toolCallId": "c"}, {"read", "execute"}),
    ([call(kind="read"), request(kind="execute")], {"toolCallId": "c", "kind": "read"}, {"read", "execute"}),
    # Of a call that nobody has told of each request stands for itself.
    ([request(kind="execute")], {"toolCallId": "c", "kind": "read"}, {"read"}),
    ([request(kind="execute")], {"toolCallId": "c"}, {None}),
    # No kinds of ACP's.
    *(
        ([call(kind="read")], {"toolCallId": "c", "kind": odd}, {"read", None})
        for odd in ("Execute", "EXECUTE", " execute", "shell", "", "*", 5, True, ["read"], {"read": 1}, "x" * 10_000)
    ),
    *(([call(kind=odd)], {"toolCallId": "c"}, {None}) for odd in ("Read", "", 5, ["read"], "*", "x" * 10_000)),
    ([call(kind="Read")], {"toolCallId": "c", "kind": "read"}, {"read", None}),
    ([call(kind="read"), update(kind="Execute")], {"toolCallId": "c"}, {"read", None}),
    ([call(kind="other")], {"toolCallId": "c"}, {"other"}),
    # No call that could be found.
    *(
        ([call(kind="read"), call(toolCallId=odd, kind="execute")], {"toolCallId": odd, "kind": "read"}, {"read", None})
        for odd in (None, 5, "", ["c"], {"c": 1}, "x" * (LONGEST_ID + 1))
        if odd != ""
    ),
    ([call(kind="read")], {}, {None}),
    ([call(kind="read")], {"kind": "read"}, {"read", None}),
    *(([call(kind="read")], odd, {None}) for odd in (None, "c", ["c"], 5)),
    ([call(kind="read", toolCallId="None")], {"toolCallId": None}, {None}),
    ([call(kind="read", toolCallId=5)], {"toolCallId": "5"}, {None}),
    ([call(kind="read")], {"toolCallId": "C"}, {None}),
    ([call(kind="read", toolCallId="x" * LONGEST_ID)], {"toolCallId": "x" * LONGEST_ID}, {"read"}),
    # Another turn, another call.
    ([call(kind="read"), ("turn_ended", {})], {"toolCallId": "c"}, {None}),
    ([call(kind="read"), ("turn_ended", {}), ("turn_started", {}), call(kind="edit")], {"toolCallId": "c"}, {"edit"}),
    ([("session_created", {}), call(kind="read")], {"toolCallId": "c"}, {"read"}),
    # Something is missing.
    ([call(kind="read"), GAP], {"toolCallId": "c"}, {"read", None}),
    ([GAP, call(kind="read")], {"toolCallId": "c"}, {"read", None}),
    ([call(kind="read"), GAP], {"toolCallId": "c", "kind": "edit"}, {"read", "edit"}),
    ([GAP, ("turn_started", {}), call(kind="read")], {"toolCallId": "c"}, {"read"}),
    ([call(kind="read"), ("session_update", b'{"update":')], {"toolCallId": "c"}, {"read", None}),
    ([call(kind="read"), ("session_update", b"")], {"toolCallId": "c"}, {"read", None}),
    ([call(kind="read"), ("session_update", {"update": ["execute"]})], {"toolCallId": "c"}, {"read", None}),
    # What is not about a call.
    ([call(kind="read"), ("session_update", {}), ("agent_status", {})], {"toolCallId": "c"}, {"read"}),
    ([call(kind="read"), ("session_update", {"update": {"content": {"text": "x"}}})], {"toolCallId": "c"}, {"read"}),
    # Another spelling of the same JSON.
    ([("session_update", rb'{"update":{"\u0074oolCallId":"\u0063","\u006bind":"\u0065xecute"}}')],
     {"toolCallId": "c"}, {"execute"}),
    ([("session_update", b'{"update":{"toolCallId":"c","kind":"read","kind":"execute"}}')],
     {"toolCallId": "c"}, {"execute"}),
    ([("session_update", rb'{"update":{"toolCallId":"c","kind":"execute","title":"half an emoji \ud83d"}}')],
     {"toolCallId": "c"}, {"execute"}),
]  # fmt: skip


@pytest.mark.parametrize(("events", "tool_call", "kinds"), KINDS)
def test_each_kind_that_a_call_has_been_called_counts(
    events: list[tuple[str, Any]], tool_call: Any, kinds: set[str | None]
) -> None:
    assert set(after(events).kinds(asking(tool_call))) == kinds


def test_the_newest_kind_comes_first() -> None:
    calls = after([call(kind="edit"), update(kind="read"), update(kind="edit"), update(kind="delete")])
    assert calls.kinds(asking({"toolCallId": "c"})) == ("delete", "edit", "read")
    assert calls.kinds(asking({"toolCallId": "c", "kind": "read"})) == ("read", "delete", "edit")


def test_of_each_member_the_newest_is_known() -> None:
    calls = after(
        [
            call(title="Run", kind="execute", content=[]),
            update(title=None, status="in_progress", rawInput={"command": "ls"}),
            update(title="Run ls"),
            request(title="Run everything"),
        ]
    )
    known = calls.get(asking({"toolCallId": "c"}))
    assert known is not None
    assert known.members == {
        "kind": b'"execute"',
        "content": b"[]",
        "rawInput": b'{"command": "ls"}',
        "title": b'"Run ls"',
    }


def test_of_what_is_long_it_is_known_where_it_stands() -> None:
    calls = after([call(title="x" * 300, content=["y" * LONGEST_EVENT]), update(content=["z" * 300])])
    known = calls.get(asking({"toolCallId": "c"}))
    assert known is not None
    assert known.members == {"title": None, "content": 2}


def test_a_call_that_is_told_anew_is_another_one() -> None:
    calls = after([call(title="Read", rawInput={"path": "a"}), call(title="Run")])
    known = calls.get(asking({"toolCallId": "c"}))
    assert known is not None
    assert known.members == {"title": b'"Run"'}


def test_of_very_many_calls_the_oldest_are_forgotten_and_may_be_anything() -> None:
    calls = after([call(toolCallId=f"c{number}", kind="read") for number in range(4)], most_bytes=3_500)
    assert len(calls) == 3
    assert calls.kinds(asking({"toolCallId": "c3"})) == ("read",)
    assert set(calls.kinds(asking({"toolCallId": "c0", "kind": "read"}))) == {"read", None}
    calls.add(event(5, *update(toolCallId="c0", kind="edit")))
    assert set(calls.kinds(asking({"toolCallId": "c0"}))) == {"edit", None}


SHORT = "s" * (SHORT_BYTES - 2)
#: Calls that say as little and as much as is remembered of one, by a number.
LARGE_CALLS: list[Callable[[int], list[tuple[str, Any]]]] = [
    lambda number: [call(toolCallId=f"{number}")],
    lambda number: [call(toolCallId=f"{number:04}" + "\u20ac" * (LONGEST_ID - 4), title=SHORT)],
    lambda number: [call(toolCallId=f"{number}", title=SHORT, locations=SHORT, rawInput=SHORT, content=SHORT)],
    lambda number: [update(toolCallId=f"{number}", kind=kind, rawInput=SHORT) for kind in (*TOOL_KINDS, "?")],
    lambda number: [call(toolCallId=f"{number}", title="t"), update(toolCallId="same", title="t" * number)],
]


@pytest.mark.parametrize("told_of", LARGE_CALLS)
def test_what_is_remembered_of_calls_takes_no_more_memory_than_is_meant_for_it(
    told_of: Callable[[int], list[tuple[str, Any]]],
) -> None:
    most_bytes = 2**20
    tracemalloc.start()
    try:
        calls = after((one for number in range(3_000) for one in told_of(number)), most_bytes=most_bytes)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(calls) > 100
    assert held < 1.2 * most_bytes


def test_what_is_large_and_cannot_be_read_fast_is_left() -> None:
    raw = json.dumps({"update": {"toolCallId": "c", "title": "\ud83d" * 100_000}}).encode()
    with pytest.raises(DecodeError):
        told(event(1, "session_update", raw))
    with pytest.raises(DecodeError):
        told(event(1, "session_update", b'{"update":{"toolCallId":"c","content":' + b"[" * 100_000))


# No sequence of what an agent may say has a rule or a mode allow what another rule could reject.
WORD = st.sampled_from([None, *sorted(TOOL_KINDS), "Execute", "shell", "", 5, ["read"]])
ID = st.sampled_from(["c", "c", "d", None, 5])
SAID = st.one_of(
    st.builds(lambda id, kind: call(toolCallId=id, kind=kind), ID, WORD),
    st.builds(lambda id, kind: update(toolCallId=id, kind=kind), ID, WORD),
    st.builds(lambda id: update(toolCallId=id), ID),
    st.builds(lambda id, kind: request(toolCallId=id, kind=kind), ID, WORD),
    st.just(GAP),
    st.just(("session_update", b"{")),
)
RULES = st.lists(
    st.builds(
        PermissionRule,
        kind=st.sampled_from([ANY_KIND, *sorted(TOOL_KINDS)]),
        action=st.sampled_from(["allow", "reject", "ask"]),
    ),
    max_size=4,
)


def could_reject(rules: list[PermissionRule], kinds: set[Any]) -> bool:
    """Whether the first rule that matches may be one that rejects: for what is no kind of ACP's, of any kind."""
    possible = {kind for kind in kinds if kind in TOOL_KINDS}
    if possible != kinds:
        possible |= TOOL_KINDS | {"none of them"}
    firsts = [next((rule.action for rule in rules if rule.kind in (ANY_KIND, kind)), "mode") for kind in possible]
    return "reject" in firsts


@given(st.lists(SAID, max_size=6), ID, WORD, RULES, st.sampled_from(["ask", "accept-edits", "full-auto"]))
def test_nothing_is_allowed_that_a_rule_could_reject(
    said: list[tuple[str, Any]], call_id: Any, kind: Any, rules: list[PermissionRule], mode: str
) -> None:
    asked = {"toolCallId": call_id, "kind": kind}
    decision = decide(mode, rules, after(said).kinds(asking(asked)), OPTIONS)
    told_kinds = {
        str(data["update"].get("kind"))
        for type, data in said
        if type == "session_update" and isinstance(data, dict) and data["update"]["toolCallId"] == call_id
        if data["update"].get("kind") is not None
    }
    kinds = told_kinds | ({str(kind)} if kind is not None else set())
    if not kinds or not isinstance(call_id, str):
        kinds.add("unknown")
    if could_reject(rules, kinds):
        assert decision is None or decision.option_id == "no"
