"""Upgrading while people work: the code of before the newest migration and the present one on one database.

The former is taken from the repository's history: the commit before the one that added the newest migration. What is
older than the last migration that gateways had to be stopped for does not run beside the present version: until there
is a newer one, the former is the commit that added that one. Where there is no history (a tarball, a shallow clone)
that test is skipped; the others hold in any case.
"""

import asyncio
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path

import aiohttp
import psycopg2
import pytest
from aiohttp import web

from gateway.db.migrate import migrate, rollback
from tests.conftest import administer, with_database
from tests.fakes.eventually import until
from tests.program import environment, free_ports
from tests.world import QUICK, Gateway, GatewayProcess, Project, text_of

#: What the demo agent says once it has been slow.
SLOW = "done\n"
TOP = Path(__file__).parents[1]
#: The last migration that no former version can run beside.
STOPPED_FOR = "0003_log_ids"
#: What a next version may do to the schema under a gateway that runs: it adds, and takes nothing away.
NEXT = """\
-- What a next version might add.
alter table projects add column next_setting text;
alter table agent_sessions add column next_note text;
alter table turns add column next_note text;
alter table permissions add column next_note text;
create table next_things (id text primary key);
"""


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(TOP), *arguments], check=True, capture_output=True).stdout


@pytest.fixture(scope="session")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of just before the newest migration came."""
    try:
        newest = git("log", "-1", "--diff-filter=A", "--format=%H", "--", "migrations/*.sql").decode().strip()
        stopped = git("log", "-1", "--diff-filter=A", "--format=%H", "--", f"migrations/{STOPPED_FOR}.sql").decode()
        archive = git("archive", newest if newest == stopped.strip() else f"{newest}^", "gateway", "migrations")
    except (OSError, subprocess.CalledProcessError) as exc:
        pytest.skip(f"no history to take the version before from: {exc}")
    home = tmp_path_factory.mktemp("former")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(home, filter="data")
    return home


@asynccontextmanager
async def running(sources: Path, database_url: str, http: aiohttp.ClientSession) -> AsyncIterator[Gateway]:
    """A gateway process of these sources, ready."""
    port = free_ports(1)
    settings = {"ACP_GATEWAY_DATABASE_URL": database_url, "ACP_GATEWAY_EVENTS_LEASE": "1", "PYTHONPATH": str(sources)}
    log = (sources / f"{port}.log").open("wb")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "gateway", "serve", "--port", str(port)),
        env=environment(sources, settings),
        stdout=log,
        stderr=log,
    )
    gateway = Gateway(web.Application(), f"http://127.0.0.1:{port}", http)

    async def answers() -> bool:
        assert process.returncode is None, f"it ended; see {log.name}"
        try:
            return (await gateway.call("GET", "/api/projects")).status == 200
        except aiohttp.ClientConnectionError:
            return False

    try:
        await until(answers, within=60)
        yield gateway
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        log.close()


@pytest.fixture
def bare_database(server_url: str) -> Iterator[str]:
    """A database with nothing in it."""
    name = f"acp_gateway_upgrade_{os.getpid()}"
    administer(server_url, "create database {}", name)
    yield with_database(server_url, name)
    administer(server_url, "drop database {} with (force)", name)


@pytest.fixture
def present(tmp_path: Path) -> Path:
    """The present sources, in a place of their own like the former."""
    home = tmp_path / "present"
    home.mkdir()
    for name in ("gateway", "migrations"):
        (home / name).symlink_to(TOP / name)
    return home


async def test_one_version_replaces_the_one_before_in_the_middle_of_turns(
    former: Path, present: Path, bare_database: str, agent_host: str
) -> None:
    async with AsyncExitStack() as stack, AsyncExitStack() as replaced:
        http = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        old = await replaced.enter_async_context(running(former, bare_database, http))
        project = await old.register(agent_host, defaultAgentId="demo")
        session = await project.create_session()
        await project.prompt(session, "say before")

        # The schema moves on under the old one, which is in the middle of a turn.
        await project.prompt(session, "say during\nslow 3\nsay on", wait=None)
        new = await stack.enter_async_context(running(present, bare_database, http))
        same = Project(new, project.id)
        assert await ended(project, session, 2) == "beforeduring" + SLOW + "on"
        assert await ended(same, session, 2) == "beforeduring" + SLOW + "on"

        # Each does everything, and sees what the other does.
        for one in (project, same):
            other = same if one is project else project
            made = await one.create_session(title="made by one")
            assert (await other.prompt(made, "say from other"))["turn"]["state"] == "completed"
            await other.prompt(made, "write a.txt hello", wait=None)
            await until(partial(answer_permission, one, made))
            assert await ended(one, made, 2) == await ended(other, made, 2)
            # The old one shows as events what it does not know.
            roles = [message["role"] for message in await one.messages(made) if message["role"] != "event"]
            assert roles[:2] == ["user", "assistant"]
            assert await other.messages(made) == await one.messages(made)

        # The old one stops in the middle of a turn that it has begun.
        await project.prompt(session, "say handed\nslow 3\nsay over", wait=None)
        await replaced.aclose()
        assert (await ended(same, session, 3)).endswith("handed" + SLOW + "over")
        assert (await same.prompt(session, "say after"))["turn"]["state"] == "completed"
        numbers = [int(event.id.split("-")[1]) for event in await same.all_events() if event.id]
        assert "gap" not in {event.event for event in await same.all_events(session)}
        assert len(set(numbers)) == len(numbers)


async def ended(project: Project, session: str, turns: int) -> str:
    """What a session's agent has said once so many turns have ended."""
    async with project.events(session, query="?from=start") as stream:
        events = [event for _ in range(turns) for event in await stream.until("turn_ended")]
    return text_of(events)


async def answer_permission(project: Project, session: str) -> bool:
    waiting = (await project.call("GET", "/permission")).json["permissions"]
    mine = [one["id"] for one in waiting if one["sessionId"] == session]
    return bool(mine) and (await project.call("POST", f"/permission/{mine[0]}", {"granted": True})).status == 200


async def test_this_version_goes_on_with_a_schema_that_a_next_one_has_added_to(
    database_url: str, agent_host: str
) -> None:
    """What an additive migration does to a gateway that runs, and that the test above checks of the newest one."""
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(agent_host, defaultAgentId="demo")
        session = await project.create_session()
        await project.prompt(session, "say before\nslow 2\nsay on", wait=None)
        with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(NEXT)
            cursor.execute("insert into _yoyo_migration (migration_hash, migration_id) values ('x', '9999_next')")
        assert await ended(project, session, 1) == "before" + SLOW + "on"
        assert (await gateway.call("GET", "/readyz")).status == 200
        assert (await project.prompt(session, "say after"))["turn"]["state"] == "completed"
        made = await project.create_session()
        await project.prompt(made, "write a.txt hello", wait=None)
        await until(partial(answer_permission, project, made))
        assert len((await project.call("GET", "/session")).json["sessions"]) == 2


async def test_a_start_on_a_schema_that_is_one_step_behind_catches_up(database_url: str, agent_host: str) -> None:
    taken_back = await asyncio.to_thread(rollback, database_url)
    assert await asyncio.to_thread(migrate, database_url) == taken_back[::-1]
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(agent_host, defaultAgentId="demo")
        session = await project.create_session()
        assert (await project.prompt(session, "say hello"))["turn"]["state"] == "completed"
