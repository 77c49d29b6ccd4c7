"""Requests are completed from the log alone: what is remembered of it, forgotten or deleted changes no answer."""

import json
from typing import Any, NamedTuple, cast

import pytest

from gateway.db.pool import Database
from gateway.errors import ProjectNotFound
from gateway.log.reading import NotKept
from gateway.log.store import Log
from gateway.permissions import merging
from gateway.permissions.merging import OMITTED, Merging
from gateway.wire.events import Cursor, Event
from tests.sessions.calls import call, event, update

ASKED = {"toolCallId": "c"}


class KeptLog:
    """A log that is read three events at a time, and the newest turn in it."""

    def __init__(self) -> None:
        self.events: dict[str, list[Event]] = {}
        self.floor = 0
        self.before_seq = 0
        self.reads = 0
        self.gone = False

    def tell(self, session_id: str, *told: tuple[str, Any]) -> None:
        events = self.events.setdefault(session_id, [])
        events += [event(len(events) + place, *one) for place, one in enumerate(told, 1)]

    async def fetch_one(self, query: str, **_: Any) -> dict[str, int]:
        assert query == "newest_turn"
        return {"epoch": 1, "before_seq": self.before_seq}

    async def read(self, project_id: str, after: Cursor, session_id: str) -> list[Event]:
        self.reads += 1
        if self.gone:
            raise ProjectNotFound
        if after.seq < self.floor:
            raise NotKept(epoch=1, floor=self.floor, head=100)
        return [one for one in self.events.get(session_id, []) if one.seq > after.seq][:3]

    async def event(self, project_id: str, cursor: Cursor, session_id: str) -> Event | None:
        kept = self.events[session_id] if cursor.seq > self.floor else []
        return next((one for one in kept if one.cursor == cursor), None)


@pytest.fixture
def log() -> KeptLog:
    return KeptLog()


@pytest.fixture
def asked(log: KeptLog) -> Merging:
    return Merging(cast("Database", log), cast("Log", log))


class Completed(NamedTuple):
    tool_call: Any
    kinds: tuple[str | None, ...]


async def complete(
    asked: Merging, session_id: str = "s", tool_call: Any = ASKED, *, project: str = "demo"
) -> Completed:
    merged = await asked.complete(project, session_id, json.dumps(tool_call).encode())
    return Completed(json.loads(merged.tool_call), merged.kinds)


async def test_what_has_been_read_is_not_read_again(log: KeptLog, asked: Merging) -> None:
    log.tell("s", *[call(toolCallId=f"other{number}") for number in range(60)], call(kind="read", title="Look"))
    assert (await complete(asked)).tool_call == ASKED | {"kind": "read", "title": "Look"}
    before = log.reads
    log.tell("s", update(kind="edit"))
    assert (await complete(asked)).kinds == ("edit", "read")
    # The rest, and its end.
    assert log.reads - before == 2


async def test_what_is_forgotten_is_read_again(log: KeptLog, asked: Merging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "_ALL_BYTES", 100_000)
    for session_id in ("s", "t", "u"):
        log.tell(session_id, call(kind="execute"), *[call(toolCallId=f"{number}") for number in range(10)])
    for _ in range(2):
        for session_id in ("s", "t", "u"):
            assert (await complete(asked, session_id)).kinds == ("execute",)


async def test_a_project_with_many_calls_has_no_other_project_s_forgotten(
    log: KeptLog, asked: Merging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "_PROJECT_BYTES", 100_000)
    log.tell("s", call(kind="execute"))
    await complete(asked, project="quiet")
    for session_id in ("t", "u", "v", "w"):
        log.tell(session_id, *[call(toolCallId=f"{number}") for number in range(60)])
        await complete(asked, session_id)
    before = log.reads
    await complete(asked, project="quiet")
    # Its end, and nothing before that.
    assert log.reads - before == 1
    before = log.reads
    await complete(asked, "t")
    assert log.reads - before > 1


async def test_what_stands_before_the_newest_turn_is_not_looked_at(log: KeptLog, asked: Merging) -> None:
    log.tell("s", call(kind="read"))
    assert (await complete(asked)).kinds == ("read",)
    log.tell("s", ("turn_ended", {}), ("turn_started", {}), call(kind="edit"))
    log.before_seq = 2
    assert (await complete(asked)).kinds == ("edit",)


async def test_what_was_deleted_of_a_turn_may_have_been_anything(log: KeptLog, asked: Merging) -> None:
    log.tell("s", call(kind="execute", title="Run"), update(kind="read"))
    log.floor = 1
    merged = await complete(asked)
    assert set(merged.kinds) == {"read", None}
    assert merged.tool_call == ASKED | {"kind": "read"}


async def test_what_is_deleted_while_it_is_looked_for_is_left_out(log: KeptLog, asked: Merging) -> None:
    log.tell("s", call(kind="read", title="Look", content=["x" * 300]))
    assert (await complete(asked)).tool_call["content"] == ["x" * 300]
    log.floor = 1
    merged = await complete(asked)
    assert merged.tool_call == ASKED | {"kind": "read", "title": "Look", "_meta": {OMITTED: ["content"]}}
    assert merged.kinds == ("read",)


async def test_in_a_project_that_is_deleted_it_may_be_anything(log: KeptLog, asked: Merging) -> None:
    log.gone = True
    assert await complete(asked) == Completed(tool_call=ASKED, kinds=(None,))


async def test_what_is_nested_too_deeply_to_be_shown_is_named(log: KeptLog, asked: Merging) -> None:
    deep = json.dumps({"update": {"toolCallId": "c", "title": "Look", "content": 0}}).replace(
        "0", "[" * 200 + "]" * 200
    )
    log.tell("s", ("session_update", deep.encode()))
    assert (await complete(asked)).tool_call == ASKED | {"title": "Look", "_meta": {OMITTED: ["content"]}}


@pytest.mark.parametrize("tool_call", [None, 5, "c", ["c"], {}, {"toolCallId": 5}])
async def test_a_request_of_no_call_stays_as_it_is(log: KeptLog, asked: Merging, tool_call: Any) -> None:
    log.tell("s", call(kind="read"))
    assert await complete(asked, tool_call=tool_call) == Completed(tool_call=tool_call, kinds=(None,))
