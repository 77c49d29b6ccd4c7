"""What a transcript shows: long turns, old ones, what is missing, several sessions at once, who waited for whom."""

import json
import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.console.browsing import Console
from tests.console.saying import begin, text, update
from tests.world import Gateway, Project

#: Much happens in each, on a machine that may have other work.
pytestmark = pytest.mark.timeout(400)

CHUNKS = 10_000
#: Sessions that the list begins with.
LISTED = 50


async def turns_of(project: Project, session_id: str, count: int) -> None:
    for number in range(count):
        await project.prompt(session_id, f"say turn {number} of many\nsay {'line ' * 40}")


async def test_a_turn_of_ten_thousand_chunks_is_shown_whole_and_not_drawn_for_each(
    page: Console, project: Project
) -> None:
    session_id = await project.create_session()
    await page.open(f"#/demo/{session_id}")
    await expect(page.transcript).to_be_visible()
    await page.transcript.evaluate(
        """transcript => {
            window.draws = 0
            new MutationObserver(() => draws++).observe(transcript, {subtree: true, childList: true})
        }"""
    )
    await project.prompt(session_id, f"stream {CHUNKS}", wait=None)
    await expect(page.answers.last).to_contain_text(f"tok{CHUNKS - 1}", timeout=300_000)
    await expect(page.status("Idle")).to_be_visible()
    assert (await page.said()).split() == [f"tok{number}" for number in range(CHUNKS)]
    assert await page.page.evaluate("draws") < CHUNKS / 5


async def test_older_messages_come_as_one_scrolls_up_and_what_is_read_stays_where_it_is(
    page: Console, project: Project
) -> None:
    session_id = await project.create_session()
    await turns_of(project, session_id, 45)
    await page.open(f"#/demo/{session_id}")
    await expect(page.answers.last).to_contain_text("turn 44 of many")
    await expect(page.transcript.get_by_text("turn 0 of many").first).to_have_count(0)
    first = page.transcript.locator(".turn").first
    await first.scroll_into_view_if_needed()
    before = await page.page.evaluate(
        """() => {
            window.marked = [...document.querySelectorAll(".turn")].at(1)
            return marked.getBoundingClientRect().top
        }"""
    )
    await expect(page.transcript.get_by_text("The beginning of this session")).to_have_count(1)
    after = await page.page.evaluate("marked.getBoundingClientRect().top")
    assert abs(after - before) < 3
    await page.transcript.evaluate("box => box.scrollTo(0, 0)")
    await expect(page.answers.first).to_contain_text("turn 0 of many")
    assert await page.answers.count() == 45
    await expect(page.transcript.locator(".turn-state").first).to_have_text(re.compile("^Done in "))


async def test_who_reads_further_up_is_left_there_while_it_streams(page: Console, project: Project) -> None:
    session_id = await project.create_session()
    await turns_of(project, session_id, 12)
    await page.open(f"#/demo/{session_id}")
    await expect(page.answers.last).to_contain_text("turn 11 of many")
    await page.transcript.hover()
    await page.page.mouse.wheel(0, -600)
    jump = page.page.get_by_role("button", name="Latest")
    await expect(jump).to_be_visible()
    place = await page.transcript.evaluate("box => box.scrollTop")
    await project.prompt(session_id, "stream 500")
    await expect(page.answers.last).to_contain_text("tok499")
    assert abs(await page.transcript.evaluate("box => box.scrollTop") - place) < 3
    await jump.click()
    await expect(jump).to_be_hidden()
    assert await page.transcript.evaluate("box => box.scrollHeight - box.scrollTop - box.clientHeight") < 3


async def test_several_sessions_are_followed_over_one_stream(page: Console, project: Project) -> None:
    streams: list[str] = []
    page.page.on("request", lambda request: "/events" in request.url and streams.append(request.url))
    shown = await page.begin_session("say here")
    other = await project.create_session(title="elsewhere")
    row = page.page.get_by_role("link", name="elsewhere")
    await expect(row).to_be_visible()
    await project.prompt(other, "ask May I?", wait=None)
    await expect(row).to_contain_text("waits for your answer")
    await expect(page.dock).to_be_hidden()
    await expect(page.page).to_have_title(re.compile(r"^\(1\) "))
    await page.page.locator("h1").first.click()
    await page.page.keyboard.press("p")
    await page.dock.get_by_role("button", name="Reject").click()
    await expect(page.answers.last).to_have_text("rejected")
    await page.page.get_by_role("link", name="say here").click()
    await project.prompt(other, "say more")
    await expect(row).to_contain_text("something new")
    assert shown in page.page.url
    assert len(streams) == 1


