"""A tab that nobody looks at: what it still tells, and what it leaves to the others."""

import asyncio
import re

import pytest
from playwright.async_api import Page, expect

from tests.console.browsing import Console
from tests.console.waiting import waiting_permission
from tests.world import Gateway, Project

#: Much happens in each, on a machine that may have other work.
pytestmark = pytest.mark.timeout(400)

#: ``streams`` are all that the page has opened; ``looks`` says whether somebody looks at it.
WATCH = """
    window.streams = []
    window.EventSource = class extends EventSource { constructor(...given) { super(...given); streams.push(this) } }
    window.looks = (yes) => {
        Object.defineProperty(document, "visibilityState", { value: yes ? "visible" : "hidden", configurable: true })
        document.dispatchEvent(new Event("visibilitychange"))
    }
"""
HOLDS_NONE = "streams.every(({ readyState }) => readyState === EventSource.CLOSED)"
#: After a minute a tab rests.
A_WHILE_MS = 61_000
#: And looks in each half minute.
SOON_MS = 31_000
#: One waits for an answer.
WAITS = re.compile(r"^\(1\) ")
#: What a browser has for one gateway over HTTP/1.1.
CONNECTIONS = 6


async def watch(page: Page) -> None:
    await page.clock.install()
    await page.add_init_script(WATCH)


async def turn_away(page: Page) -> None:
    """Nobody looks at it for a while."""
    await page.evaluate("looks(false)")
    await page.clock.run_for(A_WHILE_MS)
    await holds_no_connection(page)


async def holds_no_connection(page: Page) -> None:
    while not await page.evaluate(HOLDS_NONE):  # noqa: ASYNC110 - the browser sets no event of ours
        await asyncio.sleep(0.05)


async def is_live(page: Page) -> None:
    await expect(page.locator("#sidebar .stream-badge")).to_contain_text("Live")


async def test_a_hidden_tab_holds_no_connection_tells_what_waits_and_is_live_once_it_is_looked_at(
    page: Console, project: Project
) -> None:
    session_id = await project.create_session()
    await watch(page.page)
    await page.open(f"#/demo/{session_id}")
    await is_live(page.page)
    await turn_away(page.page)
    await project.prompt(session_id, "write note.txt some text", wait=None)
    await waiting_permission(project)
    await page.page.clock.run_for(SOON_MS)
    await expect(page.page).to_have_title(WAITS)
    await holds_no_connection(page.page)
    await page.page.evaluate("looks(true)")
    await is_live(page.page)
    await page.dock.get_by_role("button", name="Allow once").click()
    await expect(page.answers.last).to_contain_text("I wrote note.txt.")
    await expect(page.page).not_to_have_title(WAITS)


async def test_a_glance_away_keeps_the_connection(page: Console, project: Project) -> None:
    session_id = await project.create_session()
    await watch(page.page)
    await page.open(f"#/demo/{session_id}")
    await is_live(page.page)
    await page.page.evaluate(
        """() => {
            window.states = []
            const badge = document.querySelector("#sidebar .stream-badge")
            new MutationObserver(() => states.push(badge.dataset.state))
                .observe(badge, { attributeFilter: ["data-state"] })
        }"""
    )
    await page.page.evaluate("looks(false)")
    await page.page.clock.run_for(A_WHILE_MS // 2)
    await page.page.evaluate("looks(true)")
    await page.page.clock.run_for(A_WHILE_MS // 2)
    await is_live(page.page)
    assert "resting" not in await page.page.evaluate("states")


async def test_more_tabs_can_be_open_than_a_browser_has_connections(
    page: Console, project: Project, gateway: Gateway
) -> None:
    await project.create_session()
    for _ in range(CONNECTIONS + 1):
        tab = await page.page.context.new_page()
        await watch(tab)
        await tab.goto(f"{gateway.url}/console#/demo")
        await is_live(tab)
        await turn_away(tab)


async def test_the_title_tells_what_waits_in_a_tab_that_is_given_no_frames(page: Console, project: Project) -> None:
    session_id = await project.create_session()
    await page.open(f"#/demo/{session_id}")
    await expect(page.status("Idle")).to_be_visible()
    await page.page.evaluate("window.requestAnimationFrame = () => 0")
    await project.prompt(session_id, "write note.txt some text", wait=None)
    await expect(page.page).to_have_title(WAITS)
