"""Who asks: API tokens in the console, and two people who watch the same work with different roles."""

from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
from playwright.async_api import Browser, expect

from gateway.config.schema import IdentityConfig
from tests.console.browsing import Console, console
from tests.identity.conftest import Commands
from tests.world import QUICK, Gateway, GatewayProcess

#: Much happens in each, on a machine that may have other work.
pytestmark = pytest.mark.timeout(400)

TOKENS = attrs.evolve(QUICK, identity=IdentityConfig(modes=("tokens",)))


@pytest.fixture
def commands(database_url: str, tmp_path: Path) -> Commands:
    return Commands(database_url, tmp_path)


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    async with GatewayProcess(database_url, TOKENS).run() as running:
        yield running


def token_of(commands: Commands, user_id: str) -> str:
    made: str = commands.json("create", "--user", user_id)["token"]
    return made


async def share(gateway: Gateway, agent_host: str, token: str, viewer: str) -> None:
    """A project of the token's user, which the viewer may read."""
    project = await gateway.sending(Authorization=f"Bearer {token}").register(agent_host, defaultAgentId="demo")
    answer = await project.gateway.call("PUT", f"{project.path}/members/{viewer}", {"role": "viewer"})
    assert answer.status == 201, answer.body


async def sign_in(page: Console, token: str, *, keep: bool = False) -> None:
    dialog = page.page.get_by_role("dialog", name="Who are you?")
    await dialog.get_by_label("API token").fill(token)
    if keep:
        await dialog.get_by_label("Keep it").check()
    await dialog.get_by_role("button", name="Go on").click()


async def test_a_token_is_asked_for_until_one_holds_and_is_in_no_address(
    running_browser: Browser, gateway: Gateway, agent_host: str, commands: Commands
) -> None:
    alice = token_of(commands, "alice")
    await share(gateway, agent_host, alice, "victor")
    async with console(running_browser, gateway.url) as page:
        asked: list[str] = []
        page.page.on("request", lambda request: asked.append(request.url))
        await page.open()
        await sign_in(page, "acpgw_wrong")
        dialog = page.page.get_by_role("dialog", name="Who are you?")
        await expect(dialog.locator(".form-problem").first).to_be_visible()
        await sign_in(page, alice, keep=True)
        await page.begin_session("stream 20")
        await expect(page.status("Idle")).to_be_visible()
        assert "tok19" in await page.said()
        assert any("/events?" in url and "ticket=" in url for url in asked)
        assert not any(alice in url for url in asked)
        await page.page.reload()
        await expect(page.answers.first).to_contain_text("tok19")


async def test_a_token_that_was_not_to_be_kept_is_gone_with_the_page(
    running_browser: Browser, gateway: Gateway, agent_host: str, commands: Commands
) -> None:
    alice = token_of(commands, "alice")
    await share(gateway, agent_host, alice, "victor")
    async with console(running_browser, gateway.url) as page:
        await page.open()
        await sign_in(page, alice)
        await expect(page.page.get_by_role("heading", name="New session")).to_be_visible()
        assert alice not in await page.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        await page.page.reload()
        await expect(page.page.get_by_role("dialog", name="Who are you?")).to_be_visible()


async def test_two_people_see_the_same_turn_and_only_one_may_answer(
    running_browser: Browser, gateway: Gateway, agent_host: str, commands: Commands
) -> None:
    alice, victor = token_of(commands, "alice"), token_of(commands, "victor")
    await share(gateway, agent_host, alice, "victor")
    async with console(running_browser, gateway.url) as owner, console(running_browser, gateway.url) as viewer:
        await owner.open()
        await sign_in(owner, alice)
        await viewer.open()
        await sign_in(viewer, victor)
        session_id = await owner.begin_session("say first\nwrite note.txt shared")
        await viewer.page.get_by_role("link", name="say first").click()
        await expect(viewer.dock.get_by_role("article")).to_be_visible()
        await expect(viewer.dock.get_by_role("button")).to_have_count(0)
        await expect(viewer.page.get_by_role("textbox", name="Prompt")).to_be_disabled()
        await expect(viewer.page.get_by_role("link", name="New")).to_be_hidden()
        await owner.dock.get_by_role("button", name="Allow once").click()
        for page in (owner, viewer):
            await expect(page.answers.last).to_contain_text("I wrote note.txt.")
            await expect(page.transcript.get_by_text("Allow once, by alice")).to_be_visible()
        assert viewer.page.url.endswith(session_id)
        assert await viewer.said() == await owner.said()


async def test_a_member_sees_a_new_role_without_a_reload(
    running_browser: Browser, gateway: Gateway, agent_host: str, commands: Commands
) -> None:
    alice, victor = token_of(commands, "alice"), token_of(commands, "victor")
    await share(gateway, agent_host, alice, "victor")
    project = gateway.sending(Authorization=f"Bearer {alice}")
    async with console(running_browser, gateway.url) as page:
        await page.open()
        await sign_in(page, victor)
        new = page.page.get_by_role("link", name="New")
        await expect(page.page.locator("#sidebar .stream-badge")).to_contain_text("Live")
        for role, may_work in (("operator", True), ("viewer", False)):
            answer = await project.call("PUT", "/api/projects/demo/members/victor", {"role": role})
            assert answer.status == 200, answer.body
            await expect(new).to_be_visible(visible=may_work)


async def test_whoever_loses_access_is_told_so_and_keeps_what_they_have_read(
    running_browser: Browser, gateway: Gateway, agent_host: str, commands: Commands
) -> None:
    alice, victor = token_of(commands, "alice"), token_of(commands, "victor")
    await share(gateway, agent_host, alice, "victor")
    project = gateway.sending(Authorization=f"Bearer {alice}")
    async with console(running_browser, gateway.url) as viewer:
        await viewer.open()
        await sign_in(viewer, victor)
        await expect(viewer.page.locator("#sidebar .stream-badge")).to_contain_text("Live")
        assert (await project.call("DELETE", "/api/projects/demo/members/victor")).status == 204
        await expect(viewer.page.locator("#sidebar .stream-badge")).to_contain_text("Closed")
        await expect(viewer.page.get_by_role("alert")).to_contain_text("The project cannot be read any more")
        await expect(viewer.page.get_by_label("Project", exact=True).get_by_role("option")).to_have_count(0)


async def test_a_project_that_is_gone_leaves_the_list_when_it_is_picked(
    running_browser: Browser, gateway: Gateway, agent_host: str, commands: Commands
) -> None:
    alice = gateway.sending(Authorization=f"Bearer {token_of(commands, 'alice')}")
    await alice.register(agent_host, defaultAgentId="demo")
    await alice.register(agent_host, "short-lived")
    async with console(running_browser, gateway.url) as page:
        await page.open()
        await sign_in(page, alice.headers["Authorization"].removeprefix("Bearer "))
        projects = page.page.get_by_label("Project", exact=True)
        await expect(projects.get_by_role("option")).to_have_text(["demo", "short-lived"])
        assert (await alice.call("DELETE", "/api/projects/short-lived")).status == 204
        await projects.select_option("short-lived")
        await expect(projects.get_by_role("option")).to_have_text(["demo"])
        await projects.select_option("demo")
        await expect(page.page.locator("#sidebar .stream-badge")).to_contain_text("Live")
