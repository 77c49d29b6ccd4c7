"""Changes of state are seen in open pages without a reload."""

import json
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, expect

from tests.console.browsing import Console, console
from tests.console.saying import begin, update
from tests.world import Gateway, Project

#: Much happens in each, on a machine that may have other work.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
async def other(running_browser: Browser, gateway: Gateway) -> AsyncIterator[Console]:
    """Another window of the same console."""
    async with console(running_browser, gateway.url) as opened:
        yield opened


async def rename(page: Console, title: str) -> None:
    await page.page.get_by_label("More about this session").click()
    await page.page.get_by_role("button", name="Rename…").click()
    dialog = page.page.get_by_role("dialog", name="Rename session")
    await dialog.get_by_label("Title").fill(title)
    await dialog.get_by_role("button", name="Rename", exact=True).click()


async def test_two_windows_show_each_others_titles(page: Console, other: Console, project: Project) -> None:
    session_id = await page.begin_session("say hello")
    await other.open(f"#/demo/{session_id}")
    await expect(other.status("Idle")).to_be_visible()
    for writer, reader, title in ((page, other, "Mend the parser"), (other, page, "Mend it once more")):
        await rename(writer, title)
        for one in (writer, reader):
            await expect(one.page.get_by_role("heading", name=title)).to_be_visible()
            await expect(one.page.locator("#sidebar .session-title")).to_have_text(title)
            await expect(one.transcript.get_by_text(f"local calls the session “{title}”")).to_be_visible()
            await expect(one.page).to_have_title(f"{title} · ACP gateway")
    await other.page.reload()
    await expect(other.transcript.locator(".note")).to_have_count(2)


async def test_a_title_of_the_agents_is_shown_until_somebody_gives_another(
    page: Console, scripted_project: Project
) -> None:
    session_id = await begin(page, scripted_project, [update("session_info_update", title="Mend the parser")])
    listed = page.page.locator("#sidebar .session-title")
    await expect(listed).to_have_text("Mend the parser")
    await rename(page, "Ours")
    await expect(listed).to_have_text("Ours")
    await scripted_project.prompt(
        session_id, json.dumps([update("session_info_update", title="No"), ["say", "done", 1]])
    )
    await expect(page.answers.last).to_contain_text("done")
    await expect(listed).to_have_text("Ours")


async def test_a_history_that_is_cleared_is_gone_from_an_open_page(page: Console, project: Project) -> None:
    session_id = await page.begin_session("say before")
    await expect(page.answers.last).to_contain_text("before")
    await project.call("DELETE", f"/session/{session_id}/messages")
    await expect(page.transcript.get_by_text("local cleared the history before this.")).to_be_visible()
    await expect(page.answers).to_have_count(0)
    await page.prompt("say after")
    await expect(page.answers).to_have_text(["after"])
    await page.page.reload()
    await expect(page.answers).to_have_text(["after"])
    await expect(page.transcript.get_by_text("local cleared the history before this.")).to_be_visible()


async def test_a_history_that_is_cleared_while_a_turn_runs_goes_on_with_what_comes(
    page: Console, project: Project
) -> None:
    session_id = await page.begin_session("say before\nwrite note.txt text\nsay after")
    await expect(page.dock.get_by_role("button", name="Allow once")).to_be_visible()
    await project.call("DELETE", f"/session/{session_id}/messages")
    await expect(page.answers).to_have_count(0)
    await page.dock.get_by_role("button", name="Allow once").click()
    await expect(page.status("Idle")).to_be_visible()
    await expect(page.answers.last).to_contain_text("after")
    shown = await page.said()
    assert "before" not in shown
    await page.page.reload()
    await expect(page.status("Idle")).to_be_visible()
    assert await page.said() == shown


async def test_a_change_of_the_project_is_said_and_shown(page: Console, project: Project) -> None:
    await page.begin_session("say hello")
    about = page.page.locator(".session-about")
    await expect(about).to_contain_text("asks before it acts")
    changes = {"permissionMode": "full-auto", "name": "The shop"}
    await project.gateway.call("PATCH", project.path, changes)
    await expect(about).to_contain_text("acts without asking")
    await expect(page.page.get_by_label("Project", exact=True)).to_contain_text("The shop (demo)")
    said = page.page.get_by_text("local changed the project: name The shop, permissions full-auto")
    await expect(said).to_be_visible()


async def test_members_who_come_and_go_are_said(page: Console, project: Project) -> None:
    await page.open("#/demo/new")
    await expect(page.page.locator("#sidebar .stream-badge")).to_contain_text("Live")
    path = f"{project.path}/members/olga"
    for method, body, sentence in (
        ("PUT", {"role": "viewer"}, "local added olga as viewer"),
        ("PUT", {"role": "operator"}, "local made olga operator"),
        ("DELETE", None, "local removed olga"),
    ):
        await project.gateway.call(method, path, body)
        await expect(page.page.get_by_text(sentence)).to_be_visible()


async def test_the_session_that_was_active_last_stands_first(page: Console, project: Project) -> None:
    made = [await project.create_session(title=title) for title in ("one", "two", "three")]
    await page.open("#/demo/new")
    shown = page.page.locator("#sidebar .session-title")
    await expect(shown).to_have_text(["three", "two", "one"])
    await project.prompt(made[0], "say hello")
    await expect(shown).to_have_text(["one", "three", "two"])
    await page.page.reload()
    await expect(shown).to_have_text(["one", "three", "two"])
