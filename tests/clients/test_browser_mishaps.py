"""The browser's client, ``acp-gateway.js``, with a page that sleeps and a network that lies, hangs and loses things."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from playwright.async_api import Browser, Page, Route

from tests.browsers import window
from tests.clients.unruly import Unruly, unruly
from tests.world import Gateway, Project

#: A browser starts for each, on a machine that may have other work.
pytestmark = pytest.mark.timeout(300)

LOAD = "import('/console/acp-gateway.js').then((loaded) => { window.client = loaded })"
#: ``made`` are all streams that the browser was asked for.
OPEN = """(options) => {
    window.told = []
    window.states = []
    window.problems = []
    window.resets = []
    window.made = []
    window.EventSource = class extends EventSource { constructor(...given) { super(...given); made.push(this) } }
    const { token = null, ...rest } = options
    window.stream = new client.AcpGateway({ token }).events("demo", {
        ...rest,
        onEvent: (event) => told.push(Number(event.id.split("-")[1])),
        onReset: (event) => { resets.push(event.data.reason) },
        onState: (state, problem) => { states.push(state); if (problem) problems.push(problem.code) },
    })
}"""
UNAVAILABLE = '{"code": "database_unavailable", "title": "The database is away"}'
#: What a gateway without its database answers to who wants to listen.
NOTHING_NEW = "retry: 100\nid: 1-1\nevent: heartbeat\ndata: {}\n\n"
#: What a client asks after a refusal, of which a browser says nothing.
WHY = re.compile(r"/acp/session\?limit=1$")
SLOW_MINUTE_MS = 60_000


@pytest.fixture
async def project(gateway: Gateway, agent_host: str) -> Project:
    return await gateway.register(agent_host, defaultAgentId="demo")


@pytest.fixture
async def page(running_browser: Browser) -> AsyncIterator[Page]:
    """An empty page whose clock the test may wind on."""
    async with window(running_browser) as context:
        page = await context.new_page()
        await page.clock.install()
        yield page


@pytest.fixture
async def front(gateway: Gateway) -> AsyncIterator[Unruly]:
    async with unruly(gateway.url) as proxy:
        yield proxy


async def listen(page: Page, url: str, **options: object) -> None:
    await page.goto(f"{url}/api/projects")
    await page.evaluate(LOAD)
    await page.evaluate(OPEN, options)


async def until(page: Page, condition: str) -> None:
    """Wait, with the page's clock going on meanwhile, until this is true in it."""
    while not await page.evaluate(condition):
        await page.clock.run_for(100)


def answering(status: int, body: str, content_type: str) -> Callable[[Route], Awaitable[None]]:
    return lambda route: route.fulfill(status=status, body=body, content_type=content_type)


async def hang(route: Route) -> None:
    """Answer nothing, ever."""


async def test_live_is_told_only_once_everything_is_known_to_have_been_read(
    page: Page, project: Project, gateway: Gateway
) -> None:
    await project.create_session()
    opened = 0

    async def bring_nothing(route: Route) -> None:
        nonlocal opened
        opened += 1
        await route.fulfill(status=200, body=NOTHING_NEW, content_type="text/event-stream")

    await page.route("**/acp/events*", bring_nothing)
    await page.route("**/acp/session*", answering(503, UNAVAILABLE, "application/problem+json"))
    await listen(page, gateway.url, cursor="1-1")
    while opened < 4:
        await page.clock.run_for(100)
    assert set(await page.evaluate("states")) == {"connecting", "away"}
    await page.unroute("**/acp/session*")
    await page.unroute("**/acp/events*")
    await until(page, "stream.state === 'live'")


async def test_a_hole_that_stays_is_told_as_a_reset_and_what_is_behind_it_comes(
    page: Page, project: Project, front: Unruly
) -> None:
    session_id = await project.create_session()
    front.never = {"1-4"}
    await listen(page, front.url, **{"from": "start"})
    await project.prompt(session_id, "stream 9")
    head = int((await project.call("GET", f"/session/{session_id}")).json["cursor"].split("-")[1])
    await until(page, f"told.at(-1) >= {head} && stream.state === 'live'")
    assert await page.evaluate("told") == [number for number in range(1, head + 1) if number != 4]
    assert await page.evaluate("[resets, problems]") == [["events_missing"], ["events_missing"]]


