"""PostgreSQL goes away, or the network to it does: what callers are told, and how soon all is well again."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.db import pool
from gateway.db.aiopg_fixes import MendedConnection
from gateway.db.errors import OutcomeUnknown
from gateway.db.pool import Database, Transaction
from gateway.db.sending import ConnectionLost, send
from gateway.errors import DatabaseUnavailable
from tests.db.conftest import Run
from tests.db.last_words import stopping_server
from tests.db.relay import Relay
from tests.db.things import QUERIES, SCHEMA, ask
from tests.fakes.eventually import eventually
from tests.restartable import Restartable


def stored(url: str) -> list[object]:
    return [row[0] for row in ask(url, "select id from things order by id")]


@pytest.fixture(scope="module")
def restartable(module_directory: Path) -> Iterator[Restartable]:
    server = Restartable(module_directory / "restartable")
    ask(server.url, SCHEMA)
    yield server
    server.stop()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_a_restart_is_recovered_from(run: Run, restartable: Restartable, how: signal.Signals) -> None:
    async def scenario() -> None:
        async with await Database.open(restartable.url, size=4, queries=QUERIES) as database:
            await asyncio.gather(*(database.fetch_one("sleep", seconds=0.05) for _ in range(4)))
            writing = asyncio.create_task(database.execute("put_slowly", id="lost", seconds=30))
            changing = asyncio.create_task(database.transaction(slow_change))
            await asyncio.sleep(0.1)
            await asyncio.to_thread(restartable.stop, how)
            with pytest.raises(OutcomeUnknown):
                await writing
            with pytest.raises(DatabaseUnavailable):
                await changing
            for _ in range(5):
                with pytest.raises(DatabaseUnavailable) as caught:
                    await database.fetch_all("ids")
                assert caught.value.headers["Retry-After"]
            await asyncio.to_thread(restartable.start)
            found = await asyncio.gather(*(database.fetch_all("ids") for _ in range(8)))
            assert found == [[]] * 8

    run(scenario())


async def slow_change(transaction: Transaction) -> None:
    await transaction.execute("put", id="a")
    await transaction.fetch_one("sleep", seconds=30)


def test_idle_connections_of_before_a_restart_fail_nobody(run: Run, restartable: Restartable) -> None:
    async def scenario() -> None:
        async with await Database.open(restartable.url, size=4, queries=QUERIES) as database:
            await asyncio.gather(*(database.fetch_one("sleep", seconds=0.05) for _ in range(4)))
            # Without giving the loop a chance to see the connections go.
            restartable.stop()
            restartable.start()
            await asyncio.gather(*(database.execute("put", id=id_) for id_ in "abcd"))
            assert await database.execute("take_all") == 4

    run(scenario())


def test_a_read_whose_connection_is_cut_is_read_again(run: Run, things_url: str) -> None:
    async def scenario() -> None:
        async with Relay(things_url) as relay, await Database.open(relay.url, queries=QUERIES) as database:
            relay.cut_after(b"select id from things")
            assert await database.fetch_all("ids") == []
            assert relay.accepted == 2

    run(scenario())


def test_a_server_that_is_stopped_at_once_is_missed_at_once(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        with stopping_server(tmp_path) as parameters:
            connection = await MendedConnection.open(parameters, timeout=10)
            with pytest.raises(ConnectionLost):
                await asyncio.wait_for(send(connection, "select 1", {}, 10), 2)
            connection.close()

    run(scenario())


def test_a_write_whose_answer_is_lost_is_neither_repeated_nor_called_failed(run: Run, things_url: str) -> None:
    async def scenario() -> None:
        async with Relay(things_url) as relay, await Database.open(relay.url, queries=QUERIES) as database:
            relay.cut_after(b"insert into things")
            with pytest.raises(OutcomeUnknown) as caught:
                await database.execute("put", id="a")
            assert caught.value.status == 503
            assert caught.value.headers["Retry-After"]
            assert stored(things_url) == ["a"]

    run(scenario())


@pytest.mark.parametrize(("arrives", "left"), [(True, ["a"]), (False, [])])
def test_a_commit_whose_answer_is_lost_may_have_happened(
    run: Run, things_url: str, arrives: bool, left: list[object]
) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.execute("put", id="a")

    async def scenario() -> None:
        async with Relay(things_url) as relay, await Database.open(relay.url, queries=QUERIES) as database:
            (relay.cut_after if arrives else relay.cut_before)(b"COMMIT")
            with pytest.raises(OutcomeUnknown):
                await database.transaction(work)
            assert stored(things_url) == left

    run(scenario())


def test_a_transaction_cut_before_its_commit_never_happened(run: Run, things_url: str) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.execute("put", id="a")
        await transaction.execute("put", id="b")

    async def scenario() -> None:
        async with Relay(things_url) as relay, await Database.open(relay.url, queries=QUERIES) as database:
            relay.cut_after(b"values ('b')")
            with pytest.raises(DatabaseUnavailable):
                await database.transaction(work)
            assert stored(things_url) == []

    run(scenario())


def test_work_that_hides_a_lost_connection_is_not_called_committed(run: Run, things_url: str) -> None:
    async def work(transaction: Transaction) -> None:
        with pytest.raises(DatabaseUnavailable):
            await transaction.execute("put", id="a")

    async def scenario() -> None:
        async with Relay(things_url) as relay, await Database.open(relay.url, queries=QUERIES) as database:
            relay.cut_after(b"insert into things")
            with pytest.raises(DatabaseUnavailable):
                await database.transaction(work)

    run(scenario())


def test_a_transaction_whose_begin_is_cut_is_begun_again(run: Run, things_url: str) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.execute("put", id="a")

    async def scenario() -> None:
        async with Relay(things_url) as relay, await Database.open(relay.url, queries=QUERIES) as database:
            relay.cut_before(b"BEGIN")
            await database.transaction(work)
            assert stored(things_url) == ["a"]

    run(scenario())


def test_a_network_that_swallows_everything_is_given_up(
    run: Run, things_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "GRACE", 0.1)

    async def scenario() -> None:
        async with Relay(things_url) as relay:
            database = await Database.open(
                relay.url, statement_timeout=0.2, connect_timeout=0.2, acquire_timeout=0.2, queries=QUERIES
            )
            relay.silent = True
            with pytest.raises(DatabaseUnavailable):
                await database.fetch_all("ids")
            relay.silent = False
            assert await database.fetch_all("ids") == []
            relay.silent = True
            with pytest.raises(OutcomeUnknown):
                await database.execute("put", id="a")
            await database.close()

    run(scenario())


async def test_a_backend_that_is_terminated_while_idle_fails_nobody(things_url: str) -> None:
    async with await Database.open(things_url, size=1, queries=QUERIES) as database:
        row = await database.fetch_one("backend")
        assert row is not None
        ask(things_url, "select pg_terminate_backend(%(pid)s)", pid=row["pid"])
        await eventually(lambda: not ask(things_url, "select 1 from pg_stat_activity where pid = %(p)s", p=row["pid"]))
        assert await database.execute("put", id="a") == 1
