"""A page with a native ``EventSource`` in a real browser, behind proxies as ``deploy/`` sets them up."""

import asyncio
from pathlib import Path

import aiohttp

from gateway.wire.sse import SSEParser
from tests.clients.browser import browser
from tests.clients.cluster import (
    TYPES,
    Cluster,
    assert_holds_each_chunk_once,
    assert_received_each_once,
    cluster,
    kill_one,
    restart_the_other,
    turns_through,
)
from tests.clients.conftest import Proxy
from tests.clients.listener import httpx_sse, listening


async def test_a_page_receives_each_event_once_through_kills_restarts_and_the_proxys_reload(
    database_url: str, tmp_path: Path, agent_host: str, chromium: Path, proxy: Proxy
) -> None:
    async with (
        asyncio.timeout(110),
        cluster(database_url, tmp_path) as gateways,
        proxy(gateways.urls) as front,
        browser(chromium, tmp_path) as page,
    ):
        project = await gateways.register(agent_host)
        session = await project.create_session()
        events = f"{project.acp}/events"

        async def reload(_: Cluster) -> None:
            before = await page.opened()
            front.reload()
            await page.until(f"opened > {before}")

        async def kill_both(gateways: Cluster) -> None:
            await gateways.kill(0, 1)
            await _is_told_to_come_back(front.url + events)
            await gateways.start(0, 1)

        await page.go_to(f"{front.url}/api/projects")
        path = f"{events}?from=start"
        async with (
            page.listening("Chromium", path, TYPES) as in_browser,
            listening("httpx-sse", httpx_sse(front.url + path)) as in_script,
        ):
            faults = (kill_one, reload, restart_the_other, kill_both)
            log = await turns_through(faults, gateways, session, (in_browser, in_script))
            assert_holds_each_chunk_once(log, turns=len(faults))
            assert_received_each_once(in_browser, log)
            assert_received_each_once(in_script, log)
            assert await page.opened() > len(faults) / 2


async def _is_told_to_come_back(url: str) -> None:
    """With no gateway there, by the proxy, and in a way that leaves every client its place."""
    for named in (None, "1-42", '1-42"\nevil'):
        headers = {} if named is None else {"Last-Event-ID": named.replace("\n", "\t")}
        async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
            [event] = SSEParser().feed(await answer.read())
        assert (event.event, event.retry) == ("heartbeat", 300)
        assert event.id == ("1-42" if named == "1-42" else None)
