"""Reading the log: complete, or told that it is no longer kept."""

import asyncio
import json

import pytest

from gateway.db.pool import Database
from gateway.db.queries import Queries
from gateway.errors import ProjectNotFound
from gateway.log.ids import LogId
from gateway.log.reading import NotKept
from gateway.log.store import Log, NewEvent
from gateway.projects.store import NewProject, Projects
from gateway.wire.events import Cursor

PROJECT = "p"


@pytest.fixture
async def log(database: Database) -> Log:
    await Projects(database).create("local", NewProject(id=PROJECT, container_url="http://127.0.0.1:4096"))
    return Log(database)


def said(n: int) -> NewEvent:
    return NewEvent(type="session_update", data=json.dumps(n).encode(), session_id="s")


async def delete_up_to(database_url: str, seq: int) -> None:
    queries = Queries.parse(
        "-- delete --\n-- As retention does, in one transaction.\n"
        "with gone as (delete from events where project_id = 'p' and seq <= %(seq)s)\n"
        "update log_heads set floor = %(seq)s where project_id = 'p';\n"
    )
    async with await Database.open(database_url, queries=queries) as database:
        await database.execute("delete", seq=seq)


@pytest.mark.parametrize("session", [None, "s"])
async def test_a_place_below_the_floor_is_told_and_never_skipped(
    log: Log, database_url: str, session: str | None
) -> None:
    appended = await log.append(LogId(PROJECT), [said(n) for n in range(10)])
    await delete_up_to(database_url, 4)
    with pytest.raises(NotKept) as told:
        await log.read(LogId(PROJECT), Cursor(1, 3), session)
    assert (told.value.epoch, told.value.floor, told.value.head) == (1, 4, 10)
    assert await log.read(LogId(PROJECT), Cursor(1, 4), session) == list(appended.events[4:])
    await delete_up_to(database_url, 10)
    assert await log.read(LogId(PROJECT), Cursor(1, 10), session) == []


async def test_a_place_in_another_log_is_told(log: Log) -> None:
    await log.append(LogId(PROJECT), [said(1)])
    with pytest.raises(NotKept):
        await log.read(LogId(PROJECT), Cursor(2, 0))


async def test_a_log_that_is_gone_is_told(log: Log) -> None:
    with pytest.raises(ProjectNotFound):
        await log.read(LogId("another"), Cursor(1, 0))


async def test_a_reader_gets_all_or_is_told_while_events_are_deleted(log: Log, database_url: str) -> None:
    total = 3000
    for start in range(0, total, 500):
        await log.append(LogId(PROJECT), [said(n) for n in range(start, start + 500)])

    async def read() -> None:
        cursor = Cursor(1, 0)
        while cursor.seq < total:
            try:
                events = await log.read(LogId(PROJECT), cursor)
            except NotKept as exc:
                cursor = Cursor(1, max(exc.floor, cursor.seq + 1))
                continue
            numbers = [event.seq for event in events]
            assert numbers == list(range(cursor.seq + 1, numbers[-1] + 1))
            cursor = events[-1].cursor

    async def delete() -> None:
        for seq in range(0, total, 300):
            await delete_up_to(database_url, seq)

    await asyncio.gather(delete(), *(read() for _ in range(5)))
