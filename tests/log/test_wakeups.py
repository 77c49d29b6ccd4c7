"""What one gateway appends, the others show: at once by a wake-up, and by looking where no wake-up comes."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.follow.room import FOLLOWERS
from gateway.stream import tail
from gateway.stream.room import STREAMS
from tests.db.things import ask
from tests.fakes.eventually import eventually
from tests.fakes.numbered import NumberedContainer
from tests.world import QUICK, EventStream, Gateway, GatewayProcess, Project

LISTENERS = """
select pid from pg_stat_activity
where datname = current_database() and application_name = 'acp-gateway-dedicated'
"""


@asynccontextmanager
async def following_and_serving(
    database_url: str,
) -> AsyncIterator[tuple[NumberedContainer, Gateway, EventStream]]:
    """A container, the gateway that serves and does not follow it, and a stream of that gateway."""
    gateways = GatewayProcess(database_url, QUICK).with_long_leases()
    async with NumberedContainer() as container, gateways.run() as follows:
        project = await follows.register(container.url)
        await project.create_session()
        async with gateways.run() as serves:
            assert follows.app[FOLLOWERS].held() == ["demo"]
            for one in (follows, serves):
                await asyncio.wait_for(one.app[STREAMS].wakeups.listening.wait(), 10)
            async with Project(serves, "demo").events() as stream:
                yield container, serves, stream


async def seconds_until_shown(container: NumberedContainer, stream: EventStream) -> float:
    began = time.monotonic()
    container.emit(1)
    await stream.until("session_update")
    return time.monotonic() - began


async def best_of(count: int, container: NumberedContainer, stream: EventStream) -> float:
    """The machine may be busy once, not each time."""
    taken = []
    for _ in range(count):
        taken.append(await seconds_until_shown(container, stream))
        await asyncio.sleep(0.1)
    return min(taken)


async def test_another_gateway_shows_an_event_without_waiting_for_its_next_look(database_url: str) -> None:
    async with following_and_serving(database_url) as (container, _, stream):
        assert await best_of(8, container, stream) < 0.1


async def test_with_every_listener_killed_events_are_shown_by_looking_and_wake_ups_come_back(
    database_url: str,
) -> None:
    async with following_and_serving(database_url) as (container, serves, stream):
        for _ in range(3):
            ask(database_url, f"select pg_terminate_backend(pid) from ({LISTENERS}) as listeners")
            assert await seconds_until_shown(container, stream) < tail.POLL_SECONDS + 1.5
        await asyncio.wait_for(serves.app[STREAMS].wakeups.listening.wait(), 10)
        await asyncio.sleep(0.3)
        assert await best_of(8, container, stream) < 0.1


@pytest.mark.skipif("ACP_GATEWAY_TEST_DATABASE_URL" in os.environ, reason="signals PostgreSQL's processes")
async def test_a_listener_that_has_frozen_is_noticed_and_replaced(database_url: str) -> None:
    async with following_and_serving(database_url) as (container, serves, stream):
        frozen = [pid for (pid,) in ask(database_url, LISTENERS)]
        assert frozen
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            assert await seconds_until_shown(container, stream) < tail.POLL_SECONDS + 1.5
            await eventually(lambda: not serves.app[STREAMS].wakeups.listening.is_set(), within=10)
            await asyncio.wait_for(serves.app[STREAMS].wakeups.listening.wait(), 10)
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(0.3)
        assert await best_of(8, container, stream) < 0.1


async def test_a_way_for_notifications_that_leads_nowhere_is_told_and_all_else_works(database_url: str) -> None:
    nowhere = "postgresql://postgres@/postgres?host=/nonexistent"
    async with GatewayProcess(database_url, QUICK, direct_url=nowhere).run() as gateway:
        await eventually(lambda: gateway.app[STREAMS].wakeups.deafness)
        part = (await gateway.call("GET", "/readyz")).json["parts"]["database"]
        assert part["ready"]
        assert "No such file or directory" in part["note"]
