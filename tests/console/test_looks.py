"""How the console looks while it waits, and where there is little room."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, Route, expect

from tests.console.browsing import Console, console
from tests.world import Gateway, Project

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
#: Much happens in each, on a machine that may have other work.
pytestmark = pytest.mark.timeout(400)


@asynccontextmanager
async def held(page: Console, calls: str) -> AsyncIterator[None]:
    """The gateway's answers to these calls are on their way for as long as this is open."""
    arrive = asyncio.Event()

    async def hold(route: Route) -> None:
        await arrive.wait()
        await route.continue_()

    await page.page.route(re.compile(calls), hold)
    try:
        yield
    finally:
        arrive.set()


async def test_what_was_not_read_yet_is_not_said_to_be_nothing(page: Console, project: Project) -> None:
    sidebar = page.page.get_by_role("navigation")
    async with held(page, r"/acp/"):
        await page.open("#/demo/new")
        await expect(sidebar.get_by_text("Loading…")).to_have_count(2)
        await expect(page.page.get_by_role("main").get_by_text("Loading…")).to_be_visible()
        await expect(page.page.get_by_text("No sessions yet.")).to_have_count(0)
    await expect(sidebar.get_by_text("No sessions yet.")).to_be_visible()
    await expect(page.page.get_by_text("Loading…").locator("visible=true")).to_have_count(0)
    await expect(page.page.get_by_role("radio", name="Demo agent")).to_be_visible()


async def test_nothing_moves_when_the_stream_opens(page: Console, project: Project) -> None:
    badge = page.page.locator(".brand .stream-badge")
    others = page.page.locator(".brand button, .project-switch select")

    async def places() -> list[object]:
        return [await one.bounding_box() for one in await others.all()]

    async with held(page, r"/acp/events"):
        await page.open("#/demo/new")
        await expect(badge).to_contain_text("Connecting")
        before = await places()
        assert len(before) == 3
    await expect(badge).to_contain_text("Live")
    assert await places() == before


async def test_a_phone_shows_all_that_is_asked_and_every_option_beside_the_others(
    running_browser: Browser, gateway: Gateway, project: Project
) -> None:
    async with console(running_browser, gateway.url, **PHONE) as page:
        await page.begin_session(f"write wide.txt {'a line that goes on and on ' * 8}")
        card = page.dock.get_by_role("article")
        await expect(card.get_by_role("heading")).to_have_text("Demo agent asks: Write wide.txt")
        change = card.locator(".diff-scroll")
        assert await change.evaluate("one => one.scrollWidth <= one.clientWidth")
        boxes = [await one.bounding_box() for one in await card.get_by_role("button").all()]
        assert len(boxes) == 3
        assert len({box["y"] for box in boxes if box}) == 1
        assert await page.page.evaluate("document.documentElement.scrollWidth") == 390
        await card.get_by_role("button", name="Reject").click()
        await expect(page.status("Idle")).to_be_visible()
