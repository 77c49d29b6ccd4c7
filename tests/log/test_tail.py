"""Tails, and where a client begins: what is held in memory is the log, without a hole."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.db.pool import Database
from gateway.log.ids import LogId
from gateway.log.store import Appended, Head, Log
from gateway.stream.pump import Pump
from gateway.stream.stream import judge
from gateway.stream.tail import Tail
from gateway.telemetry.metrics import Metrics
from gateway.wire.events import Cursor, Event, Reset

HEAD = Head(epoch=2, floor=10, head=20)


def event(seq: int, epoch: int = 1, session_id: str | None = None, type: str = "session_update") -> Event:
    return Event(
        cursor=Cursor(epoch, seq),
        type=type,
        session_id=session_id,
        turn_id=None,
        agent_id=None,
        at=datetime(2026, 11, 22, tzinfo=UTC),
        data=b'{"seq":%04d}' % seq,
    )


def appended(*events: Event) -> Appended:
    types = frozenset(event.type for event in events)
    return Appended(cursor=events[-1].cursor, count=len(events), size=0, types=types, make=lambda: events)


def empty_tail(max_bytes: int = 10**6) -> Tail:
    tail = Tail(max_bytes=max_bytes)
    tail.keep()
    tail.move(Cursor(1, 0))
    return tail


def frames(*events: Event) -> bytes:
    return b"".join(one.frame() for one in events)


@given(st.permutations([(1, 2), (3,), (4, 5, 6), (7,), (8, 9)]), st.integers(0, 9))
def test_a_tail_never_shows_a_hole_whatever_the_order_in_which_commits_are_told(
    batches: list[tuple[int, ...]], after: int
) -> None:
    tail = empty_tail()
    for batch in batches:
        tail.extend(appended(*map(event, batch)))
        if after < tail.loaded:
            assert tail.frames(None, after, tail.loaded) == frames(*map(event, range(after + 1, tail.loaded + 1)))
        assert tail.loaded <= tail.head
    assert tail.head == 9


def test_a_tail_lets_go_of_its_oldest_events() -> None:
    size = len(event(1).frame())
    tail = empty_tail(max_bytes=size * 3)
    tail.extend(appended(*map(event, (1, 2, 3, 4, 5))))
    assert not tail.reaches(Cursor(1, 1))
    assert tail.reaches(Cursor(1, 2))
    assert tail.frames(None, 2, 5) == frames(event(3), event(4), event(5))
    tail.extend(appended(event(6)))
    assert tail.frames(None, 3, 6) == frames(event(4), event(5), event(6))


@given(
    st.lists(st.sampled_from(["a", "b", None, "gap", "gap of a"]), min_size=1, max_size=40),
    st.integers(200, 3000),
    st.data(),
)
def test_a_sessions_share_is_its_events_and_the_projects_gaps_in_order(
    kinds: list[str | None], max_bytes: int, data: st.DataObject
) -> None:
    made = {
        "gap": {"type": "gap"},
        "gap of a": {"type": "gap", "session_id": "a"},
        "a": {"session_id": "a"},
        "b": {"session_id": "b"},
        None: {},
    }
    events = [event(seq, **made[kind]) for seq, kind in enumerate(kinds, 1)]
    tail = empty_tail(max_bytes)
    for one in events:
        tail.extend(appended(one))
    after = data.draw(st.integers(tail.since, len(events)))
    through = data.draw(st.integers(after, len(events)))
    for session in ("a", "b"):
        share = [
            one
            for one in events[after:through]
            if one.session_id == session or (one.type == "gap" and one.session_id is None)
        ]
        assert tail.frames(session, after, through) == frames(*share)
    assert tail.owners(after, through) == {one.session_id for one in events[after:through]}


def test_what_other_processes_appended_has_to_be_loaded_before_what_comes_after_it() -> None:
    tail = empty_tail()
    tail.extend(appended(event(1), event(2)))
    tail.extend(appended(event(5)))
    assert (tail.loaded, tail.head) == (2, 5)
    tail.load([event(2), event(3), event(4), event(5)])
    assert tail.frames(None, 1, 5) == frames(*map(event, (2, 3, 4, 5)))


def test_a_tail_that_nobody_reads_holds_nothing_but_the_head() -> None:
    tail = Tail(max_bytes=10**6)
    tail.extend(appended(event(1), event(2)))
    assert (tail.since, tail.loaded, tail.head) == (2, 2, 2)
    tail.keep()
    tail.extend(appended(event(3)))
    assert tail.frames(None, 2, 3) == event(3).frame()
    tail.let_go()
    assert not tail.reaches(Cursor(1, 2))


async def test_who_waits_for_the_head_alone_is_woken_by_an_append_of_this_process() -> None:
    tail = Tail(max_bytes=10**6)
    tail.move(Cursor(1, 0))
    waiting = asyncio.create_task(tail.wait(Cursor(1, 0), 60))
    await asyncio.sleep(0)
    tail.extend(appended(event(1)))
    async with asyncio.timeout(5):
        assert await waiting


def test_a_log_of_another_epoch_begins_anew() -> None:
    tail = empty_tail()
    tail.extend(appended(event(1)))
    tail.move(Cursor(2, 7))
    assert (tail.since, tail.loaded, tail.head) == (7, 7, 7)
    assert not tail.reaches(Cursor(1, 1))
    tail.move(Cursor(1, 9))
    tail.extend(appended(event(2)))
    assert (tail.epoch, tail.head) == (2, 7)


def test_a_client_without_a_cursor_begins_at_the_head_or_where_it_asks_for_it_at_the_floor() -> None:
    assert judge(HEAD, None, from_start=False) == Cursor(2, 20)
    assert judge(HEAD, "", from_start=True) == Cursor(2, 10)


def test_a_cursor_that_can_be_continued_is() -> None:
    for seq in (10, 15, 20):
        assert judge(HEAD, f"2-{seq}", from_start=False) == Cursor(2, seq)


def test_a_cursor_that_cannot_be_continued_is_reset_with_its_reason() -> None:
    reasons = {
        "2-21": "beyond_head",
        "2-9": "no_longer_kept",
        "1-15": "other_epoch",
        "3-15": "other_epoch",
        "nonsense": "unreadable_cursor",
        "2--1": "unreadable_cursor",
        "2-9223372036854775808": "unreadable_cursor",
    }
    for text, reason in reasons.items():
        assert judge(HEAD, text, from_start=True) == Reset(epoch=2, floor=10, head=20, reason=reason)


def test_a_tail_that_knows_nothing_of_its_log_reaches_no_place() -> None:
    assert not Tail(max_bytes=1).reaches(Cursor(0, 0))


async def test_the_pump_of_a_deleted_project_rests_until_its_last_stream_has_gone(
    monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    tail = Tail(max_bytes=1)
    pump = Pump(LogId("p"), Log(database), tail, Metrics("test"))
    rounds: list[float] = []
    monkeypatch.setattr(pump, "_round", rounds.append)
    pump.start()
    await asyncio.sleep(0)
    tail.vanish()
    await asyncio.sleep(0.1)
    pump.stop()
    assert len(rounds) <= 1
