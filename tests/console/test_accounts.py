"""Connecting an account for an agent in the console, at a provider that runs."""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Locator, expect

from tests.console.browsing import Console
from tests.fakes.container import FakeContainer
from tests.fakes.provider import FakeProvider
from tests.oauth.conftest import with_providers
from tests.oauth.person import Person
from tests.world import Gateway, GatewayProcess, Project

#: Much happens in each, on a machine that may have other work.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as running:
        yield running


@pytest.fixture
def changes() -> dict[str, object]:
    """What is another way about the provider."""
    return {}


@pytest.fixture
async def gateway(database_url: str, provider: FakeProvider, changes: dict[str, object]) -> AsyncIterator[Gateway]:
    async with GatewayProcess(database_url, with_providers(example=provider.table(**changes))).run() as running:
        yield running


@pytest.fixture
async def project(gateway: Gateway, base_container: FakeContainer) -> Project:
    return await gateway.register(base_container.url, defaultAgentId="demo")


@pytest.fixture
def person(project: Project, provider: FakeProvider) -> Person:
    return Person(project, provider)


async def open_account(page: Console) -> Locator:
    await page.open("#/demo")
    await page.page.get_by_label("What to do with Demo", exact=True).click()
    await page.page.get_by_role("button", name="Account…").click()
    dialog = page.page.get_by_role("dialog", name="Demo: account")
    await expect(dialog.get_by_role("button", name="Connect at Example", exact=True)).to_be_visible()
    return dialog


async def test_a_login_in_a_new_tab_is_noticed_when_it_is_done(
    page: Console, person: Person, provider: FakeProvider
) -> None:
    dialog = await open_account(page)
    await dialog.get_by_role("button", name="Connect at Example", exact=True).click()
    link = dialog.get_by_role("link", name=re.compile("Open 127.0.0.1"))
    assert (await link.get_attribute("target"), await link.get_attribute("rel")) == ("_blank", "noopener noreferrer")
    tab = await page.page.context.new_page()
    await tab.goto(provider.log_in(await link.get_attribute("href") or ""))
    await expect(tab.get_by_text("Example is connected")).to_be_visible()
    await expect(dialog).to_be_hidden()
    assert await person.state() == "authorized"


@pytest.mark.parametrize("changes", [{"redirect_mode": "loopback_paste", "redirect_uri": "http://localhost:1455/done"}])
@pytest.mark.parametrize("whole", [True, False])
async def test_what_a_page_ended_with_is_pasted_back(
    page: Console, person: Person, provider: FakeProvider, whole: bool
) -> None:
    dialog = await open_account(page)
    begin = dialog.get_by_role("button", name="Connect at Example", exact=True)
    await begin.click()
    # A code that is none costs this login, and says so; the next one is begun from where that is said.
    await dialog.get_by_label("What the page ended with").fill("nonsense")
    await dialog.get_by_role("button", name="Finish").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("The login did not work.")
    await begin.click()
    address = await dialog.get_by_role("link").get_attribute("href")
    ended = provider.log_in(address or "")
    code = re.search(r"code=([^&]+).*?state=([^&]+)", ended)
    assert code is not None
    await dialog.get_by_label("What the page ended with").fill(ended if whole else f"{code[1]}#{code[2]}")
    await dialog.get_by_role("button", name="Finish").click()
    await expect(dialog).to_be_hidden()
    assert await person.state() == "authorized"


async def test_a_code_for_another_device_is_shown_and_copied(
    page: Console, person: Person, provider: FakeProvider
) -> None:
    await page.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    dialog = await open_account(page)
    await dialog.get_by_role("button", name="Connect at Example with a code").click()
    code = await dialog.locator(".user-code code").inner_text()
    await dialog.get_by_role("button", name="Copy the code").click()
    assert (
        await page.page.evaluate("navigator.clipboard.readText()")
        == code
        == (await person.status())["login"]["userCode"]
    )
    provider.approve()
    await expect(dialog).to_be_hidden()
    assert await person.state() == "authorized"


async def test_an_account_is_shown_without_its_secret_and_can_be_taken_away(
    page: Console, person: Person, provider: FakeProvider
) -> None:
    await person.connected()
    secrets = await person.secrets()
    assert secrets is not None
    dialog = await open_account(page)
    await expect(dialog.get_by_text("Account at example")).to_be_visible()
    shown = await page.page.content()
    assert not any(secret in shown for secret in filter(None, secrets))
    await dialog.get_by_role("button", name="Disconnect").click()
    await expect(dialog.get_by_role("button", name="Disconnect")).to_be_hidden()
    assert await person.state() == "none"


async def test_a_login_that_its_person_refuses_says_so_and_offers_the_ways_again(
    page: Console, person: Person, provider: FakeProvider
) -> None:
    dialog = await open_account(page)
    await dialog.get_by_role("button", name="Connect at Example", exact=True).click()
    address = await dialog.get_by_role("link").get_attribute("href") or ""
    tab = await page.page.context.new_page()
    await tab.goto(provider.log_in(address, code=None, error="access_denied"))
    await expect(dialog.get_by_role("alert")).to_contain_text("refused")
    await expect(dialog.get_by_role("button", name="Connect at Example", exact=True)).to_be_visible()
