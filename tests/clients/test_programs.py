"""Clients that people use, through deaths and restarts of gateways: each event once, in order."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.clients.cluster import (
    PROMPT,
    TYPES,
    Cluster,
    assert_holds_each_chunk_once,
    assert_received_each_once,
    cluster,
    whole_log,
)
from tests.clients.listener import Listener, httpx_sse, listening, npm_eventsource, sseclient_py
from tests.fakes.relay import Relay


async def kill_one(gateways: Cluster) -> None:
    await gateways.kill(0)
    await gateways.start(0)


async def restart_the_other(gateways: Cluster) -> None:
    await gateways.terminate(1)
    await gateways.start(1)


async def kill_both(gateways: Cluster) -> None:
    await gateways.kill(0, 1)
    await gateways.start(0, 1)


FAULTS = (kill_one, restart_the_other, kill_both)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "gateways"
    place.mkdir()
    return place


async def test_each_client_receives_each_event_once_through_kills_and_restarts(
    database_url: str, directory: Path, agent_host: str, node: Path, eventsource_packages: Path
) -> None:
    async with (
        asyncio.timeout(100),
        cluster(database_url, directory) as gateways,
        Relay(*gateways.urls) as front,
        AsyncExitStack() as stack,
    ):
        project = await gateways.register(agent_host)
        session = await project.create_session()
        url = f"{front.url}{project.acp}/events?from=start"
        listeners = [
            await stack.enter_async_context(listening(name, command))
            for name, command in {
                "npm eventsource": npm_eventsource(url, node, eventsource_packages, TYPES),
                "httpx-sse": httpx_sse(url),
                "sseclient-py": sseclient_py(url),
            }.items()
        ]
        for number, fault in enumerate(FAULTS):
            await _through(fault, number, gateways, session, listeners)
        log = await whole_log(gateways.project(), session)
        assert_holds_each_chunk_once(log, turns=len(FAULTS))
        last = log[-1]
        for listener in listeners:
            await listener.until(last.type, sum(event.type == last.type for event in log))
            assert_received_each_once(listener, log)
            assert listener.heartbeats > 0


async def _through(fault, number: int, gateways: Cluster, session: str, listeners: list[Listener]) -> None:
    """A turn in whose midst ``fault`` happens, until all have received its end."""
    before = listeners[0].count("session_update")
    await gateways.project().prompt(session, PROMPT, wait=None)
    await asyncio.gather(*(listener.until("session_update", before + 20) for listener in listeners))
    await fault(gateways)
    await asyncio.gather(*(listener.until("turn_ended", number + 1) for listener in listeners))
