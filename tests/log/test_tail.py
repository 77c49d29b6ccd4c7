"""Tails and streams over them: what a client reads is the log, wherever it is read from."""

import asyncio
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.db.pool import Database
from gateway.log.store import Appended, Head, Log, NewEvent
from gateway.log.stream import Stream, judge
from gateway.log.tail import Tail, Tails
from gateway.projects import NewProject, Projects
from gateway.wire.events import Cursor, Event, Reset

HEAD = Head(epoch=2, floor=10, head=20)


def event(seq: int, epoch: int = 1) -> Event:
    return Event(
        cursor=Cursor(epoch, seq),
        type="session_update",
        session_id=None,
        turn_id=None,
        agent_id=None,
        at=datetime(2026, 11, 22, tzinfo=UTC),
        data=b'{"seq":%d}' % seq,
    )


def appended(*numbers: int) -> Appended:
    return Appended(events=tuple(map(event, numbers)), cursor=Cursor(1, numbers[-1]))


@given(st.permutations([(1, 2), (3,), (4, 5, 6), (7,), (8, 9)]), st.integers(0, 9))
def test_a_tail_never_shows_a_hole_whatever_the_order_in_which_commits_are_told(
    batches: list[tuple[int, ...]], cursor: int
) -> None:
    tail = Tail(max_bytes=10**6)
    for batch in batches:
        tail.extend(appended(*batch))
        entries = tail.after(Cursor(1, cursor), 10**6)
        if entries:
            numbers = [entry.event.seq for entry in entries]
            assert numbers == list(range(cursor + 1, tail.head + 1))
    assert tail.head == 9


def test_a_tail_lets_go_of_its_oldest_entries() -> None:
    size = len(event(1).frame())
    tail = Tail(max_bytes=size * 3)
    tail.extend(appended(1, 2, 3, 4, 5))
    assert tail.after(Cursor(1, 1), 10**6) is None
    kept = tail.after(Cursor(1, 2), 10**6)
    assert kept is not None
    assert [entry.event.seq for entry in kept] == [3, 4, 5]


def test_what_other_processes_appended_is_left_to_the_database() -> None:
    tail = Tail(max_bytes=10**6)
    tail.extend(appended(1, 2))
    tail.move(Cursor(1, 10))
    tail.extend(appended(11))
    assert tail.after(Cursor(1, 2), 10**6) is None
    assert [entry.event.seq for entry in tail.after(Cursor(1, 10), 10**6) or []] == [11]


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


async def test_a_stream_reads_the_log_and_the_tail_without_a_seam(database: Database) -> None:
    await Projects(database).create("local", NewProject(id="p", container_url="http://127.0.0.1:4096"))
    log = Log(database)
    tails = Tails(log, max_bytes=2000)
    total = 300

    async def write() -> None:
        for n in range(total):
            session = f"s{n % 3}"
            await log.append("p", [NewEvent(type="session_update", data=b"%d" % n, session_id=session, key=str(n))])

    async def read(session: str | None) -> list[int]:
        numbers: list[int] = []
        async with tails.watch("p") as tail:
            stream = Stream(log, tail, "p", Cursor(1, 0), session)
            while not numbers or numbers[-1] < total - 3:
                chunk = await stream.next(5)
                assert chunk is not None
                numbers += [int(line.rsplit(b":", 1)[1][:-1]) for line in chunk.data.split(b"\n") if b'"data":' in line]
                stream.advance(chunk)
        return numbers

    async with asyncio.timeout(60):
        whole, own, _ = await asyncio.gather(read(None), read("s0"), write())
    assert whole == list(range(len(whole)))
    assert own == list(range(0, total, 3))