async def test_a_session_that_was_not_listed_is_once_something_happens_in_it(page: Console, project: Project) -> None:
    old = await project.create_session(title="old one")
    for _ in range(LISTED):
        await project.create_session()
    await page.open("#/demo")
    await expect(page.page.locator("#sidebar .stream-badge")).to_contain_text("Live")
    row = page.page.locator(f"a.session-link[href$='{old}']")
    await expect(row).to_have_count(0)
    await project.prompt(old, "write note.txt some text\nsay more", wait=None)
    await expect(row.locator("[data-state=asking]")).to_be_visible()
    await row.click()
    await page.dock.get_by_role("button", name="Allow once").click()
    await expect(page.answers.last).to_contain_text("more")
    await expect(page.status("Idle")).to_be_visible()


async def test_what_is_missing_is_said_where_it_is_missing(
    page: Console, gateway: Gateway, base_container: Any
) -> None:
    project = await gateway.register(base_container.url, defaultAgentId="demo")
    session_id = await project.create_session()
    await page.open(f"#/demo/{session_id}")
    await expect(page.page.locator("#sidebar .stream-badge")).to_contain_text("Live")
    await base_container.restart()
    await expect(page.transcript.get_by_text("Something is missing here.").first).to_be_visible()


async def test_tokens_and_cost_are_shown_as_the_agent_tells_them(page: Console, scripted_project: Project) -> None:
    cost = {"amount": 0.25, "currency": "USD"}
    steps = [
        update("usage_update", used=18_400, size=200_000, cost=cost),
        update("agent_message_chunk", content=text("x")),
    ]
    await begin(page, scripted_project, steps, "usage")
    await expect(page.page.locator(".session-head .usage")).to_have_text("18k of 200k tokens · $0.25")
    await page.page.reload()
    await expect(page.page.locator(".session-head .usage")).to_have_text("18k of 200k tokens · $0.25")


async def test_a_timeline_is_the_same_for_a_turn_that_was_watched_and_one_that_is_history(
    page: Console, scripted_project: Project
) -> None:
    ask = {
        "toolCall": {"toolCallId": "c", "title": "Go on?"},
        "options": [{"optionId": "y", "name": "Yes", "kind": "allow_once"}],
    }
    steps = [
        update("tool_call", toolCallId="t", title="Work", kind="execute", status="in_progress"),
        ["sleep", 0.3],
        update("tool_call_update", toolCallId="t", status="completed"),
        ["call", "session/request_permission", ask],
    ]
    session_id = await scripted_project.create_session(agentId="scripted")
    await page.open(f"#/demo/{session_id}")
    await expect(page.status("Idle")).to_be_visible()
    await scripted_project.prompt(session_id, json.dumps(steps), wait=None)
    await page.dock.get_by_role("button", name="Yes").click()
    await expect(page.status("Idle")).to_be_visible()
    watched = await timeline(page)
    await page.page.reload()
    assert await timeline(page) == watched
    assert [row[:2] for row in watched if row[0] != "Agent"] == [["Tools", "Work"], ["Permissions", "a permission"]]


async def timeline(page: Console) -> list[list[str]]:
    await page.transcript.get_by_role("button", name="Timeline").click()
    figure = page.transcript.locator("figure.timeline-figure")
    await expect(figure.get_by_role("img")).to_have_attribute("aria-label", re.compile(r"in all\. Agent: "))
    await figure.get_by_text("As a table").click()
    rows: list[list[str]] = await figure.locator("tbody tr").evaluate_all(
        "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return rows


async def test_an_empty_installation_says_what_to_do_and_does_it(
    page: Console, gateway: Gateway, agent_host: str
) -> None:
    await page.open()
    await expect(page.page.get_by_role("heading", name="No project yet")).to_be_visible()
    await page.page.locator("main").get_by_role("button", name="Add a project").click()
    dialog = page.page.get_by_role("dialog", name="Add a project")
    await dialog.get_by_label("The container's address").fill("ftp://nowhere")
    await dialog.get_by_role("button", name="Add", exact=True).click()
    await expect(dialog.get_by_role("alert")).to_contain_text("$.containerUrl")
    await dialog.get_by_label("The container's address").fill("http://127.0.0.1:9")
    await dialog.get_by_label("Id").fill("shop")
    await dialog.get_by_role("button", name="Add", exact=True).click()
    await expect(page.page.get_by_label("Project", exact=True)).to_have_value("shop")
    # Nothing listens there: that is said, with what to do, and asked again on demand, or when something does.
    problem = page.page.locator(".side-problem")
    await expect(problem).to_contain_text("Nothing listens at the project's container.")
    await problem.get_by_role("button", name="Ask again").click()
    await expect(problem).to_contain_text("Nothing listens at the project's container.")
    assert (await gateway.call("PATCH", "/api/projects/shop", {"acpUrl": agent_host})).status == 200
    await page.page.evaluate("document.querySelector('.side-problem button')?.click()")
    await expect(page.page.locator("#sidebar .agents").get_by_text("Demo agent", exact=True)).to_be_visible()
