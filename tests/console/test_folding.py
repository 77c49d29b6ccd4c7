"""A transcript that streams in is the same as the one that a reload reads: it folds as the gateway does."""

import asyncio
import json
from typing import Any

import pytest
from playwright.async_api import expect

from gateway.log.ids import LogId
from gateway.log.room import LOG
from gateway.log.store import NewEvent
from gateway.wire.events import Gap, HistoryFilled
from tests.console.browsing import Console
from tests.console.saying import text, update
from tests.world import Project

#: Much happens in each, on a machine that may have other work.
pytestmark = pytest.mark.timeout(400)

YES = {"optionId": "yes", "name": "Yes", "kind": "allow_once"}
ASKS = {"toolCall": {"toolCallId": "c", "title": "Go on?"}, "options": [YES]}
#: More than a snapshot holds.
MANY = 60


def says(said: str) -> list[Any]:
    return update("agent_message_chunk", content=text(said))


async def open_session(page: Console, project: Project) -> str:
    session_id = await project.create_session(agentId="scripted")
    await page.open(f"#/demo/{session_id}")
    await expect(page.status("Idle")).to_be_visible()
    return session_id


async def assert_is_the_same_after_a_reload(page: Console) -> None:
    await expect(page.status("Idle")).to_be_visible()
    streamed = await page.answers.locator(".prose").all_inner_texts()
    await page.page.reload()
    await expect(page.status("Idle")).to_be_visible()
    await expect(page.answers.locator(".prose")).to_have_text(streamed)


async def test_a_permission_request_stands_between_what_is_said_before_and_after(
    page: Console, scripted_project: Project
) -> None:
    session_id = await open_session(page, scripted_project)
    steps = [says("Before."), ["call", "session/request_permission", ASKS], says("After.")]
    await scripted_project.prompt(session_id, json.dumps(steps), wait=None)
    await page.dock.get_by_role("button", name="Yes").click()
    await expect(page.answers.last).to_contain_text("After.")
    await assert_is_the_same_after_a_reload(page)
    await expect(page.transcript.locator(".permission-line")).to_contain_text("Yes, by local")
    assert await order_of(page, "Before.", "Permission:", "After.")


async def test_a_permission_that_waits_while_the_page_is_read_again_is_asked_once_and_shown_once(
    page: Console, scripted_project: Project
) -> None:
    session_id = await open_session(page, scripted_project)
    steps = [says("Before."), ["call", "session/request_permission", ASKS], says("After.")]
    await scripted_project.prompt(session_id, json.dumps(steps), wait=None)
    await expect(page.dock.get_by_role("button", name="Yes")).to_be_visible()
    await page.page.reload()
    await expect(page.transcript.locator(".permission-line")).to_have_count(1)
    await page.dock.get_by_role("button", name="Yes").click()
    await expect(page.answers.last).to_contain_text("After.")
    await assert_is_the_same_after_a_reload(page)
    await expect(page.transcript.locator(".permission-line")).to_have_count(1)
    assert await order_of(page, "Before.", "Permission:", "After.")


async def test_what_is_noted_stands_in_its_place_also_after_a_reload(page: Console, scripted_project: Project) -> None:
    session_id = await open_session(page, scripted_project)
    steps = [says("Before."), ["until-cancel"], says("After.")]
    await scripted_project.prompt(session_id, json.dumps(steps), wait=None)
    await expect(page.answers).to_contain_text("Before.")
    await page.page.get_by_role("button", name="Stop", exact=True).click()
    await expect(page.answers.last).to_contain_text("After.")
    await assert_is_the_same_after_a_reload(page)
    assert await order_of(page, "Before.", "wants this turn to stop", "After.")


async def test_what_was_filled_in_of_a_gap_stands_in_it_also_after_a_reload(page: Console, project: Project) -> None:
    session_id = await page.begin_session("say before")
    await expect(page.status("Idle")).to_be_visible()
    log, log_id = project.gateway.app[LOG].store, LogId(project.id)
    whose = {"session_id": session_id, "agent_id": "demo"}
    gap = (await log.append(log_id, [NewEvent.of(Gap(reason="stream_interrupted"))])).cursor.seq
    chunk = {"sessionUpdate": "agent_message_chunk"}
    said = json.dumps({"sessionId": "x", "update": {**chunk, "content": text("after")}}).encode()
    await log.append(log_id, [NewEvent(type="session_update", data=said, **whose)])
    await expect(page.answers.last).to_contain_text("after")
    lost = ({**chunk, "content": text("lost")}, {"sessionUpdate": "tool_call", "toolCallId": "c", "title": "Run it"})
    filled = [HistoryFilled(gap=gap, source="opencode", update=update) for update in lost]
    await log.append(log_id, [NewEvent.of(one, **whose) for one in filled])
    part = page.transcript.get_by_role("region", name="Filled in")
    for _ in range(2):
        await expect(part.locator(".tool-title")).to_have_text("Run it")
        await expect(part.locator(".prose")).to_have_text("lost")
        assert await order_of(page, "before", "Something is missing here", "lost", "Run it", "after")
        await assert_is_the_same_after_a_reload(page)


async def order_of(page: Console, *said: str) -> bool:
    """Whether the transcript shows these one after the other, behind the prompt that has them, too."""
    places = [(await page.transcript.inner_text()).rfind(one) for one in said]
    return -1 not in places and places == sorted(places)


async def test_a_tool_call_that_stands_further_up_than_was_read_is_shown_once_and_where_it_began(
    page: Console, scripted_project: Project
) -> None:
    session_id = await open_session(page, scripted_project)
    long = {"toolCallId": "long", "title": "Long task", "kind": "think"}
    steps = [
        update("tool_call", status="in_progress", **long),
        *[update("tool_call", toolCallId=f"c{n}", title=f"Step {n}", status="completed") for n in range(MANY)],
        ["call", "session/request_permission", ASKS],
        update("tool_call_update", toolCallId="long", status="completed"),
        says("Done."),
    ]
    await scripted_project.prompt(session_id, json.dumps(steps), wait=None)
    await expect(page.dock.get_by_role("button", name="Yes")).to_be_visible()
    await page.page.reload()
    await page.dock.get_by_role("button", name="Yes").click()
    await expect(page.status("Idle")).to_be_visible()
    await expect(page.answers.last).to_contain_text("Done.")
    titles = page.transcript.locator(".tool-title")
    while await page.transcript.get_by_text("The beginning of this session").count() == 0:
        await page.transcript.evaluate("box => box.scrollTo(0, 0)")
        await asyncio.sleep(0.1)
    await expect(titles).to_have_text(["Long task", *[f"Step {n}" for n in range(MANY)]])
    await expect(page.transcript.locator(".tool-state").first).to_have_text("done")
