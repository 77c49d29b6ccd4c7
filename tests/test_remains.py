"""What is left of deleted projects goes behind, in batches, whoever dies in between."""

import pytest

from gateway.db.pool import Database
from gateway.errors import ProjectExists, ProjectNotFound
from gateway.log.ids import LogId
from gateway.log.store import Log
from gateway.projects import cleanup as remains_module
from gateway.projects import store as projects_module
from gateway.projects.cleanup import Remains
from gateway.projects.store import NewProject, Projects
from gateway.upkeep.packing import Packing
from tests.db.things import ask
from tests.log.packing import chunk

OWNER, PROJECT = "local", "p"
ADDRESS = "http://127.0.0.1:4096"
LEFT = (
    "select (select count(*) from events), (select count(*) from event_packs),"
    " (select count(*) from agent_session_messages), (select count(*) from deleted_projects)"
)


@pytest.fixture
async def projects(database: Database, database_url: str) -> Projects:
    """A project with 60,000 rows and 3 packs."""
    projects = Projects(database)
    await projects.create(OWNER, NewProject(id=PROJECT, container_url=ADDRESS))
    log = Log(database)
    for _ in range(3):
        await log.append(LogId(PROJECT), [chunk(n) for n in range(500)])
    await Packing(database, 0).pack(LogId(PROJECT))
    for table, columns, values in (
        ("events", "project_id, log, seq, type, at, payload", "'p', 'acp', 5000 + n, 'x', now(), '{}'"),
        (
            "agent_session_messages",
            "project_id, session_id, first_seq, last_seq, role, at, updated_at, body",
            "'p', 's', n, n, 'user', now(), now(), '{}'",
        ),
    ):
        ask(database_url, f"insert into {table} ({columns}) select {values} from generate_series(1, 30000) n")
    return projects


async def test_a_project_with_a_long_log_is_gone_at_once_and_its_rows_follow(
    projects: Projects, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projects_module, "REMOVE_SECONDS", 0)
    monkeypatch.setattr(remains_module, "REVIEW_SECONDS", 0)
    await projects.delete(OWNER, PROJECT)
    with pytest.raises(ProjectNotFound):
        await projects.get(OWNER, PROJECT)
    [left] = ask(database_url, LEFT)
    assert left == (25_000, 0, 25_000, 1)
    # Who made it then would find another's events in it.
    with pytest.raises(ProjectExists, match="still being removed") as refused:
        await projects.create(OWNER, NewProject(id=PROJECT, container_url=ADDRESS))
    assert refused.value.headers["Retry-After"]
    with pytest.raises(ProjectNotFound):
        await projects.get(OWNER, PROJECT)
    # Whoever deleted it has died: another goes on, some at a time.
    another = Remains(database)
    for _ in range(5):
        await another.review()
    assert ask(database_url, LEFT) == [(0, 0, 0, 1)]
    await another.review()
    assert ask(database_url, LEFT) == [(0, 0, 0, 0)]
    await projects.create(OWNER, NewProject(id=PROJECT, container_url=ADDRESS))
    assert (await Log(database).head(LogId(PROJECT))).head == 0


async def test_a_project_with_a_short_log_leaves_nothing_behind(projects: Projects, database_url: str) -> None:
    ask(database_url, "delete from events where seq > 5100")
    ask(database_url, "delete from agent_session_messages")
    await projects.delete(OWNER, PROJECT)
    assert ask(database_url, LEFT) == [(0, 0, 0, 0)]
