"""Sessions, prompts and permissions in the console, and what a reload or a dead gateway changes of them: nothing."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route, expect

from tests.console.api import SETTINGS, api_says, words
from tests.console.browsing import Console, console
from tests.program import free_ports
from tests.replica import replica
from tests.world import Project

#: Much happens in each, on a machine that may have other work.
pytestmark = pytest.mark.timeout(400)

#: Long enough for a gateway to come back in its midst.
LONG = "\n".join(["stream 40", "slow 0.3"] * 12)


async def test_a_session_begins_with_its_first_prompt_and_its_answer_streams_in(
    page: Console, project: Project
) -> None:
    session_id = await page.begin_session("say **Hello** there\nthink about it\nstream 50")
    await expect(page.status("Idle")).to_be_visible()
    await expect(page.answers.first.locator("strong")).to_have_text("Hello")
    await expect(page.transcript.get_by_text("Thought")).to_be_visible()
    assert words(await page.said()) == words((await api_says(project, session_id)).replace("**", ""))
    await expect(page.transcript.locator(".turn-state")).to_have_text(re.compile("^Done in "))


async def test_a_permission_shows_what_is_asked_and_takes_the_agents_own_options(
    page: Console, project: Project, tmp_path: Path
) -> None:
    await page.begin_session("write note.txt some text")
    card = page.dock.get_by_role("article")
    await expect(card.get_by_role("heading")).to_have_text("Demo agent asks: Write note.txt")
    await expect(card.locator("ins")).to_contain_text("some text")
    names = await card.locator(".card-options button").all_inner_texts()
    assert names == ["Allow once", "Always allow", "Reject"]
    assert not (tmp_path / "workspace" / "note.txt").exists()
    await card.get_by_role("button", name="Allow once").click()
    await expect(page.answers.last).to_contain_text("I wrote note.txt.")
    await expect(page.dock).to_be_hidden()
    assert (tmp_path / "workspace" / "note.txt").read_text() == "some text\n"


async def test_a_rejected_permission_changes_nothing_and_says_who_rejected(
    page: Console, project: Project, tmp_path: Path
) -> None:
    await page.begin_session("write note.txt some text")
    await page.dock.get_by_role("button", name="Reject").click()
    await expect(page.answers.last).to_contain_text("I did not write note.txt.")
    await expect(page.transcript.get_by_text("Reject, by local")).to_be_visible()
    assert not (tmp_path / "workspace" / "note.txt").exists()


async def test_a_turn_is_stopped_and_what_waits_behind_it_begins(page: Console, project: Project) -> None:
    await page.begin_session("slow 600")
    await expect(page.status("Running")).to_be_visible()
    await page.prompt("say second")
    await page.prompt("say third")
    queue = page.page.get_by_role("list", name="Prompts that wait").get_by_role("listitem")
    await expect(queue).to_have_text(["say second", "say third"])
    await queue.nth(1).get_by_role("button", name="Take out of the queue").click()
    await expect(queue).to_have_text(["say second"])
    await page.page.get_by_role("button", name="Stop", exact=True).click()
    await expect(page.answers.last).to_have_text("second")
    await expect(page.transcript.locator(".turn-state").first).to_have_text(re.compile("^Cancelled after "))
    await expect(page.status("Idle")).to_be_visible()


async def test_what_is_half_written_survives_a_reload(page: Console, project: Project) -> None:
    await page.begin_session("say hello")
    await page.page.get_by_role("textbox", name="Prompt").fill("half a thou")
    await page.page.reload()
    await expect(page.page.get_by_role("textbox", name="Prompt")).to_have_value("half a thou")
    await page.prompt("say done")
    await expect(page.answers.last).to_have_text("done")
    await page.page.reload()
    await expect(page.page.get_by_role("textbox", name="Prompt")).to_have_value("")


async def test_a_prompt_whose_answer_was_lost_with_the_page_is_not_run_twice(page: Console, project: Project) -> None:
    session_id = await page.begin_session("say hello")
    # The prompt arrives, and the page is closed before it hears so.
    await page.page.route("**/prompt", lambda route: route.fetch(), times=1)
    await page.prompt("say once")
    await expect(page.answers.last).to_have_text("once")
    await page.page.reload()
    box = page.page.get_by_role("textbox", name="Prompt")
    await expect(box).to_have_value("say once")
    await box.press("Enter")
    await expect(box).to_have_value("")
    prompts = [message for message in await project.messages(session_id) if message["role"] == "user"]
    assert [prompt["content"][0]["text"] for prompt in prompts] == ["say hello", "say once"]


async def test_a_reload_in_the_middle_of_a_turn_misses_and_doubles_no_word(page: Console, project: Project) -> None:
    session_id = await page.begin_session(LONG)
    for count in (2, 4, 6):
        await expect(page.answers.first).to_contain_text(re.compile(f"(?:.*done){{{count}}}", re.DOTALL))
        await page.page.reload()
    # A page that comes back after the turn's end says so before it has the transcript.
    await expect(page.answers.first).to_contain_text(re.compile("(?:.*done){12}", re.DOTALL))
    await expect(page.status("Idle")).to_be_visible()
    assert words(await page.said()) == words(await api_says(project, session_id))


async def test_a_gateway_that_is_killed_and_started_in_the_middle_of_a_turn_costs_no_word(
    running_browser: Browser, database_url: str, tmp_path: Path, agent_host: str
) -> None:
    port = free_ports(1)
    async with replica(database_url, tmp_path, SETTINGS, port=port) as first:
        await first.gateway.register(agent_host, defaultAgentId="demo")
        async with console(running_browser, first.gateway.url) as page:
            session_id = await page.begin_session(LONG)
            await expect(page.answers.first).to_contain_text("done")
            await first.kill()
            await expect(page.page.locator("#sidebar .stream-badge")).to_contain_text("Away")
            # Somebody who writes meanwhile loses nothing: it is sent once the gateway is back.
            await page.prompt("say after the kill")
            await asyncio.sleep(0.5)
            async with replica(database_url, tmp_path, SETTINGS, port=port) as second:
                await expect(page.page.locator("#sidebar .stream-badge")).to_contain_text("Live")
                await expect(page.answers.last).to_have_text("after the kill")
                await expect(page.status("Idle")).to_be_visible()
                said = await api_says(Project(second.gateway, "demo"), session_id)
                assert said.count("tok39") == 12
                assert words(await page.said()) == words(said)


async def test_a_permission_that_was_answered_while_its_session_was_read_does_not_wait_again(
    page: Console, project: Project
) -> None:
    session = await project.create_session()
    await project.prompt(session, "permission", wait=None)
    await page.open("#/demo/new")
    row = page.page.get_by_role("navigation").locator("a.session-link")
    await expect(row).to_contain_text("waits for your answer")
    read, arrive = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        response = await route.fetch()
        read.set()
        await arrive.wait()
        await route.fulfill(response=response)

    await page.page.route(re.compile(r"/snapshot"), hold)
    await row.click()
    await read.wait()
    [asked] = (await project.call("GET", "/permission")).json["permissions"]
    assert (await project.call("POST", f"/permission/{asked['id']}", {"granted": True})).status == 200
    await expect(row).not_to_contain_text("waits for your answer")
    arrive.set()
    await expect(page.transcript.get_by_text("Allow once, by local")).to_be_visible()
    await expect(page.dock).to_be_hidden()
    await expect(row).not_to_contain_text("waits for your answer")
