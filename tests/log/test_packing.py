"""Packing: many rows become one, and nobody who reads the log can tell."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.db.pool import Database
from gateway.db.queries import Queries
from gateway.log.ids import LogId
from gateway.log.packs import decode, encode, frames
from gateway.log.store import Log, NewEvent
from gateway.projects.store import NewProject, Projects
from gateway.upkeep.packing import Packing
from gateway.wire.events import Cursor, Event
from tests.db.things import ask
from tests.log.packing import chunk

PROJECT = "p"
NOTHING_ELSE = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)


@pytest.fixture
async def log(database: Database) -> Log:
    await Projects(database).create("local", NewProject(id=PROJECT, container_url="http://127.0.0.1:4096"))
    return Log(database)


async def append(log: Log, number: int, **members: Any) -> None:
    for start in range(0, number, 500):
        await log.append(LogId(PROJECT), [chunk(n, **members) for n in range(start, min(start + 500, number))])


async def far(log: Log, session: str | None, after: int) -> tuple[bytes, int]:
    """The frames of all packs after a place, with the rows among them, and where they end."""
    epoch = (await log.head(LogId(PROJECT))).epoch
    found, seq = b"", after
    while passage := await log.packed(LogId(PROJECT), Cursor(epoch, seq), session):
        run, through = passage
        assert through > seq
        found += b"".join(run.between(seq, through))
        seq = through
    return found, seq


async def whole(log: Log, session: str | None = None, after: int = 0) -> list[Event]:
    epoch = (await log.head(LogId(PROJECT))).epoch
    events: list[Event] = []
    while batch := await log.read(LogId(PROJECT), events[-1].cursor if events else Cursor(epoch, after), session):
        events += batch
    return events


def counts(url: str) -> tuple[int, int]:
    """How many rows and how many packs there are."""
    [(rows, packs)] = ask(url, "select (select count(*) from events), (select count(*) from event_packs)")
    assert isinstance(rows, int)
    assert isinstance(packs, int)
    return rows, packs


words = st.none() | st.text(max_size=5)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 2**62),
            st.text(min_size=1, max_size=5),
            words,
            words,
            words,
            st.datetimes(datetime(1970, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC)),
            st.binary(max_size=50),
        ),
        max_size=20,
    )
)
def test_a_pack_gives_back_what_was_put_in(values: list[tuple[Any, ...]]) -> None:
    names = ("seq", "type", "session_id", "turn_id", "agent_id", "at", "payload")
    rows = [dict(zip(names, value, strict=True)) for value in values]
    events = decode(encode(rows), 7)
    assert [(e.cursor, e.type, e.session_id, e.turn_id, e.agent_id, e.at, e.data) for e in events] == [
        (Cursor(7, value[0]), *value[1:]) for value in values
    ]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["session_update", "turn_ended"]),
            st.sampled_from(["s", 'a"b\\', "\u00e9\u2028", None]),
            words,
            st.datetimes(datetime(1970, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC)),
            st.sampled_from([b"{}", b'{"a":\n1}', b'{"a":\r\n1}', b"\xff\0"]) | st.binary(max_size=20),
        ),
        max_size=20,
    ),
    st.integers(-1, 21),
    st.sampled_from([None, "s", 'a"b\\', "t"]),
)
def test_the_frames_of_a_pack_are_those_of_its_events(
    values: list[tuple[Any, ...]], after: int, session: str | None
) -> None:
    names = ("type", "session_id", "turn_id", "at", "payload")
    rows = [
        {"seq": seq, "agent_id": None, **dict(zip(names, value, strict=True))}
        for seq, value in enumerate(values, start=1)
    ]
    encoded = encode(rows)
    expected = [
        (event.seq, event.frame())
        for event in decode(encoded, 7)
        if event.seq > after and session in (None, event.session_id)
    ]
    assert frames(encoded, Cursor(7, after), session) == expected


@pytest.mark.parametrize("harm", [b"", b"\x02abc", b"\x01abc", encode([])[:-2]])
def test_a_pack_that_is_broken_is_not_taken_for_an_empty_one(harm: bytes) -> None:
    with pytest.raises(ValueError, match="a pack"):
        decode(harm, 1)


@NOTHING_ELSE
@given(
    events=st.lists(
        st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from(["", "", "", "key", "gap"]), st.integers(0, 60)),
        min_size=1,
        max_size=12,
    ),
    places=st.lists(st.integers(0, 10**6), max_size=3),
)
async def test_whatever_is_packed_reads_the_same_from_any_place(
    database: Database, database_url: str, events: list[tuple[str | None, str, int]], places: list[int]
) -> None:
    await Projects(database).create("local", NewProject(id=PROJECT, container_url="http://127.0.0.1:4096"))
    try:
        log = Log(database)
        batch = []
        for number, (session, kind, times) in enumerate(events):
            if kind == "gap":
                batch.append(NewEvent(type="gap", data=b"{}", session_id=None))
            elif kind == "key":
                batch.append(chunk(number, session=session, key=f"k{number}"))
            else:
                batch += [chunk(n, session=session) for n in range(times)]
        await log.append(LogId(PROJECT), batch)
        sessions = (None, "a", "b", "c")
        before = {session: await whole(log, session) for session in sessions}
        await Packing(database, 0).pack(LogId(PROJECT))
        fresh = Log(database)
        for session in sessions:
            after = await whole(fresh, session)
            assert after == before[session]
            assert [event.frame() for event in after] == [event.frame() for event in before[session]]
            for place in places:
                start = place % (len(batch) + 1)
                found, end = await far(fresh, session, start)
                assert found == b"".join(e.frame() for e in before[session] if start < e.seq <= end)
                assert await whole(fresh, session, start) == [e for e in before[session] if e.seq > start]
        if sum(event.key is None for event in batch) >= 100:
            assert counts(database_url)[1] > 0
    finally:
        await Projects(database).delete("local", PROJECT)
        ask(database_url, "delete from event_packs")


async def test_events_of_a_key_stay_so_that_none_is_stored_twice(
    log: Log, database: Database, database_url: str
) -> None:
    await log.append(LogId(PROJECT), [chunk(0, key="k"), *(chunk(n) for n in range(300)), chunk(1, key="l")])
    await Packing(database, 0).pack(LogId(PROJECT))
    assert counts(database_url) == (2, 1)
    again = await log.append(LogId(PROJECT), [chunk(5, key="k"), chunk(6, key="l")])
    assert again.events == ()


async def test_young_events_and_few_events_are_left(log: Log, database: Database, database_url: str) -> None:
    await append(log, 300)
    assert await Packing(database, 60).pack(LogId(PROJECT)) == 0
    assert counts(database_url) == (300, 0)
    assert await Packing(database, 0).pack(LogId(PROJECT)) == 300
    await append(log, 99)
    assert await Packing(database, 0).pack(LogId(PROJECT)) == 0
    await append(log, 1)
    assert await Packing(database, 0).pack(LogId(PROJECT)) == 100


async def test_age_is_told_by_the_database_whatever_time_an_event_bears(
    log: Log, database: Database, database_url: str
) -> None:
    await append(log, 200, at=datetime(9998, 1, 1, tzinfo=UTC))
    ask(database_url, "update log_storage set seen_at = now() - interval '2 minutes'")
    packing = Packing(database, 60)
    await packing.review()
    assert counts(database_url) == (200, 0)  # They may have come a moment ago.
    ask(database_url, "update log_storage set seen_at = now() - interval '2 minutes'")
    await append(log, 200, at=datetime.now(UTC) - timedelta(days=1))
    await packing.review()
    assert counts(database_url) == (200, 1)


async def test_readers_writers_and_packers_at_once_leave_nothing_out(
    log: Log, database: Database, database_url: str
) -> None:
    total = 3000
    done = asyncio.Event()

    async def write() -> None:
        for start in range(0, total, 50):
            keyed = chunk(start, key=f"k{start}", session="t")
            await log.append(LogId(PROJECT), [keyed, *(chunk(n) for n in range(start, start + 49))])
        done.set()

    async def read(session: str | None) -> list[Event]:
        reader = Log(database)
        events: list[Event] = []
        while not (done.is_set() and events and events[-1].seq >= total - 49):
            events += await reader.read(LogId(PROJECT), events[-1].cursor if events else Cursor(1, 0), session)
        return events

    async def pack() -> None:
        while not done.is_set():
            await Packing(database, 0).pack(LogId(PROJECT))

    async with asyncio.timeout(60):
        everything, own, *_ = await asyncio.gather(read(None), read("t"), read("s"), write(), pack(), pack())
    numbers = [event.seq for event in everything]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [event.seq for event in own] == list(range(1, total, 50))
    await Packing(database, 0).pack(LogId(PROJECT))
    rows, packs = counts(database_url)
    assert rows < total / 50 + 100
    assert packs > 5


async def test_a_log_that_cannot_be_packed_keeps_no_other_from_it(
    log: Log, database: Database, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await Projects(database).create("local", NewProject(id="q", container_url="http://127.0.0.1:4096"))
    for project in (PROJECT, "q"):
        await log.append(LogId(project), [chunk(n) for n in range(100)])
    ask(database_url, "alter table event_packs add check (project_id <> 'p')")
    await Packing(database, 0).review()
    assert ask(database_url, "select project_id from event_packs") == [("q",)]
    assert "log not kept up" in caplog.text
    assert len(await whole(log)) == 100


def test_reading_the_log_may_be_repeated_when_its_connection_is_lost() -> None:
    queries = Queries.load()
    assert queries["read_events"].only_reads
    assert queries["read_session_events"].only_reads
    assert queries["read_blocks"].only_reads
    assert queries["read_packs"].only_reads
