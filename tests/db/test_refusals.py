"""A database that answers and refuses: the error, the log and the probe say why, and it goes on when that has ended."""

import asyncio
import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg2.errors
import pytest

from gateway.db import pool, troubles
from gateway.db.embedded import EmbeddedPostgres
from gateway.db.errors import OutcomeUnknown, Unusable, from_sqlstate
from gateway.db.migrate import MigrationFailed, migrate
from gateway.db.pool import Database
from gateway.db.troubles import Troubles
from gateway.errors import DatabaseUnavailable, GatewayError
from gateway.telemetry import readiness
from gateway.upkeep import presence
from tests.conftest import administer, with_database
from tests.db.things import QUERIES, SCHEMA, ask
from tests.fakes.eventually import until
from tests.fakes.numbered import NumberedContainer
from tests.log.recording import begun, until_recorded, updates
from tests.world import QUICK, Gateway, GatewayProcess


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(troubles, "LASTS_SECONDS", 1.0)
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0.0)


async def database_part(gateway: Gateway) -> tuple[int, str]:
    """What the probe says: its status, and why the database is not ready."""
    answer = await gateway.call("GET", "/readyz")
    return answer.status, answer.json["parts"]["database"].get("reason", "")


async def refused(gateway: Gateway) -> str:
    """The reason in the answer to a call that changes something."""
    answer = await gateway.call("POST", "/api/projects", {"id": "other", "containerUrl": "http://127.0.0.1:4096"})
    assert answer.status == 503, answer.body
    assert answer.json["code"] == "database_unavailable"
    assert answer.headers["Retry-After"]
    reason: str = answer.json["reason"]
    return reason


async def is_ready(gateway: Gateway) -> bool:
    return (await database_part(gateway))[0] == 200


async def test_a_read_only_database_is_said_to_be_one(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        await until(lambda: is_ready(gateway))
        set_read_only(database_url, on=True)
        assert await refused(gateway) == "read_only"
        await until(lambda: not_ready_because(gateway, "it takes no changes: it is a standby, or set to read only"))
        assert "database refuses work" in caplog.text
        set_read_only(database_url, on=False)
        await until(lambda: is_ready(gateway))
        assert "database works again" in caplog.text
        assert (await gateway.call("GET", "/api/projects")).status == 200


def set_read_only(url: str, *, on: bool) -> None:
    name = ask(url, "select current_database()")[0][0]
    elsewhere = with_database(url, "postgres")
    administer(elsewhere, "alter database {} set default_transaction_read_only = " + ("on" if on else "off"), str(name))
    ask(elsewhere, "select pg_terminate_backend(pid) from pg_stat_activity where datname = %(name)s", name=name)


async def not_ready_because(gateway: Gateway, clause: str) -> bool:
    status, reason = await database_part(gateway)
    return status == 503 and clause in reason


# A full disk


@pytest.fixture
def small_disk(debian: EmbeddedPostgres, open_directory: Path) -> Iterator[str]:
    """A database on a disk of its own of 24 MB."""
    place = open_directory / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0777", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small file system")
    try:
        owner = place / "own"
        owner.mkdir(mode=0o700)
        data = Path(str(ask(debian.url, "show data_directory")[0][0])).stat()
        os.chown(owner, data.st_uid, data.st_gid)
        administer(debian.url, f"create tablespace small location '{owner}'")
        administer(debian.url, "create database {} tablespace small", "small")
        yield with_database(debian.url, "small")
        administer(debian.url, "drop database {} with (force)", "small")
        administer(debian.url, "drop tablespace small")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


async def test_a_full_disk_is_said_to_be_one_and_no_event_is_lost(
    small_disk: str, caplog: pytest.LogCaptureFixture
) -> None:
    migrate(small_disk)
    async with NumberedContainer() as container, GatewayProcess(small_disk, QUICK).run() as gateway:
        project = await begun(gateway, container)
        async with project.events():
            container.emit(5)
            await until_recorded(gateway, 5)
            fill(small_disk)
            container.emit(2_000)
            await until(lambda: not_ready_because(gateway, "its disk is full"), within=15)
            assert "disk_full" in [getattr(record, "reason", None) for record in caplog.records]
            ask(small_disk, "drop table filler")
            ask(small_disk, "checkpoint")
            assert updates(await until_recorded(gateway, 2_005)) == list(container.truth.values())
            await until(lambda: is_ready(gateway))


def fill(url: str) -> None:
    ask(url, "create table filler (a text)")
    ask(url, "alter table filler alter a set storage external")
    for size in (1_000_000, 100_000, 7_000, 7_000):
        insert = f"insert into filler select repeat(md5(i::text), {size // 32}) from generate_series(1, 50) i"
        for _ in range(20):
            try:
                ask(url, insert)
            except psycopg2.errors.DiskFull:
                break


# Privileges


def test_a_role_that_may_not_create_is_told_which_privilege_is_missing(debian_url: str) -> None:
    plain = debian_url.replace("postgres@", "plain@")
    ask(debian_url, "revoke create on schema public from public")
    with pytest.raises(MigrationFailed, match=r"permission denied for schema public\. Grant it USAGE and CREATE"):
        migrate(plain)
    migrate(debian_url)
    ask(debian_url, "grant select, insert, update, delete on all tables in schema public to plain")
    assert migrate(plain) == [], "a role that may only read and write may start a gateway"


async def test_a_missing_privilege_is_said_to_be_missing(debian_url: str) -> None:
    ask(debian_url, SCHEMA)
    async with await Database.open(debian_url.replace("postgres@", "plain@"), queries=QUERIES) as database:
        with pytest.raises(Unusable, match="lacks a privilege") as caught:
            await database.execute("put", id="a")
    assert caught.value.members == {"reason": "insufficient_privilege"}
    assert "things" not in str(caught.value)