async def test_a_404_that_is_not_the_gateways_own_passes(page: Page, project: Project, front: Unruly) -> None:
    session_id = await project.create_session()
    await listen(page, front.url, **{"from": "start"})
    await until(page, "stream.state === 'live'")
    await page.route("**/api/**", answering(404, "404 page not found", "text/plain"))
    front.is_away = True
    await project.prompt(session_id, "stream 5")
    await until(page, "stream.state === 'away' && problems.includes('http_error')")
    front.is_away = False
    await page.unroute("**/api/**")
    await until(page, "stream.state === 'live'")
    told = await page.evaluate("told")
    assert told == list(range(1, len(told) + 1))


async def test_a_ticket_that_is_never_answered_is_asked_for_again(
    page: Page, project: Project, gateway: Gateway
) -> None:
    await project.create_session()
    await page.route("**/events/ticket", hang)
    await listen(page, gateway.url, token="any")
    await page.clock.run_for(SLOW_MINUTE_MS)
    await until(page, "problems.includes('timeout')")
    await page.unroute("**/events/ticket")
    await until(page, "stream.state === 'live'")


async def test_a_stream_comes_back_although_nobody_says_why_it_was_refused(
    page: Page, project: Project, front: Unruly
) -> None:
    await project.create_session()
    await listen(page, front.url, **{"from": "start"})
    await until(page, "stream.state === 'live'")
    await page.route(WHY, hang)
    front.is_away = True
    await project.create_session()
    await until(page, "made.at(-1).readyState === EventSource.CLOSED")
    assert await page.evaluate("stream.state") == "away"
    front.is_away = False
    await page.clock.run_for(SLOW_MINUTE_MS)
    await until(page, "stream.state === 'live'")


async def test_a_page_that_is_told_twice_that_it_is_awake_has_one_stream(
    page: Page, project: Project, front: Unruly
) -> None:
    await project.create_session()
    await listen(page, front.url, token="any")
    await until(page, "stream.state === 'live'")
    front.is_away = True
    await project.create_session()
    await until(page, "stream.state === 'away' && made.at(-1).readyState === EventSource.CLOSED && problems.length")
    front.is_away = False
    await page.evaluate(
        "() => { dispatchEvent(new Event('online')); document.dispatchEvent(new Event('visibilitychange')) }"
    )
    await until(page, "stream.state === 'live'")
    assert await page.evaluate("made.filter(({ readyState }) => readyState !== EventSource.CLOSED).length") == 1
    await page.evaluate("stream.close()")
    assert await page.evaluate("made.every(({ readyState }) => readyState === EventSource.CLOSED)")


async def test_a_stream_that_falls_silent_is_opened_again_where_it_was(
    page: Page, project: Project, front: Unruly
) -> None:
    session_id = await project.create_session()
    await listen(page, front.url, **{"from": "start"})
    await until(page, "stream.state === 'live'")
    front.is_silent = True
    await project.prompt(session_id, "stream 5")
    await page.clock.run_for(SLOW_MINUTE_MS)
    front.is_silent = False
    await until(page, "told.length > 5 && stream.state === 'live'")
    told = await page.evaluate("told")
    assert told == list(range(1, len(told) + 1))


async def test_a_call_that_is_never_answered_ends_with_its_limit(
    page: Page, project: Project, gateway: Gateway
) -> None:
    await page.route("**/acp/session", hang)
    await page.goto(f"{gateway.url}/api/projects")
    await page.evaluate(LOAD)
    await page.evaluate(
        """() => {
            const path = "/api/projects/demo/acp/session"
            new client.AcpGateway().call("GET", path, undefined, { limit: 30 })
                .catch(({ code }) => { window.said = code })
        }"""
    )
    # The clock goes on by itself, too.
    await page.clock.run_for(15_000)
    assert await page.evaluate("window.said") is None
    await until(page, "window.said")
    assert await page.evaluate("window.said") == "timeout"
