"""Clients that people use, through deaths and restarts of gateways: each event once, in order."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from tests.clients.cluster import (
    TYPES,
    assert_holds_each_chunk_once,
    assert_received_each_once,
    cluster,
    kill_both,
    kill_one,
    restart_the_other,
    turns_through,
)
from tests.clients.listener import httpx_sse, listening, npm_eventsource, sseclient_py
from tests.fakes.relay import Relay

FAULTS = (kill_one, restart_the_other, kill_both)


async def test_each_client_receives_each_event_once_through_kills_and_restarts(
    database_url: str, tmp_path: Path, agent_host: str, node: Path, eventsource_packages: Path
) -> None:
    async with (
        asyncio.timeout(100),
        cluster(database_url, tmp_path) as gateways,
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
        log = await turns_through(FAULTS, gateways, session, listeners)
        assert_holds_each_chunk_once(log, turns=len(FAULTS))
        for listener in listeners:
            assert_received_each_once(listener, log)
            assert listener.heartbeats > 0
