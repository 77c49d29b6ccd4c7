"""Calls that are slow, fail, or lose their answers: what is shown is true all the same, and nothing is done twice."""

import asyncio

import pytest
from playwright.async_api import Route, expect

from tests.console.browsing import Console
from tests.world import Project

#: Much happens in each, on a machine that may have other work.
pytestmark = pytest.mark.timeout(400)


async def waiting_permission(project: Project) -> str:
    """The id of the one that waits, once it does."""
    while not (waiting := (await project.call("GET", "/permission")).json["permissions"]):  # noqa: ASYNC110 - the gateway sets no event of ours
        await asyncio.sleep(0.05)
    permission_id: str = waiting[0]["id"]
    return permission_id


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
