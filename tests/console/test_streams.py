"""The console's stream through sleep, restored backups, and projects that are made anew."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Route, expect

from tests.clients.unruly import Unruly, unruly
from tests.console.api import SETTINGS, api_says, words
from tests.console.browsing import Console, console
from tests.program import free_ports, run_to_end
from tests.replica import replica
from tests.world import Gateway, Project

#: Much happens in each, on a machine that may have other work.
pytestmark = pytest.mark.timeout(400)


async def freeze(page: Console, state: str) -> None:
    """``frozen``: as a browser does with a tab that nobody looks at for long; ``active``: it is looked at again."""
    devtools = await page.page.context.new_cdp_session(page.page)
    await devtools.send("Page.setWebLifecycleState", {"state": state})


async def test_a_tab_that_slept_through_a_turn_shows_all_of_it(page: Console, project: Project) -> None:
    session_id = await page.begin_session("say before")
    await expect(page.status("Idle")).to_be_visible()
    await freeze(page, "frozen")
    await project.prompt(session_id, "stream 300\nthink hm\nstream 300")
    await freeze(page, "active")
    await expect(page.answers.last).to_contain_text("tok299")
    await expect(page.status("Idle")).to_be_visible()
    assert words(await page.said()) == words(await api_says(project, session_id))


async def test_a_restored_backup_is_said_and_all_is_read_again(
    running_browser: Browser, database_url: str, tmp_path: Path, agent_host: str
) -> None:
    port = free_ports(1)
    async with replica(database_url, tmp_path, SETTINGS, port=port) as first:
        await first.gateway.register(agent_host, defaultAgentId="demo")
        async with console(running_browser, first.gateway.url) as page:
            session_id = await page.begin_session("say kept")
            await expect(page.status("Idle")).to_be_visible()
            await first.kill()
            environ = {"ACP_GATEWAY_DATABASE_URL": database_url}
            restored = await asyncio.to_thread(run_to_end, "migrate", "--restored", directory=tmp_path, environ=environ)
            assert restored.status == 0, restored.stderr
            async with replica(database_url, tmp_path, SETTINGS, port=port) as second:
                await expect(page.page.get_by_text("The event stream began anew")).to_be_visible()
                await expect(page.page.locator("#sidebar .stream-badge")).to_contain_text("Live")
                await page.prompt("say afterwards")
                await expect(page.answers.last).to_have_text("afterwards")
                await expect(page.status("Idle")).to_be_visible()
                said = await api_says(Project(second.gateway, "demo"), session_id)
                assert words(await page.said()) == words(said) == ["kept", "afterwards"]


async def test_events_that_are_lost_on_their_way_are_said_and_all_is_read_again(
    page: Console, project: Project, gateway: Gateway
) -> None:
    session_id = await project.create_session()
    async with unruly(gateway.url) as front:
        front.never = {"1-6"}
        page.url = front.url
        await page.open(f"#/demo/{session_id}")
        await expect(page.page.locator("#sidebar .stream-badge")).to_contain_text("Live")
        await project.prompt(session_id, "stream 9")
        await expect(page.page.get_by_text("events were lost on their way")).to_be_visible()
        await expect(page.answers.last).to_contain_text("tok8")
        await expect(page.page.locator("#sidebar .stream-badge")).to_contain_text("Live")
        assert words(await page.said()) == words(await api_says(project, session_id))


async def test_a_gateway_without_its_database_is_away_and_said_to_be_so_once(
    page: Console, project: Project, gateway: Gateway
) -> None:
    session_id = await project.create_session()
    async with unruly(gateway.url) as front:
        page.url = front.url
        await _stays_away_until_there_is_one(page, front, project, session_id)


async def _stays_away_until_there_is_one(page: Console, front: Unruly, project: Project, session_id: str) -> None:
    await page.open(f"#/demo/{session_id}")
    badge = page.page.locator("#sidebar .stream-badge")
    await expect(badge).to_contain_text("Live")
    cursor = (await project.call("GET", f"/session/{session_id}")).json["cursor"]
    nothing_new = f"retry: 100\nid: {cursor}\nevent: heartbeat\ndata: {{}}\n\n"
    opened = 0

    async def bring_nothing(route: Route) -> None:
        nonlocal opened
        opened += 1
        await route.fulfill(status=200, body=nothing_new, content_type="text/event-stream")

    await page.page.route("**/acp/events*", bring_nothing)
    await page.page.route("**/acp/session*", lambda route: route.fulfill(status=503, body="{}"))
    await page.page.evaluate(
        """() => {
            window.said = []
            new MutationObserver(() => said.push(announcer.textContent)).observe(announcer, { childList: true })
            window.badges = []
            const badge = document.querySelector("#sidebar .stream-badge")
            new MutationObserver(() => badges.push(badge.dataset.state))
                .observe(badge, { attributeFilter: ["data-state"] })
        }"""
    )
    front.is_away = True
    await expect(badge).to_contain_text("Away")
    while opened < 5:  # noqa: ASYNC110 - the browser sets no event of ours
        await asyncio.sleep(0.05)
    assert await page.page.evaluate("badges") == ["away"]
    assert await page.page.evaluate("said") == ["The connection to the gateway is broken; it is tried again."]
    front.is_away = False
    await page.page.unroute("**/acp/session*")
    await page.page.unroute("**/acp/events*")
    await expect(badge).to_contain_text("Live")


async def test_a_refusal_before_the_network_went_away_is_asked_about_until_somebody_answers(
    page: Console, project: Project, gateway: Gateway
) -> None:
    session_id = await project.create_session()
    async with unruly(gateway.url) as front:
        page.url = front.url
        await page.open(f"#/demo/{session_id}")
        badge = page.page.locator("#sidebar .stream-badge")
        await expect(badge).to_contain_text("Live")
        asked = 0

        async def refuse_once(route: Route) -> None:
            nonlocal asked
            asked += 1
            await route.fulfill(status=403, body='{"code": "insufficient_role"}') if asked == 1 else await route.abort()

        await page.page.route(re.compile(r"/acp/session\?limit=1$"), refuse_once)
        front.is_away = True
        await project.create_session()
        while asked < 2:  # noqa: ASYNC110 - the browser sets no event of ours
            await asyncio.sleep(0.05)
        front.is_away = False
        await expect(badge).to_contain_text("Away")
        await page.page.unroute_all()
        await expect(badge).to_contain_text("Live")
        await expect(page.page.locator("#notices")).to_be_empty()


async def test_a_project_that_is_made_anew_has_none_of_its_sessions(
    page: Console, project: Project, agent_host: str
) -> None:
    await page.begin_session("say hello")
    await expect(page.status("Idle")).to_be_visible()
    # The page hears of both at once: it comes back to a project of the same name.
    await page.page.context.set_offline(True)
    assert (await project.gateway.call("DELETE", project.path)).status == 204
    await _registered_anew(project, agent_host)
    await page.page.context.set_offline(False)
    await expect(page.page.get_by_role("heading", name="There is no such session")).to_be_visible()
    await page.begin_session("say anew")
    await expect(page.answers.last).to_have_text("anew")


async def _registered_anew(project: Project, agent_host: str) -> None:
    """The id is free once the last of the old log is gone."""
    body = {"id": project.id, "containerUrl": "http://127.0.0.1:4096", "acpUrl": agent_host, "defaultAgentId": "demo"}
    while (await project.gateway.call("POST", "/api/projects", body)).status != 201:  # noqa: ASYNC110 - the gateway sets no event of ours
        await asyncio.sleep(0.1)