# A synchronous standby


@pytest.fixture
def without_standby(debian: EmbeddedPostgres) -> Iterator[None]:
    """Commits wait for a standby that there is not."""
    wait_for(debian.url, "nobody")
    yield
    wait_for(debian.url, "")


def wait_for(url: str, standby: str) -> None:
    administer(url, f"alter system set synchronous_standby_names = '{standby}'")
    ask(url, "select pg_reload_conf()")


async def put_for_a_while(database: Database) -> None:
    """PostgreSQL applies a new setting a moment after it was told to."""
    for number in range(50):
        await database.execute("put", id=str(number))
        await asyncio.sleep(0.1)


async def test_a_statement_that_waits_for_a_synchronous_standby_says_so(
    debian_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pool, "GRACE", 0.7)
    ask(debian_url, SCHEMA)
    async with await Database.open(debian_url, statement_timeout=1, queries=QUERIES) as database:
        request.getfixturevalue("without_standby")
        with pytest.raises(OutcomeUnknown, match="commits wait for a synchronous standby") as caught:
            await put_for_a_while(database)
    assert caught.value.members == {"reason": "synchronous_standby"}
    assert "synchronous_standby" in [getattr(record, "reason", None) for record in caplog.records]


async def test_a_gateway_whose_commits_wait_for_a_synchronous_standby_is_not_ready(
    debian_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "LATE_SECONDS", 0.5)
    migrate(debian_url)
    async with GatewayProcess(debian_url, QUICK).run() as gateway:
        await until(lambda: is_ready(gateway))
        request.getfixturevalue("without_standby")
        await until(lambda: not_ready_because(gateway, "commits wait for a synchronous standby"), within=15)
        wait_for(debian_url, "")
        await until(lambda: is_ready(gateway))


# Too few connections


@pytest.fixture
def for_two(debian: EmbeddedPostgres, debian_url: str) -> Iterator[str]:
    """The same database for a role that may have two connections."""
    ask(debian_url, "alter role plain connection limit 2")
    yield debian_url.replace("postgres@", "plain@")
    ask(debian_url, "alter role plain connection limit -1")


async def test_with_too_few_connections_a_call_waits_for_one_of_ours(
    for_two: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with await Database.open(for_two, size=8, queries=QUERIES) as database:
        await asyncio.gather(*(database.fetch_one("sleep", seconds=0.01) for _ in range(100)))
        assert list(database.troubles()) == ["too_many_connections"]
        assert database.usage().waiting == 0
        assert database.usage().lent == 0
    assert "too_many_connections" in [getattr(record, "reason", None) for record in caplog.records]


async def test_waiting_for_one_of_ours_has_a_limit_and_then_the_reason_is_said(for_two: str) -> None:
    async with await Database.open(for_two, size=8, acquire_timeout=0.3, queries=QUERIES) as database:
        busy = [asyncio.create_task(database.fetch_one("sleep", seconds=1.0)) for _ in range(2)]
        await asyncio.sleep(0.1)
        with pytest.raises(DatabaseUnavailable, match="gives the gateway no more connections") as caught:
            await database.fetch_all("backend")
        assert caught.value.members == {"reason": "too_many_connections"}
        await asyncio.gather(*busy)


async def test_when_ours_break_those_who_wait_for_them_are_not_left_waiting(for_two: str, debian_url: str) -> None:
    async with await Database.open(for_two, size=8, acquire_timeout=10, queries=QUERIES) as database:
        work = [asyncio.create_task(database.fetch_one("sleep", seconds=0.8)) for _ in range(6)]
        await asyncio.sleep(0.3)
        async with asyncio.timeout(8):
            ask(debian_url, "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'plain'")
            found = await asyncio.gather(*work, return_exceptions=True)
        assert sum(isinstance(one, GatewayError) for one in found) == 2
        assert await database.fetch_one("backend")


async def test_a_caller_who_leaves_takes_no_connection_with_him(for_two: str) -> None:
    async with await Database.open(for_two, size=8, acquire_timeout=0.05, queries=QUERIES) as database:
        for _ in range(5):
            await asyncio.gather(*(database.fetch_one("sleep", seconds=0.05) for _ in range(8)), return_exceptions=True)
        assert await database.fetch_one("backend")
        assert database.usage().lent == 0


# The words


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_trouble_is_logged_when_it_begins_and_when_none_has_come_for_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()
    found = Troubles(clock)
    error = from_sqlstate("53100", "could not extend file", None)
    assert isinstance(error, Unusable)
    for clock.now in (0.0, 0.5, 1.0):
        found.saw(error.reason)
    assert dict(found.lasting()) == {"disk_full": "its disk is full"}
    assert [record.getMessage() for record in caplog.records] == ["database refuses work"]
    clock.now = 2.1
    assert dict(found.lasting()) == {}
    assert [record.getMessage() for record in caplog.records][1:] == ["database works again"]


@pytest.mark.parametrize(
    ("sqlstate", "reason"),
    [
        ("25006", "read_only"),
        ("42501", "insufficient_privilege"),
        ("53100", "disk_full"),
        ("53200", "out_of_memory"),
        ("53300", "too_many_connections"),
        ("53400", "out_of_resources"),
        ("57P03", "stopping"),
        ("58030", "system_error"),
    ],
)
def test_the_reason_is_that_of_the_sqlstate_or_of_its_class(sqlstate: str, reason: str) -> None:
    error = from_sqlstate(sqlstate, "a message that quotes a secret", None)
    assert error.members == {"reason": reason}
    assert "secret" not in str(error)
