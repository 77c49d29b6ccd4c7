"""Calls that are slow, fail, or lose their answers: what is shown is true all the same, and nothing is done twice."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Route, expect

from tests.console.browsing import Console
from tests.console.waiting import waiting_permission
from tests.world import Project

#: Much happens in each, on a machine that may have other work.
pytestmark = pytest.mark.timeout(400)

HALF_A_MINUTE_MS = 31_000


def answering(status: int) -> Callable[[Route], Awaitable[None]]:
    """What something in between says, in a form of its own."""
    return lambda route: route.fulfill(status=status, body="no", content_type="text/plain")


async def take_and_lose(route: Route) -> None:
    await route.fetch()
    await route.abort()


async def prompts(project: Project, session_id: str) -> list[str]:
    messages = await project.messages(session_id)
    return [message["content"][0]["text"] for message in messages if message["role"] == "user"]


async def test_a_permission_that_is_settled_while_a_snapshot_is_on_its_way_waits_for_nobody(
    page: Console, project: Project
) -> None:
    session_id = await project.create_session(title="asks")
    other = await project.create_session(title="other")
    await page.open(f"#/demo/{other}")
    await expect(page.status("Idle")).to_be_visible()
    await project.prompt(session_id, "write note.txt some text", wait=None)
    permission_id = await waiting_permission(project)
    link = page.page.locator(f"a.session-link[href$='{session_id}']")
    await expect(link.locator("[data-state=asking]")).to_be_visible()

    async def late(route: Route) -> None:
        snapshot = await route.fetch()
        await project.call("POST", f"/permission/{permission_id}", {"granted": True})
        await expect(link.locator("[data-state=asking]")).to_have_count(0)
        await route.fulfill(response=snapshot)

    await page.page.route("**/snapshot*", late)
    await link.click()
    await expect(page.answers.last).to_contain_text("I wrote note.txt.")
    await expect(page.dock).to_be_hidden()
    assert "(" not in await page.page.title()


async def test_a_project_that_could_not_be_read_is_read_once_it_can_be(page: Console, project: Project) -> None:
    session_id = await project.create_session()
    await page.page.route("**/acp/session?limit=50", answering(504))
    await page.open(f"#/demo/{session_id}")
    badge = page.page.locator("#sidebar .stream-badge")
    await expect(badge).to_contain_text("Away")
    await page.page.unroute("**/acp/session?limit=50")
    await expect(page.status("Idle")).to_be_visible()
    await expect(badge).to_contain_text("Live")


async def test_trying_again_after_a_refusal_asks_again(page: Console, project: Project) -> None:
    session_id = await project.create_session()
    await page.page.route("**/acp/session?limit=50", answering(400))
    await page.open(f"#/demo/{session_id}")
    again = page.page.get_by_role("button", name="Try again")
    await expect(again).to_be_visible()
    await page.page.unroute("**/acp/session?limit=50")
    await again.click()
    await expect(page.status("Idle")).to_be_visible()
    await expect(page.page.locator("#sidebar .stream-badge")).to_contain_text("Live")


async def test_a_session_that_is_looked_at_again_while_it_is_read_does_not_load_for_ever(
    page: Console, project: Project
) -> None:
    first = await project.create_session(title="first")
    second = await project.create_session(title="second")
    await page.open(f"#/demo/{second}")
    await expect(page.status("Idle")).to_be_visible()
    asked, refuse = asyncio.Event(), asyncio.Event()

    async def refused_late(route: Route) -> None:
        asked.set()
        await refuse.wait()
        await route.fulfill(status=503)

    await page.page.route(f"**/{first}/snapshot*", refused_late)
    await page.page.locator(f"a.session-link[href$='{first}']").click()
    await asked.wait()
    await page.page.locator(f"a.session-link[href$='{second}']").click()
    await expect(page.page.get_by_role("heading", name="second")).to_be_visible()
    await page.page.locator(f"a.session-link[href$='{first}']").click()
    refuse.set()
    again = page.page.get_by_role("button", name="Try again")
    await expect(again).to_be_visible()
    await page.page.unroute(f"**/{first}/snapshot*")
    await again.click()
    await expect(page.status("Idle")).to_be_visible()
    await expect(page.transcript).to_be_visible()


async def test_a_first_prompt_whose_answer_was_lost_is_run_once(page: Console, project: Project) -> None:
    await page.page.route("**/prompt", take_and_lose)
    session_id = await page.begin_session("say once")
    await page.page.unroute("**/prompt")
    box = page.page.get_by_role("textbox", name="Prompt")
    await expect(box).to_have_value("say once")
    await box.press("Enter")
    await expect(box).to_have_value("")
    await expect(page.status("Idle")).to_be_visible()
    assert await prompts(project, session_id) == ["say once"]


async def test_a_prompt_whose_answer_was_lost_keeps_its_key_whatever_another_tab_sends(
    page: Console, project: Project
) -> None:
    session_id = await project.create_session()
    await page.open(f"#/demo/{session_id}")
    await page.page.route("**/prompt", take_and_lose)
    await page.prompt("say one")
    await expect(page.page.locator("#notices")).to_contain_text("The prompt was not taken")
    other = await page.page.context.new_page()
    await other.goto(page.page.url)
    box = other.get_by_role("textbox", name="Prompt")
    await box.fill("say two")
    await box.press("Enter")
    await expect(box).to_have_value("")
    await page.page.unroute("**/prompt")
    box = page.page.get_by_role("textbox", name="Prompt")
    await box.press("Enter")
    await expect(box).to_have_value("")
    await expect(page.answers).to_have_count(2)
    await expect(page.status("Idle")).to_be_visible()
    assert await prompts(project, session_id) == ["say one", "say two"]


async def test_a_prompt_at_a_dead_connection_is_sent_once_more_and_run_once(page: Console, project: Project) -> None:
    session_id = await project.create_session()
    await page.page.clock.install()
    await page.open(f"#/demo/{session_id}")
    await expect(page.status("Idle")).to_be_visible()
    taken = asyncio.Event()

    async def take_and_hang(route: Route) -> None:
        await route.fetch()
        taken.set()

    await page.page.route("**/prompt", take_and_hang, times=1)
    await page.prompt("say once")
    await taken.wait()
    box = page.page.get_by_role("textbox", name="Prompt")
    await expect(box).to_have_value("say once")
    await page.page.clock.run_for(HALF_A_MINUTE_MS)
    await expect(box).to_have_value("")
    await expect(page.status("Idle")).to_be_visible()
    assert await prompts(project, session_id) == ["say once"]


async def test_a_prompt_that_was_taken_can_be_sent_again_with_the_same_words(page: Console, project: Project) -> None:
    session_id = await page.begin_session("say again")
    await expect(page.status("Idle")).to_be_visible()
    await page.prompt("say again")
    await expect(page.answers).to_have_count(2)
    assert await prompts(project, session_id) == ["say again", "say again"]


async def test_a_transcript_that_cannot_be_saved_says_what_answered(page: Console, project: Project) -> None:
    await page.begin_session("say hi")
    await page.page.route("**/export*", answering(500))
    await page.page.get_by_label("More about this session").click()
    await page.page.get_by_role("button", name="Save as Markdown").click()
    notices = page.page.locator("#notices")
    await expect(notices).to_contain_text("The transcript could not be saved")
    await expect(notices).not_to_contain_text("Is the gateway running?")


async def test_an_address_that_nobody_could_have_written_names_no_project(page: Console, project: Project) -> None:
    await page.open("#/%E0%A4%A/%ff")
    await expect(page.page.get_by_role("alert").get_by_text("There is no such project")).to_be_visible()
    await expect(page.page.get_by_role("heading", name="New session")).to_be_visible()


async def test_a_gateway_that_is_away_is_asked_once_at_a_time_however_often_somebody_tries(
    page: Console, project: Project
) -> None:
    asked = 0

    async def count(route: Route) -> None:
        nonlocal asked
        asked += 1
        await route.fulfill(status=503, body="no", content_type="text/plain")

    await page.page.clock.install()
    await page.page.route("**/api/projects?*", count)
    await page.open()
    again = page.page.get_by_role("button", name="Try again")
    await expect(again).to_be_visible()
    for _ in range(3):
        await again.click()
    while asked < 4:  # noqa: ASYNC110 - the page sets no event of ours
        await asyncio.sleep(0.01)
    await expect(again).to_be_focused()
    before = asked
    await page.page.clock.run_for(3_100)
    while asked == before:  # noqa: ASYNC110 - the page sets no event of ours
        await asyncio.sleep(0.01)
    await page.page.clock.run_for(2_000)
    assert asked == before + 1
