"""Retention: what need not be kept goes, from the beginning, and nobody is told less than that."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from gateway.db.pool import Database
from gateway.log.folding import Folding
from gateway.log.ids import LogId
from gateway.log.reading import NotKept
from gateway.log.store import Log, NewEvent
from gateway.log.transcript import Transcript
from gateway.projects.store import NewProject, Projects, Retention
from gateway.upkeep.packing import Packing
from gateway.upkeep.retention import Retaining
from gateway.wire.events import Cursor
from tests.db.things import ask
from tests.log.turns import chunks, ended, started

PROJECT = "p"
OLD = datetime.now(UTC) - timedelta(days=40)


@pytest.fixture
async def log(database: Database, database_url: str) -> Log:
    await Projects(database).create("local", NewProject(id=PROJECT, container_url="http://127.0.0.1:4096"))
    ask(database_url, "update projects set created_at = now() - interval '1 year'")
    ask(
        database_url,
        "insert into agent_sessions (project_id, id, user_id, agent_id, status) values ('p', 's', 'u', 'a', 'active')",
    )
    return Log(database)


@pytest.fixture
def retaining(log: Log, database: Database) -> Retaining:
    return Retaining(database, Folding(database, log), Retention())


def turn(name: str, number: int) -> list[NewEvent]:
    return [started(name), *chunks(name, number), ended(name)]


def dated(events: list[NewEvent], at: datetime) -> list[NewEvent]:
    return [
        NewEvent(type=e.type, data=e.data, session_id=e.session_id, turn_id=e.turn_id, at=at, key=e.key) for e in events
    ]


async def first_kept(log: Log) -> int:
    head = await log.head(LogId(PROJECT))
    events = await log.read(LogId(PROJECT), Cursor(head.epoch, head.floor), None)
    assert events[0].seq == head.floor + 1
    if head.floor:
        with pytest.raises(NotKept):
            await log.read(LogId(PROJECT), Cursor(head.epoch, head.floor - 1))
    return events[0].seq


@pytest.mark.parametrize("packed", [False, True])
async def test_what_is_too_old_goes_with_its_messages_and_the_rest_stays(
    log: Log, database: Database, database_url: str, retaining: Retaining, packed: bool
) -> None:
    await log.append(LogId(PROJECT), dated(turn("a", 400), OLD))
    if packed:
        await Packing(database, 0).pack(LogId(PROJECT))
    await log.append(LogId(PROJECT), turn("b", 100))
    assert await retaining.apply(LogId(PROJECT), Retention(max_age_days=30)) == 402
    assert await first_kept(log) == 403
    page = await Transcript(database, log, Folding(database, log)).page(
        PROJECT, "s", after=None, limit=10, newest_first=False
    )
    assert [message.turn_id for message in page.messages] == ["b", "b"]
    assert ask(database_url, "select count(*) from events where seq <= 402") == [(0,)]
    assert ask(database_url, "select count(*) from event_packs") == [(0,)]
    assert await retaining.apply(LogId(PROJECT), Retention(max_age_days=30)) == 0


async def test_a_log_that_is_too_large_loses_its_oldest_events_and_no_message(
    log: Log, database: Database, database_url: str, retaining: Retaining
) -> None:
    for name in "abcdef":
        await log.append(LogId(PROJECT), turn(name, 498))
    await Packing(database, 0).pack(LogId(PROJECT))
    [(size,)] = ask(database_url, "select sum(octet_length(encoded)) from event_packs")
    limit = int(str(size)) // 2
    assert await retaining.apply(LogId(PROJECT), Retention(max_bytes=limit)) > 0
    [(left,)] = ask(database_url, "select sum(octet_length(encoded)) from event_packs")
    assert 0 < int(str(left)) <= limit
    assert 1 < await first_kept(log) < 3000
    assert ask(database_url, "select count(*) from agent_session_messages") == [(12,)]
    assert await retaining.apply(LogId(PROJECT), Retention(max_bytes=1)) > 0
    assert (await log.head(LogId(PROJECT))).floor == 3000


async def test_a_turn_that_runs_and_what_is_in_no_message_stay(
    log: Log, database: Database, database_url: str, retaining: Retaining
) -> None:
    late = chunks(None, 5)
    await log.append(LogId(PROJECT), dated([*turn("a", 200), *late, started("b"), *chunks("b", 300)], OLD))
    await Packing(database, 0).pack(LogId(PROJECT))
    assert await retaining.apply(LogId(PROJECT), Retention(max_bytes=1)) == 207
    assert await first_kept(log) == 208
    # What came late, and would be in no message before the next turn ends, has been written first.
    assert ask(database_url, "select count(*) from agent_session_messages") == [(3,)]
    await log.append(LogId(PROJECT), [ended("b")])
    assert await retaining.apply(LogId(PROJECT), Retention(max_bytes=1)) == 302
    assert ask(database_url, "select count(*) from agent_session_messages") == [(5,)]


async def test_a_container_whose_clock_is_wrong_loses_nothing_and_keeps_nothing_for_ever(
    log: Log, database: Database, database_url: str, retaining: Retaining
) -> None:
    for year in (1970, 9998):
        await log.append(LogId(PROJECT), dated(turn(str(year), 200), datetime(year, 1, 2, tzinfo=UTC)))
    await Packing(database, 0).pack(LogId(PROJECT))
    assert await retaining.apply(LogId(PROJECT), Retention(max_age_days=30)) == 0
    ask(database_url, "update event_packs set packed_at = now() - interval '40 days'")
    assert await retaining.apply(LogId(PROJECT), Retention(max_age_days=30)) == 404


async def test_an_event_of_a_deleted_key_is_still_stored_once_for_a_week(
    log: Log, database_url: str, retaining: Retaining
) -> None:
    keyed = NewEvent(type="auth_required", data=b'{"secret":1}', key="k")
    await log.append(LogId(PROJECT), [keyed, *turn("a", 3)])
    assert await retaining.apply(LogId(PROJECT), Retention(max_bytes=1)) == 6
    assert ask(database_url, "select octet_length(payload) from events") == [(0,)]
    assert (await log.append(LogId(PROJECT), [keyed])).events == ()
    ask(database_url, "update events set at = now() - interval '8 days'")
    await retaining.apply(LogId(PROJECT), Retention(max_bytes=1))
    assert len((await log.append(LogId(PROJECT), [keyed])).events) == 1


async def test_the_gateways_rule_holds_where_a_project_has_none_of_its_own(
    log: Log, database: Database, database_url: str
) -> None:
    projects = Projects(database)
    await projects.create("local", NewProject(id="q", container_url="http://h", retention=Retention()))
    for project in (PROJECT, "q"):
        await log.append(LogId(project), dated(turn("a", 10), OLD))
    ask(database_url, "update projects set created_at = now() - interval '1 year'")
    ask(database_url, "update log_storage set looked_at = now() - interval '1 hour'")
    retaining = Retaining(database, Folding(database, log), Retention(max_age_days=30))
    await retaining.review()
    assert (await log.head(LogId(PROJECT))).floor == 12
    assert (await log.head(LogId("q"))).floor == 0


async def test_readers_get_all_or_are_told_while_events_are_packed_and_deleted(
    log: Log, database: Database, retaining: Retaining
) -> None:
    written = asyncio.Event()

    async def write() -> None:
        for n in range(40):
            await log.append(LogId(PROJECT), turn(str(n), 98))
        written.set()

    async def store() -> None:
        while not written.is_set():
            await Packing(database, 0).pack(LogId(PROJECT))
            await retaining.apply(LogId(PROJECT), Retention(max_bytes=2_000))

    async def read(session: str | None) -> int:
        reader, cursor, told = Log(database), Cursor(1, 0), 0
        while cursor.seq < 4_000:
            try:
                events = await reader.read(LogId(PROJECT), cursor, session)
            except NotKept as exc:
                told += 1
                cursor = Cursor(1, exc.head)
                continue
            if events:
                assert [event.seq for event in events] == list(range(cursor.seq + 1, events[-1].seq + 1))
                cursor = events[-1].cursor
        return told

    async with asyncio.timeout(60):
        await asyncio.gather(write(), store(), *(read(session) for session in (None, "s", None)))
    assert (await log.head(LogId(PROJECT))).floor > 0
    page = await Transcript(database, log, Folding(database, log)).page(
        PROJECT, "s", after=None, limit=200, newest_first=False
    )
    assert len(page.messages) == 80


async def test_a_turn_that_runs_takes_nothing_with_it_that_no_rule_takes(
    log: Log, database_url: str, retaining: Retaining
) -> None:
    await log.append(LogId(PROJECT), [*turn("a", 100), started("b"), *chunks("b", 10)])
    ask(
        database_url,
        "insert into turns (project_id, id, session_id, user_id, state, before_seq)"
        " values ('p', 'b', 's', 'u', 'running', 102)",
    )
    for rule in (Retention(max_bytes=2**40), Retention(max_age_days=30), Retention()):
        assert await retaining.apply(LogId(PROJECT), rule) == 0
    assert await first_kept(log) == 1
