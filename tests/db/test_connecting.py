"""Handshakes: each of them hung, or failed every second time, with aiopg alone."""

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from gateway.db.addresses import addresses
from gateway.db.aiopg_fixes import MendedConnection
from gateway.db.pool import Database
from gateway.errors import DatabaseUnavailable
from tests.db.conftest import Run
from tests.db.relay import Relay
from tests.db.things import QUERIES, ask, soon


async def ids(url: str, **options: float) -> list[object]:
    async with await Database.open(url, connect_timeout=options.get("connect_timeout", 5), queries=QUERIES) as database:
        return list(await database.fetch_all("ids"))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections and that nobody else is given meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def test_a_server_on_the_network_is_reached(run: Run, things_url: str) -> None:
    async def scenario() -> None:
        async with Relay(things_url) as relay:
            assert await ids(relay.url) == []

    run(scenario())


@pytest.mark.parametrize("first", ["::1", "127.0.0.1"])
def test_a_name_with_two_addresses_of_which_one_refuses(
    run: Run, things_url: str, closed_port: int, first: str
) -> None:
    async def scenario() -> None:
        async with Relay(things_url) as relay:
            name = urlsplit(things_url).path
            hosts = f"localhost:{closed_port},localhost:{relay.port}"
            assert await ids(f"postgresql://postgres@{hosts}{name}?hostaddr={first},127.0.0.1") == []

    run(scenario())


def test_the_driver_alone_comes_through_a_refusing_address(run: Run, things_url: str, closed_port: int) -> None:
    async def scenario() -> None:
        async with Relay(things_url) as relay:
            parameters = {
                "user": "postgres",
                "dbname": urlsplit(things_url).path[1:],
                "host": "127.0.0.1,127.0.0.1",
                "port": f"{closed_port},{relay.port}",
            }
            connection = await MendedConnection.open(parameters, timeout=5)
            assert connection.is_alive()
            connection.close()

    run(scenario())


def test_an_address_that_says_nothing_leaves_time_for_the_next(run: Run, things_url: str) -> None:
    async def scenario() -> None:
        async with Relay(things_url, silent=True) as silent, Relay(things_url) as relay:
            name = urlsplit(things_url).path
            url = f"postgresql://postgres@127.0.0.1:{silent.port},127.0.0.1:{relay.port}{name}"
            assert await ids(url, connect_timeout=1) == []

    run(scenario())


def test_a_server_that_says_nothing_is_given_up(run: Run, things_url: str) -> None:
    async def scenario() -> None:
        async with Relay(things_url, silent=True) as silent:
            with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
                await ids(silent.url, connect_timeout=0.2)

    run(scenario())


def test_a_refused_connection_is_refused_the_same_way_every_time(run: Run, closed_port: int) -> None:
    async def scenario() -> None:
        for _ in range(10):
            with pytest.raises(DatabaseUnavailable, match="Connection refused"):
                await ids(f"postgresql://postgres@127.0.0.1:{closed_port}/postgres")

    run(scenario())


@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer"])
def test_a_wrong_password_is_said_at_once(run: Run, guarded_url: str, sslmode: str) -> None:
    async def scenario() -> None:
        async with Relay(guarded_url) as relay:
            url = f"postgresql://guest:{{}}@127.0.0.1:{relay.port}/postgres?sslmode={sslmode}"
            async with asyncio.timeout(4):
                with pytest.raises(DatabaseUnavailable) as caught:
                    await ids(url.format("wrong"))
            assert "wrong" not in str(caught.value)
            async with await Database.open(url.format("secret"), queries=QUERIES) as database:
                assert await database.fetch_one("backend")

    run(scenario())


def test_encryption_that_the_server_does_not_have_is_said_at_once(run: Run, guarded_url: str) -> None:
    async def scenario() -> None:
        async with Relay(guarded_url) as relay:
            with pytest.raises(DatabaseUnavailable, match="server does not support SSL"):
                await ids(f"postgresql://guest:secret@127.0.0.1:{relay.port}/postgres?sslmode=require")

    run(scenario())


def test_a_socket_that_is_not_there_is_said_at_once(run: Run) -> None:
    with pytest.raises(DatabaseUnavailable, match="No such file or directory"):
        run(ids("postgresql://postgres@/postgres?host=/nonexistent"))


async def test_a_name_that_does_not_resolve_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DatabaseUnavailable, match="could not be resolved"):
        await ids("postgresql://postgres@database.invalid/postgres")


async def test_each_address_of_a_name_is_tried_with_the_name_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(host: str, *_: object, **__: object) -> list[object]:
        if host == "gone":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        found = [(0, 0, 0, "", ("::1", 0, 0, 0)), (0, 0, 0, "", ("127.0.0.1", 0)), (0, 0, 0, "", ("::1", 0, 0, 0))]
        return list(found)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert await addresses({"host": "gone,both,/run/pg", "port": "1,2,3"}) == [
        {"host": "both", "hostaddr": "::1", "port": "2"},
        {"host": "both", "hostaddr": "127.0.0.1", "port": "2"},
        {"host": "/run/pg", "port": "3"},
    ]
    assert await addresses({"host": "both", "hostaddr": "10.0.0.1"}) == [{"host": "both", "hostaddr": "10.0.0.1"}]
    assert await addresses({}) == [{}]


def test_a_dead_connection_with_a_high_number_is_noticed(run: Run, things_url: str) -> None:
    """select(), which aiopg asks, knows descriptors up to 1023 only; a gateway with many streams has more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip("this machine allows no more than 2048 open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    low = [os.dup(0) for _ in range(1100)]

    async def scenario() -> None:
        async with await Database.open(things_url, queries=QUERIES) as database:
            caller = asyncio.create_task(database.fetch_one("sleep", seconds=10))
            await asyncio.to_thread(
                soon,
                lambda: ask(
                    things_url,
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and query like %(sleeping)s and pid <> pg_backend_pid()",
                    sleeping="%pg_sleep(10%",
                ),
            )
            with pytest.raises(Exception, match="database"):
                async with asyncio.timeout(3):
                    await caller

    try:
        run(scenario())
    finally:
        for descriptor in low:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
