"""What holds while a gateway of the version before is still at work, and while the migrations of this one run."""

import threading
from contextlib import closing

import psycopg2
import pytest

from gateway.db.migrate import migrate, names, rollback
from gateway.db.pool import Database
from gateway.errors import ProjectExists
from gateway.follow.lease import Leases
from gateway.log.store import Log, NewEvent, StaleFence
from gateway.projects.cleanup import Remains
from gateway.projects.store import NewProject, Projects
from gateway.wire.events import OPENCODE_EVENT, Cursor
from gateway.wire.opencode import opencode_log
from tests.db.things import ask, soon

#: As the version before deletes a project: it knows of one log.
DELETED = """\
with project as (delete from projects where id = 'demo' returning id)
insert into deleted_projects (project_id) select id from project"""


def said(text: str) -> NewEvent:
    return NewEvent(type=OPENCODE_EVENT, data=b'{"text":"%s"}' % text.encode())


def taken_back_to_before(url: str, migration: str) -> None:
    rollback(url, len([name for name in names() if name >= migration]))


async def test_what_was_recorded_goes_with_a_project_that_a_former_version_deletes(
    database: Database, database_url: str
) -> None:
    projects, log = Projects(database), Log(database)
    await projects.create("ann", NewProject(id="demo", container_url="http://x:1", record_opencode_events=True))
    await log.append(opencode_log("demo"), [said("of ann")])
    ask(database_url, DELETED)
    new = NewProject(id="demo", container_url="http://y:1", record_opencode_events=True)
    with pytest.raises(ProjectExists):
        await projects.create("bob", new)
    for log_id in ("demo", opencode_log("demo")):
        assert await Remains(database).remove(log_id, seconds=5)
    await projects.create("bob", new)
    await log.append(opencode_log("demo"), [said("of bob")])
    head = (await log.heads([opencode_log("demo")]))[opencode_log("demo")]
    events = await log.read(opencode_log("demo"), Cursor(head.epoch, 0))
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
    assert await first.claim_opencode_log(former, opencode_log(project.id), "unnumbered-1")
    await database.execute("expire_leases")
    [_] = await second.acquire([project.id], everything=False)
    for log_id in (project.id, opencode_log(project.id)):
        with pytest.raises(StaleFence):
            await log.append(log_id, [said("late")], numbers=[1], source="unnumbered-1", fence=former.fence)


def test_a_credential_that_is_given_while_secrets_begin_to_be_kept_is_kept(database_url: str) -> None:
    taken_back_to_before(database_url, "0107")
    with closing(psycopg2.connect(database_url)) as giver, giver.cursor() as cursor:
        cursor.execute(
            "insert into projects (id, owner_id, name, container_url) values ('p', 'ann', 'p', 'http://x:1')"
        )
        cursor.execute(
            "insert into agent_auth_tokens (user_id, agent_id, token_type, sealed_access_token, key_id, fingerprint)"
            " values ('ann', 'demo', 'api_key', 'sealed', 'k', 'f')"
        )
        giver.commit()
        cursor.execute(
            "insert into given_credentials (project_id, agent_id, user_id, owner, version)"
            " select 'p', agent_id, user_id, 'o', version from agent_auth_tokens for share"
        )
        migrating = threading.Thread(target=migrate, args=(database_url,))
        migrating.start()
        waiting = "select 1 from pg_locks where not granted"
        soon(lambda: ask(database_url, waiting))
        giver.commit()
        migrating.join()
    assert ask(database_url, "select user_id, version from given_secrets") == [("ann", 1)]


def test_a_migration_and_an_append_that_wait_for_each_other_both_come_to_their_end(database_url: str) -> None:
    taken_back_to_before(database_url, "0100")
    with closing(psycopg2.connect(database_url)) as appender, appender.cursor() as cursor:
        cursor.execute(
            "insert into projects (id, owner_id, name, container_url) values ('p', 'ann', 'p', 'http://x:1')"
        )
        cursor.execute("insert into log_heads (project_id) values ('p')")
        appender.commit()
        cursor.execute("update log_heads set head = head + 1 where project_id = 'p'")
        migrating = threading.Thread(target=migrate, args=(database_url,))
        migrating.start()
        soon(lambda: ask(database_url, "select 1 from pg_locks where not granted"))
        cursor.execute("insert into log_sources (project_id, source, mark) values ('p', 's', 1)")
        appender.commit()
        migrating.join()
    assert ask(database_url, "select head from log_heads") == [(1,)]
    assert {name for (name,) in ask(database_url, "select migration_id from _yoyo_migration")} >= names()
