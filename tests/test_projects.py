"""Projects as the database keeps them: deleted while others append, changed while others read."""

import asyncio
import json
import logging
from typing import Any

import psycopg2
import pytest

from gateway.db.pool import Database
from gateway.errors import ProjectNotFound
from gateway.log.ids import LogId
from gateway.log.store import Log, NewEvent
from gateway.projects.store import NewProject, Projects
from tests.fakes.eventually import eventually

OWNER = "local"
PROJECT = "p"
ADDRESS = "http://127.0.0.1:4096"
INSERT_SOURCE = "insert into log_sources (project_id, log, source, mark) values (%s, 'acp', 'boot', 1)"


@pytest.fixture
async def projects(database: Database) -> Projects:
    projects = Projects(database)
    await projects.create(OWNER, NewProject(id=PROJECT, container_url=ADDRESS))
    return projects


def said(text: str, number: int) -> NewEvent:
    return NewEvent(type="session_update", data=json.dumps(text).encode(), number=number)


async def test_a_deletion_waits_for_an_append_under_way_and_holds_nothing_that_it_needs(
    database_url: str, projects: Projects, caplog: pytest.LogCaptureFixture
) -> None:
    """An append locks the head, then its source's row, which refers to the project: a deletion that had locked the
    project before it came to the head would make a deadlock."""
    caplog.set_level(logging.INFO)
    other = psycopg2.connect(database_url)
    try:
        with other.cursor() as cursor:
            cursor.execute("select from log_heads where project_id = %s for update", (PROJECT,))
            deletion = asyncio.create_task(projects.delete(OWNER, PROJECT))
            await eventually(lambda: _waits_for_a_lock(database_url))
            # The rest of the append, by a source that is new.
            cursor.execute(INSERT_SOURCE, (PROJECT,))
            other.commit()
        await deletion
    finally:
        other.close()
    assert "deadlock" not in caplog.text
    assert _left_behind(database_url) == {}


async def test_a_deletion_waits_for_a_session_that_is_being_folded(
    database_url: str, projects: Projects, caplog: pytest.LogCaptureFixture
) -> None:
    """A fold locks its session, then writes messages, which refer to the project."""
    insert = (
        "insert into agent_sessions (project_id, id, user_id, agent_id, status) values (%s, 's', 'u', 'a', 'active')"
    )
    message = (
        "insert into agent_session_messages"
        " (project_id, session_id, first_seq, last_seq, role, at, updated_at, body)"
        " values (%s, 's', 1, 1, 'user', now(), now(), '{}')"
    )
    caplog.set_level(logging.INFO)
    other = psycopg2.connect(database_url)
    try:
        with other.cursor() as cursor:
            cursor.execute(insert, (PROJECT,))
            other.commit()
            cursor.execute("select from agent_sessions where project_id = %s for update", (PROJECT,))
            deletion = asyncio.create_task(projects.delete(OWNER, PROJECT))
            await eventually(lambda: _waits_for_a_lock(database_url))
            cursor.execute(message, (PROJECT,))
            other.commit()
        await deletion
    finally:
        other.close()
    assert "deadlock" not in caplog.text
    assert _left_behind(database_url) == {}


async def test_a_project_deleted_under_appends_leaves_nothing_behind_and_refuses_what_comes_after(
    database: Database, database_url: str, projects: Projects
) -> None:
    log = Log(database)
    appended = asyncio.Event()

    async def append(writer: int) -> None:
        number = 0
        while True:
            number += 1
            # A source of its own each time: each append makes a row that refers to the project.
            await log.append(LogId(PROJECT), [said("x", 1)], source=f"{writer}-{number}")
            appended.set()

    writers = [asyncio.create_task(append(writer)) for writer in range(6)]
    async with asyncio.timeout(30):
        await appended.wait()
        await projects.delete(OWNER, PROJECT)
        ends = await asyncio.gather(*writers, return_exceptions=True)
    assert [type(end) for end in ends] == [ProjectNotFound] * len(writers)
    assert _left_behind(database_url) == {}


@pytest.mark.parametrize("change", ["update", "delete"])
async def test_a_change_made_while_a_read_is_under_way_is_not_overwritten_by_what_was_read(
    database: Database, projects: Projects, change: str
) -> None:
    slow = SlowReads(database)
    projects = Projects(slow)  # type: ignore[arg-type]
    reading = asyncio.create_task(projects.get(OWNER, PROJECT))
    await slow.read.wait()
    if change == "update":
        await projects.update(OWNER, PROJECT, {"name": "new"})
    else:
        await projects.delete(OWNER, PROJECT)
    slow.go_on.set()
    assert (await reading).name == PROJECT  # as it was when it was read
    if change == "update":
        assert (await projects.get(OWNER, PROJECT)).name == "new"
    else:
        with pytest.raises(ProjectNotFound):
            await projects.get(OWNER, PROJECT)


async def test_of_two_changes_at_once_the_one_that_is_told_of_later_is_not_taken_for_the_newer(
    database: Database, projects: Projects
) -> None:
    slow = SlowReads(database)
    projects = Projects(slow)  # type: ignore[arg-type]
    first = asyncio.create_task(projects.update(OWNER, PROJECT, {"name": "first"}))
    await slow.read.wait()
    await Projects(database).update(OWNER, PROJECT, {"name": "second"})
    slow.go_on.set()
    await first
    assert (await projects.get(OWNER, PROJECT)).name == "second"


class SlowReads:
    """A database that has answered the first time, and does not say so yet."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.read, self.go_on = asyncio.Event(), asyncio.Event()

    async def fetch_one(self, query: str, **values: Any) -> Any:
        return await self._told_later(await self._database.fetch_one(query, **values))

    async def transaction(self, work: Any) -> Any:
        return await self._told_later(await self._database.transaction(work))

    async def _told_later(self, answer: Any) -> Any:
        if not self.read.is_set():
            self.read.set()
            await self.go_on.wait()
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


def _waits_for_a_lock(url: str) -> bool:
    return bool(_all(url, "select from pg_stat_activity where datname = current_database() and wait_event_type='Lock'"))


def _left_behind(url: str) -> dict[str, int]:
    """Rows of the project in any table that has projects."""
    tables = _all(
        url,
        "select table_name from information_schema.columns c join information_schema.tables t"
        " using (table_schema, table_name)"
        " where c.column_name = 'project_id' and c.table_schema = 'public' and t.table_type = 'BASE TABLE'",
    )
    counted = {
        name: _all(url, f"select count(*) from {name} where project_id = '{PROJECT}'")[0][0] for (name,) in tables
    }
    assert counted.keys() > {"events", "log_heads", "log_sources"}
    return {name: count for name, count in counted.items() if count}


def _all(url: str, query: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()
    finally:
        connection.close()
