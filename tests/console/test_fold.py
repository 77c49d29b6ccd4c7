"""The console folds events into the same messages as the gateway, wherever it begins: its own modules, in Node."""

import itertools
import json
import random
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.wire.times import timestamp
from tests.fixtures.folding import CASES, Json, fold, page_before, snapshot

FOLD = Path(__file__).with_name("fold.mjs")
SEED = 20261129
SESSIONS = 800


def folded_in_javascript(node: Path, jobs: Sequence[Sequence[Json]]) -> list[list[Json]]:
    """What the console shows after each of these lists of steps: see fold.mjs."""
    lines = "".join(json.dumps(steps) + "\n" for steps in jobs)
    done = subprocess.run([node, "--no-warnings", FOLD], input=lines, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def told(events: Sequence[Json]) -> list[Json]:
    return [{"event": event} for event in events]


def read(events: Sequence[Json], begin: int, limit: int, end: int) -> list[Json]:
    """Begin with a snapshot of some newest messages, stream on, and read the older ones after the event ``end``."""
    taken = snapshot(events[:begin], limit)
    steps = [{"snapshot": taken}, *told(events[begin:end])]
    place = taken["next"]
    while place is not None:
        page = page_before(events[:end], place, 2)
        place = page["next"]
        steps.append({"page": page})
    return [*steps, *told(events[end:])]


def test_a_session_that_streams_in_is_what_the_fixture_says(node: Path) -> None:
    shown = folded_in_javascript(node, [told(case.events) for case in CASES])
    for case, messages in zip(CASES, shown, strict=True):
        assert messages == case.messages, case.name


@pytest.mark.parametrize("limit", [200, 1, 2])
def test_a_session_that_is_opened_at_any_event_is_the_same(node: Path, limit: int) -> None:
    asked = [
        (case, begin, end)
        for case in CASES
        for begin in range(len(case.events) + 1)
        for end in sorted({begin, (begin + len(case.events)) // 2, len(case.events)})
    ]
    shown = folded_in_javascript(node, [read(case.events, begin, limit, end) for case, begin, end in asked])
    for (case, begin, end), messages in zip(asked, shown, strict=True):
        assert messages == case.messages, f"{case.name}: opened at {begin}, read to its beginning at {end}"


def test_after_a_reset_nothing_of_before_is_shown(node: Path) -> None:
    """Cursors of another epoch may be smaller than those of before."""
    jobs = []
    for before, case in itertools.pairwise(CASES):
        events = [{**event, "id": event["id"].replace("1-", "2-", 1)} for event in case.events]
        middle = len(events) // 2
        reset = {"type": "reset", "id": "2-1", "at": events[0]["at"], "data": {"reason": "other_epoch"}}
        jobs.append([*told([*before.events, reset]), {"snapshot": snapshot(events[:middle])}, *told(events[middle:])])
    for case, messages in zip(CASES[1:], folded_in_javascript(node, jobs), strict=True):
        assert messages == case.messages, case.name


def test_sessions_made_to_be_trouble_fold_as_in_the_gateway(node: Path) -> None:
    chance = random.Random(SEED)
    sessions = [list(_session(chance)) for _ in range(SESSIONS)]
    sessions += [filled for one in sessions for filled in _filled_in(one, random.Random(SEED))]
    jobs = []
    for events in sessions:
        begin = chance.choice(_places(events))
        end = chance.choice([place for place in _places(events) if place >= begin])
        jobs += [told(events), read(events, begin, chance.choice([1, 2, 3, 200]), end)]
    shown = iter(folded_in_javascript(node, jobs))
    for number, events in enumerate(sessions):
        wanted = fold(events)
        for way in ("as it streams in", "as it is opened later"):
            assert next(shown) == wanted, f"session {number} of seed {SEED}, {way}: {json.dumps(events)}"


# Sessions. What comes late of a turn that has ended comes in one append, so nobody opens a session amid it.

START = datetime(2026, 11, 29, tzinfo=UTC)
BESIDE = (
    *("gap", "permission_request", "permission_resolved", "turn_cancelling", "session_restored", "container_event"),
    *("session_renamed", "session_cleared"),
)
KINDS = (
    *["agent_message_chunk"] * 5, "agent_thought_chunk", "user_message_chunk", "tool_call", "tool_call_update",
    "tool_call_update", "plan", "usage_update", "something_new",
)  # fmt: skip
#: What an agent may say in the place of what it should.
ODD: dict[str, Sequence[Any]] = {
    "sessionUpdate": ("constructor", "__proto__", ["plan"], ["agent_message_chunk"], None, 5, "gap"),
    "messageId": (1, True, "", [], {}, {"a": 1}, "m1"),
    "content": ([], ["x"], "x", None, {}, {"type": "text"}, {"type": "text", "text": 5}, {"type": "text", "text": ""}),
    "toolCallId": (1, "1", None, "null", True, [1], {"a": "b"}, "", "x" * 300),
    "entries": (None, 5, {}, [1], [None]),
    "__proto__": ({"title": "x"}, None),
}  # fmt: skip


def _session(chance: random.Random) -> Iterator[Json]:
    turn, turns, late, filled = None, 0, None, set()
    for seq in range(1, chance.randint(2, 16)):
        whose, dice = turn, chance.random()
        late = late if chance.random() < 0.5 else None
        unfilled = [one for one in range(1, turns + (turn is None)) if one not in filled]
        if late is None and unfilled and chance.random() < 0.1:
            late = chance.choice(unfilled)
            filled.add(late)
        if late is not None:
            whose, type, data = late, "session_update", {"update": _update(chance)}
        elif dice < 0.15 and turn is None:
            turns += 1
            whose = turn = turns
            type, data = "turn_started", {"prompt": [{"type": "text", "text": "p"}], "startedBy": "u"}
        elif dice < 0.25 and turn is not None:
            type, data, turn = "turn_ended", {"outcome": "completed"}, None
        elif dice < 0.33:
            type, data = chance.choice(BESIDE), {"permissionId": "p", "reason": "skipped", "outcome": "selected"}
        elif dice < 0.45:
            type, data = _terminal(chance)
        elif dice < 0.48:
            type, data = "session_update", chance.choice([5, None, [], "x", {}, {"update": []}, {"update": None}])
        else:
            type, data = "session_update", {"update": _update(chance)}
        at = timestamp(START + timedelta(seconds=seq))
        event = {"id": f"1-{seq}", "type": type, "sessionId": "s", "at": at, "data": data, "late": late is not None}
        yield event if whose is None or type == "gap" else {**event, "turnId": f"t{whose}"}


def _filled_in(events: Sequence[Json], chance: random.Random) -> Iterator[list[Json]]:
    """A session with what is filled in of its gaps, if it has some, and of one that nobody knows."""
    told: list[Json] = []
    gaps, turns = [99], [None]
    for event in events:
        turns.append(event.get("turnId"))
        whole = [event]
        if event["type"] == "gap":
            gaps.append(len(told) + 1)
        while len(gaps) > 1 and not event["late"] and chance.random() < 0.4:
            data = {"gap": chance.choice(gaps), "source": "opencode", "update": _update(chance)}
            said = {"type": "history_filled", "sessionId": "s", "data": data, "late": False}
            turn = chance.choice(turns)
            whole.append(said if turn is None else {**said, "turnId": turn})
        for one in whole:
            seq = len(told) + 1
            told.append({**one, "id": f"1-{seq}", "at": timestamp(START + timedelta(seconds=seq))})
    if len(gaps) > 1:
        yield told


def _update(chance: random.Random) -> Json:
    said = {
        "sessionUpdate": chance.choice(KINDS),
        "messageId": chance.choice(["m1", "m2", None, None, None, None]),
        "content": chance.choice([{"type": "text", "text": f"{chance.random()}"}] * 4 + [{"type": "image"}]),
        "toolCallId": chance.choice(["c1", "c2", "c3"]),
        "status": chance.choice(["pending", "completed", None]),
        "entries": [{"content": f"{chance.random()}", "status": "pending"}],
    }
    if chance.random() < 0.2:
        name = chance.choice(list(ODD))
        said[name] = chance.choice(ODD[name])
    if chance.random() < 0.1:
        del said[chance.choice(list(said))]
    return said


def _terminal(chance: random.Random) -> tuple[str, Json]:
    """What is told of a command; its form is checked before it is stored."""
    whose = {"terminalId": chance.choice(["x1", "x2"])}
    return chance.choice(
        [
            ("terminal_started", {**whose, "command": f"{chance.random()}", "args": [], "cwd": None}),
            ("terminal_output", {**whose, "text": f"{chance.random()}"}),
            ("terminal_output", {**whose, "text": f"{chance.random()}"}),
            ("terminal_output", {**whose, "text": "end", "omittedBytes": chance.choice([0, 7])}),
            ("terminal_ended", {**whose, "exitCode": chance.choice([0, None]), "signal": None}),
        ]
    )


def _places(events: Sequence[Json]) -> list[int]:
    """Where somebody may open the session."""
    return [
        place
        for place in range(len(events) + 1)
        if not (0 < place < len(events) and events[place - 1]["late"] and events[place]["late"])
    ]
