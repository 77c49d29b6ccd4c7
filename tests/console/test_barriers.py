"""Keyboard, screen reader, small screens: what axe finds, and what it cannot."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.console.browsing import Console, console
from tests.world import Gateway, Project

#: Much happens in each, on a machine that may have other work.
pytestmark = pytest.mark.timeout(400)

#: What the rules of axe-core say of a page, once per kind of barrier.
AXE = """async () => {
    const {violations} = await axe.run(document, {resultTypes: ["violations"]})
    return violations.map(({id, help, nodes}) => [id, help, nodes.slice(0, 5).map(({html}) => html)])
}"""
SCENE = """think Let me see.
plan Read; Write
say # Title
say Some `code` and a [link](https://example.org)
run echo hi
write a.txt b"""


async def barriers(page: Console, axe: str) -> list[Any]:
    found: list[Any] = await page.page.evaluate(f"(async () => {{ {axe}; return await ({AXE})() }})()")
    return found


@pytest.fixture(scope="session")
def axe(axe_packages: Path) -> str:
    return (axe_packages / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
async def test_axe_finds_no_barrier_on_any_page(
    running_browser: Browser, gateway: Gateway, project: Project, axe: str, scheme: str, width: int
) -> None:
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme, "reduced_motion": "reduce"}
    async with console(running_browser, gateway.url, **options) as page:
        await page.begin_session(SCENE)
        await expect(page.dock.get_by_role("article")).to_be_visible()
        await page.page.evaluate("for (const each of document.querySelectorAll('main details')) each.open = true")
        assert await barriers(page, axe) == []
        await page.dock.get_by_role("button", name="Allow once").click()
        await expect(page.status("Idle")).to_be_visible()
        await page.transcript.get_by_role("button", name="Timeline").click()
        await page.transcript.get_by_text("As a table").click()
        assert await barriers(page, axe) == []
        await page.page.keyboard.press("Escape")
        await page.page.locator("h1").click()
        await page.page.keyboard.press("?")
        await expect(page.page.get_by_role("dialog")).to_be_visible()
        assert await barriers(page, axe) == []
        await page.page.keyboard.press("Escape")
        await page.open("#/demo")
        await expect(page.page.locator("#sidebar .agents").get_by_text("Demo agent", exact=True)).to_be_visible()
        assert await barriers(page, axe) == []
        await page.open("#/demo/new")
        await expect(page.page.get_by_label("First prompt")).to_be_visible()
        assert await barriers(page, axe) == []


async def test_axe_finds_no_barrier_in_an_empty_installation(page: Console, axe: str) -> None:
    await page.open()
    await page.page.get_by_role("button", name="Add a project").last.click()
    await expect(page.page.get_by_role("dialog", name="Add a project")).to_be_visible()
    assert await barriers(page, axe) == []


async def test_a_session_can_be_run_with_the_keyboard_alone(page: Console, project: Project, tmp_path: Path) -> None:
    keyboard = page.page.keyboard
    await page.open("#/demo")
    await expect(page.page.get_by_role("radio", name="Demo agent")).to_be_checked()
    await keyboard.press("/")
    await keyboard.type("write note.txt by keyboard")
    await keyboard.press("Control+Enter")
    await expect(page.dock.get_by_role("article")).to_be_visible()
    await keyboard.press("p")
    await expect(page.dock.get_by_role("article")).to_be_focused()
    await keyboard.press("Tab")  # the diff, which scrolls
    await keyboard.press("Tab")
    await expect(page.dock.get_by_role("button", name="Allow once")).to_be_focused()
    await keyboard.press("Enter")
    await expect(page.answers.last).to_contain_text("I wrote note.txt.")
    # The card is gone: the focus is where one goes on, not nowhere.
    await expect(page.page.get_by_role("textbox", name="Prompt")).to_be_focused()
    assert (tmp_path / "workspace" / "note.txt").read_text() == "by keyboard\n"


async def test_single_keys_can_be_switched_off(page: Console, project: Project) -> None:
    await page.begin_session("say hello")
    await page.page.locator("h1").click()
    await page.page.keyboard.press("?")
    await page.page.get_by_label("Single keys do this").uncheck()
    await page.page.keyboard.press("Escape")
    await page.page.keyboard.press("n")
    await expect(page.page.locator("h1")).to_have_text("say hello")


async def test_what_happens_is_said_to_a_screen_reader_with_restraint(page: Console, project: Project) -> None:
    await page.page.add_init_script("window.said = []")
    await page.open("#/demo/new")
    await page.page.evaluate(
        "new MutationObserver(() => said.push(announcer.textContent)).observe(announcer, {childList: true})"
    )
    await page.page.get_by_label("First prompt").fill("stream 200\nask May I?")
    await page.page.get_by_role("button", name="Begin session").click()
    await page.dock.get_by_role("button", name="Reject").click()
    await expect(page.status("Idle")).to_be_visible()
    said = await page.page.evaluate("said")
    assert said == ["The agent asks for permission: May I?", "The turn is over."]
