"""SIGTERM's order: not ready, streams told to come back, appends finished, leases given up, out; in a set time."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import aiohttp
import attrs
import psycopg2
import pytest

from gateway.follow import followers
from tests.fakes.eventually import eventually, until
from tests.fakes.numbered import NumberedContainer
from tests.log.recording import until_recorded, updates
from tests.replica import replica
from tests.world import QUICK, Gateway, GatewayProcess

DELAY = 1.0


@attrs.define
class Stopping:
    """A gateway that stops when it is told to."""

    gateway: Gateway
    stop: asyncio.Event
    task: asyncio.Task[None]


@asynccontextmanager
async def stoppable(process: GatewayProcess) -> AsyncIterator[Stopping]:
    stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def run() -> None:
        async with process.run() as gateway:
            started.set_result(gateway)
            await stop.wait()

    task = asyncio.create_task(run())
    try:
        gateway = await started
        # A client of its own: the gateway's goes first when it stops.
        async with aiohttp.ClientSession() as http:
            yield Stopping(Gateway(gateway.app, gateway.url, http), stop, task)
    finally:
        stop.set()
        await task


async def is_unready(gateway: Gateway) -> bool:
    return (await gateway.call("GET", "/readyz")).status == 503


async def test_in_order(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers, "LAST_WORDS_SECONDS", 30.0)
    server = attrs.evolve(QUICK.server, stop_delay=DELAY)
    process = GatewayProcess(database_url, attrs.evolve(QUICK, server=server))
    async with NumberedContainer() as container, stoppable(process) as stopping:
        gateway = stopping.gateway
        project = await gateway.register(container.url)
        await project.create_session()
        with closing(psycopg2.connect(database_url)) as blocker, blocker.cursor() as holding:
            async with project.events() as stream:
                await stream.block()
                holding.execute("lock table events in share mode")
                container.emit(10)
                await eventually(lambda: is_waiting(database_url))

                stopping.stop.set()
                # Not ready, yet all is served: who sends requests here has time to notice.
                await until(partial(is_unready, gateway))
                assert (await gateway.call("GET", "/readyz")).json == {
                    "status": "not_ready",
                    "parts": {"gateway": {"ready": False, "reason": "It is stopping."}},
                }
                assert (await project.call("GET", "/session")).status == 200

                while not (block := await stream.block()).retry:
                    pass
                assert block.event == "heartbeat"
                with pytest.raises(EOFError):
                    await stream.block()
            # The append still waits, and so the container is still ours.
            assert holder(database_url)
            assert not stopping.task.done()
            blocker.rollback()
        await stopping.task
        assert not holder(database_url)
        async with process.run() as second:
            assert updates(await until_recorded(second, 10)) == list(container.truth.values())


def is_waiting(database_url: str) -> bool:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("select count(*) from pg_locks where not granted and relation = 'events'::regclass")
        return bool(cursor.fetchone()[0])


def holder(database_url: str) -> str:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("select holder from follower_leases where expires_at > clock_timestamp()")
        row = cursor.fetchone()
        return row[0] if row else ""


async def test_a_process_with_a_stream_and_a_turn_is_out_in_the_set_time(
    database_url: str, agent_host: str, tmp_path: Path
) -> None:
    settings = {"ACP_GATEWAY_SERVER_SHUTDOWN_TIMEOUT": "1", "ACP_GATEWAY_SERVER_STOP_DELAY": "0.5"}
    async with replica(database_url, tmp_path, settings) as one:
        project = await one.gateway.register(agent_host, defaultAgentId="demo")
        session = await project.create_session()
        async with project.events(session):
            await project.prompt(session, "slow 600", wait=None)
            loop = asyncio.get_running_loop()
            began = loop.time()
            one.program.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(one.program.wait) == 0
            # 0.5 s of delay, twice one second, and the five that are kept in reserve; the machine is busy.
            assert loop.time() - began < 10
        assert "Traceback" not in one.program.complained()
