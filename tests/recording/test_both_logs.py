"""A project's two logs are deleted, and change hands, together."""

import pytest

from gateway.db.pool import Database
from gateway.errors import ProjectExists
from gateway.follow.lease import Leases
from gateway.log.ids import LogId
from gateway.log.store import Log, NewEvent, StaleFence
from gateway.projects.cleanup import Remains
from gateway.projects.store import NewProject, Projects
from gateway.wire.events import OPENCODE_EVENT, Cursor
from gateway.wire.opencode import EVENT
from tests.db.things import ask

#: As a project is deleted, before the remains are looked after.
DELETED = """\
with project as (delete from projects where id = 'demo' returning id)
insert into deleted_projects (project_id) select id from project"""


def said(text: str) -> NewEvent:
    return NewEvent(type=OPENCODE_EVENT, data=b'{"text":"%s"}' % text.encode())


async def test_nobody_gets_a_deleted_projects_id_before_what_was_recorded_is_gone(
    database: Database, database_url: str
) -> None:
    projects, log, recorded = Projects(database), Log(database), LogId("demo", EVENT.name)
    await projects.create("ann", NewProject(id="demo", container_url="http://x:1", record_opencode_events=True))
    await log.append(recorded, [said("of ann")])
    ask(database_url, DELETED)
    new = NewProject(id="demo", container_url="http://y:1", record_opencode_events=True)
    with pytest.raises(ProjectExists):
        await projects.create("bob", new)
    assert await Remains(database).remove("demo", seconds=5)
    assert ask(database_url, "select count(*) from events") == [(0,)]
    await projects.create("bob", new)
    await log.append(recorded, [said("of bob")])
    head = (await log.heads([recorded]))[recorded]
    events = await log.read(recorded, Cursor(head.epoch, 0))
    assert b"of ann" not in b"".join(event.data for event in events)


async def test_a_former_holder_appends_to_neither_log_from_the_moment_that_another_holds_the_project(
    database: Database,
) -> None:
    project = await Projects(database).create(
        "ann", NewProject(container_url="http://x:1", record_opencode_events=True)
    )
    log, first, second = (
        Log(database),
        Leases(database, holder="a", seconds=15),
        Leases(database, holder="b", seconds=15),
    )
    [former] = await first.acquire([project.id], everything=False)
    assert await first.claim_opencode_log(former, LogId(project.id, EVENT.name))
    await database.execute("expire_leases")
    [_] = await second.acquire([project.id], everything=False)
    for log_id in (LogId(project.id), LogId(project.id, EVENT.name)):
        with pytest.raises(StaleFence):
            await log.append(log_id, [said("late")], numbers=[1], source="unnumbered-1", fence=former.fence)
