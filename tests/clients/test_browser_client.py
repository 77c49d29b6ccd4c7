"""The browser's client, ``acp-gateway.js``, in a real browser: nothing missing, nothing twice, whatever happens."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.ingest import translate
from gateway.wire import events
from tests.clients.browser import Page, browser
from tests.clients.cluster import (
    PROMPT,
    Cluster,
    Fault,
    assert_holds_each_chunk_once,
    cluster,
    kill_both,
    kill_one,
    restart_the_other,
    whole_log,
)
from tests.clients.front import nginx
from tests.clients.unruly import unruly
from tests.world import Gateway

OPEN = """
    window.told = []
    window.states = []
    window.problems = []
    window.resets = []
    window.stream = new client.AcpGateway().events("demo", {
        ...%s,
        onEvent: (event) => told.push(event),
        onReset: async (event) => {
            resets.push(event)
            return (await new client.AcpGateway().call("GET", `/api/projects/demo/acp/session/${session}`)).cursor
        },
        onState: (state, problem) => { states.push(state); if (problem) problems.push(problem.code) },
    })
    0
"""


@pytest.fixture
async def page(chromium: Path, tmp_path: Path) -> AsyncIterator[Page]:
    async with browser(chromium, tmp_path) as opened:
        yield opened


@asynccontextmanager
async def streaming(page: Page, url: str, session: str, options: object) -> AsyncIterator[None]:
    """A page of the gateway's origin with a stream of its client's."""
    await page.go_to(f"{url}/api/projects")
    await page.evaluate("import('/console/acp-gateway.js').then((loaded) => { window.client = loaded })")
    await page.evaluate(f"window.session = {json.dumps(session)}")
    await page.evaluate(OPEN % json.dumps(options))
    yield
    await page.evaluate("stream.close()")
    assert await page.evaluate("states.at(-1)") == "closed"


async def told_ids(page: Page) -> list[int]:
    return [int(id.split("-")[1]) for id in await page.evaluate("told.map((event) => event.id)")]


async def test_each_event_comes_once_through_kills_and_restarts(
    database_url: str, tmp_path: Path, agent_host: str, page: Page, nginx_program: Path
) -> None:
    async with (
        asyncio.timeout(110),
        cluster(database_url, tmp_path) as gateways,
        nginx(nginx_program, tmp_path / "nginx", gateways.urls) as front,
    ):
        project = await gateways.register(agent_host)
        session = await project.create_session()
        async with streaming(page, front.url, session, {"from": "start"}):
            await page.until("stream.state === 'live'")
            faults = (kill_one, restart_the_other, kill_both)
            for number, fault in enumerate(faults):
                await _turn_with(fault, gateways, session, page, number)
            log = await whole_log(gateways.project(), session)
            assert_holds_each_chunk_once(log, turns=len(faults))
            await page.until(f"told.length >= {len(log)}")
            told = await page.evaluate("told.map((event) => [event.id, event.type])")
            assert told == [[event.id, event.type] for event in log]
            await page.until("stream.state === 'live'")
            assert "events_missing" not in await page.evaluate("problems")


async def _turn_with(fault: Fault, gateways: Cluster, session: str, page: Page, number: int) -> None:
    before = await page.evaluate("told.length")
    await gateways.project().prompt(session, PROMPT, wait=None)
    await page.until(f"told.length > {before + 20}")
    await fault(gateways)
    await page.until(f"told.filter((event) => event.type === 'turn_ended').length > {number}")


async def test_a_page_comes_back_after_an_answer_for_which_browsers_give_up(
    gateway: Gateway, agent_host: str, page: Page
) -> None:
    project = await gateway.register(agent_host, defaultAgentId="demo")
    session = await project.create_session()
    async with unruly(gateway.url) as front, streaming(page, front.url, session, {"from": "start"}):
        await page.until("stream.state === 'live'")
        front.is_away = True
        await project.prompt(session, "stream 5")
        await page.until("stream.state === 'away'")
        front.is_away = False
        await page.until("told.some((event) => event.type === 'turn_ended')")
        await page.until("stream.state === 'live'")
        ids = await told_ids(page)
        assert ids == list(range(1, len(ids) + 1))


async def test_a_block_that_was_lost_on_the_way_is_read_again(gateway: Gateway, agent_host: str, page: Page) -> None:
    project = await gateway.register(agent_host, defaultAgentId="demo")
    session = await project.create_session()
    async with unruly(gateway.url) as front:
        front.losing = {"1-4", "1-7"}
        async with streaming(page, front.url, session, {"from": "start"}):
            await project.prompt(session, "stream 9")
            await page.until("told.some((event) => event.type === 'turn_ended')")
            ids = await told_ids(page)
            assert ids == list(range(1, len(ids) + 1))
            assert front.losing == set()
            assert [path for path in front.opened if "lastEventId=1-3" in path]
            assert await page.evaluate("problems") == []


async def test_a_page_that_is_told_to_begin_anew_goes_on_from_what_it_has_read(
    gateway: Gateway, agent_host: str, page: Page
) -> None:
    project = await gateway.register(agent_host, defaultAgentId="demo")
    session = await project.create_session()
    async with streaming(page, gateway.url, session, {"cursor": "1-999"}):
        await page.until("resets.length > 0 && stream.state === 'live'")
        assert (await page.evaluate("resets[0]"))["data"]["reason"] == "beyond_head"
        head = (await project.call("GET", f"/session/{session}")).json["cursor"]
        await project.prompt(session, "stream 2")
        await page.until("told.some((event) => event.type === 'turn_ended')")
        assert (await told_ids(page))[0] == int(head.split("-")[1]) + 1


async def test_a_project_that_is_not_there_closes_the_stream_and_says_so(gateway: Gateway, page: Page) -> None:
    async with streaming(page, gateway.url, "", {}):
        await page.until("stream.state === 'closed'")
        assert await page.evaluate("problems") == ["project_not_found"]


def test_the_client_listens_to_each_type_of_event() -> None:
    source = (Path(events.__file__).parents[1] / "web" / "console" / "acp-gateway.js").read_text()
    listed = json.loads("[" + source.split("EVENT_TYPES = [")[1].split("]")[0].rstrip(", \n") + "]")
    own = {kind.type for kind in events.EventData.__subclasses__()}
    assert set(listed) == own | translate.PASSED_ON
