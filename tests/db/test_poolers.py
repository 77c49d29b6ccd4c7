"""The real PgBouncer between gateway and PostgreSQL, in both of its useful modes, configured as it comes."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from gateway.db.embedded import EmbeddedPostgres
from gateway.db.migrate import migrate, names
from gateway.db.pool import Database, Transaction
from gateway.stream import wakeups
from gateway.stream.room import STREAMS
from tests.db.things import LIMITS, QUERIES, SCHEMA, ask
from tests.fakes.eventually import eventually
from tests.fakes.numbered import NumberedContainer
from tests.log.recording import begun, gaps, recorded, until_recorded, updates
from tests.log.witness import Client, epoch_of, until_again
from tests.postgres import PgBouncer
from tests.world import QUICK, EventStream, Gateway, GatewayProcess, Project

MODES = ("session", "transaction")


@pytest.fixture(scope="module", params=MODES)
def bouncer(
    request: pytest.FixtureRequest, debian: EmbeddedPostgres, pgbouncer_program: Path, module_directory: Path
) -> Iterator[PgBouncer]:
    """One in each mode."""
    mode = request.param
    with PgBouncer.running(pgbouncer_program, module_directory / mode, debian.url, mode=mode) as running:
        yield running


@pytest.fixture(scope="module")
def in_transactions(debian: EmbeddedPostgres, pgbouncer_program: Path, module_directory: Path) -> Iterator[PgBouncer]:
    """One that has few connections for all, so that whatever stays on one of them is found."""
    directory = module_directory / "few"
    with PgBouncer.running(
        pgbouncer_program, directory, debian.url, mode="transaction", default_pool_size="3"
    ) as running:
        yield running


async def test_statements_have_the_gateways_limits_and_nothing_of_them_stays(
    bouncer: PgBouncer, debian_url: str
) -> None:
    url = bouncer.url(debian_url)
    fresh = ask(debian_url, QUERIES["limits"].sql)
    ask(debian_url, SCHEMA)

    async def within(transaction: Transaction) -> object:
        await transaction.execute("put", id="a")
        return await transaction.fetch_one("limits")

    async with await Database.open(url, size=4, queries=QUERIES) as database:
        for found in await asyncio.gather(*(database.fetch_one("limits") for _ in range(8))):
            assert found == LIMITS
        assert await database.transaction(within) == LIMITS
        assert await database.log_advice() is None
    for _ in range(8):
        assert ask(url, QUERIES["limits"].sql) == fresh


def test_migrations_leave_nothing_on_a_pooled_connection(in_transactions: PgBouncer, debian_url: str) -> None:
    url = in_transactions.url(debian_url)
    began = time.monotonic()
    assert set(migrate(url)) == names()
    for _ in range(3):
        assert migrate(url, wait=5) == []
    assert time.monotonic() - began < 20
    assert ask(debian_url, "select 1 from pg_locks where locktype = 'advisory'") == []
    assert ask(url, "show lock_timeout") == [("0",)]


async def test_several_starts_at_once_and_a_whole_turn_of_events(bouncer: PgBouncer, debian_url: str) -> None:
    url = bouncer.url(debian_url)
    await asyncio.gather(*(asyncio.to_thread(migrate, url) for _ in range(3)))
    async with NumberedContainer() as container, GatewayProcess(url, QUICK).run() as gateway:
        project = await begun(gateway, container)
        async with project.events() as stream:
            container.emit(200)
            assert updates(await until_recorded(gateway, 200)) == list(container.truth.values())
            for _ in range(200):
                await stream.until("session_update")


async def test_a_pooler_that_is_restarted_costs_no_event(bouncer: PgBouncer, debian_url: str) -> None:
    migrate(debian_url)
    url = bouncer.url(debian_url)
    async with NumberedContainer() as container, GatewayProcess(url, QUICK).run() as gateway:
        project = await begun(gateway, container)
        async with project.events():
            container.emit(20)
            await until_recorded(gateway, 20)
            bouncer.stop()
            container.emit(20)
            await asyncio.sleep(0.5)  # Appends have failed meanwhile, some of them more than once.
            bouncer.start()
            container.emit(20)
            assert updates(await until_recorded(gateway, 60)) == list(container.truth.values())


async def test_every_gateway_notices_that_a_pooler_leads_to_another_server(
    in_transactions: PgBouncer, debian_url: str
) -> None:
    migrate(debian_url)
    async with NumberedContainer() as container, two(GatewayProcess(in_transactions.url(debian_url), QUICK)) as both:
        project = await begun(both[0], container)
        clients = [Client(), Client()]
        async with clients[0].watching(project), clients[1].watching(Project(both[1], project.id)):
            container.emit(5)
            await until_recorded(both[0], 5)
            for client in clients:
                await client.has(both[0])
            before = epoch_of(clients[0].cursor)
            # As it is where the server behind was promoted, and nobody had to connect anew.
            ask(debian_url, "update deployment set timeline = 'FFFFFFFF'")
            container.emit(5)
            await until_again(both[0], container)
            for client in clients:
                await client.has(both[0])
                assert client.resets == []
                assert epoch_of(client.cursor) > before
        assert gaps(await recorded(both[0])) == []


# Notifications


@asynccontextmanager
async def two(gateways: GatewayProcess) -> AsyncIterator[tuple[Gateway, Gateway]]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        yield await enter(gateways.run()), await enter(gateways.run())


async def note_of(gateway: Gateway) -> str:
    part = (await gateway.call("GET", "/readyz")).json["parts"]["database"]
    assert part["ready"], part
    note: str = part.get("note", "")
    return note


async def test_through_a_pooler_in_transaction_mode_direct_url_brings_notifications(
    in_transactions: PgBouncer, debian_url: str
) -> None:
    migrate(debian_url)
    gateways = GatewayProcess(in_transactions.url(debian_url), QUICK, direct_url=debian_url).with_long_leases()
    async with NumberedContainer() as container, two(gateways) as (follows, serves):
        await begun(follows, container)
        for one in (follows, serves):
            await asyncio.wait_for(one.app[STREAMS].wakeups.listening.wait(), 10)
        async with Project(serves, "demo").events() as stream:
            assert min([await seconds_until_shown(container, stream) for _ in range(8)]) < 0.1
        assert await note_of(serves) == ""


async def test_a_gateway_that_hears_nothing_says_so_and_leaves_no_listener_behind(
    in_transactions: PgBouncer, debian_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "ANSWER_SECONDS", 0.5)
    migrate(debian_url)
    async with GatewayProcess(in_transactions.url(debian_url), QUICK).run() as gateway:
        caplog.set_level(logging.WARNING)
        await eventually(lambda: gateway.app[STREAMS].wakeups.deafness)
        assert "notifications do not arrive" in caplog.text
        assert re.search(r"transaction mode; set database\.direct_url", await note_of(gateway))


async def seconds_until_shown(container: NumberedContainer, stream: EventStream) -> float:
    began = time.monotonic()
    container.emit(1)
    await stream.until("session_update")
    return time.monotonic() - began
