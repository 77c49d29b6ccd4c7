"""A browser that is signed in by a link: once, for itself alone, until it is signed out."""

from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, expect

from gateway.config.schema import IdentityConfig
from gateway.identity.room import IDENTITY
from gateway.identity.sign_ins import address_of
from tests.console.browsing import Console, console
from tests.world import QUICK, Answer, Gateway, GatewayProcess, Project

USER = "local"


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    config = attrs.evolve(QUICK, identity=IdentityConfig(modes=("tokens",)))
    async with GatewayProcess(database_url, config).run() as running:
        yield running


@pytest.fixture
async def link(gateway: Gateway) -> str:
    return address_of(gateway.url, await gateway.app[IDENTITY].sign_ins.issue(USER))


async def exchange(gateway: Gateway, link: str) -> Answer:
    return await gateway.call("POST", "/api/sign-in", {"link": link.partition("#sign-in=")[2]})


async def with_project(gateway: Gateway, agent_host: str) -> Project:
    """A project of the user's, registered by a browser without a window."""
    answer = await exchange(gateway, address_of(gateway.url, await gateway.app[IDENTITY].sign_ins.issue(USER)))
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    signed_in = gateway.sending(Authorization=f"Bearer {answer.json['token']}", Cookie=cookie)
    return await signed_in.register(agent_host, defaultAgentId="demo")


async def kept(page: Console) -> tuple[Any, list[Any]]:
    """What the page keeps for the API, and the browser's cookies of it."""
    cookies = [cookie for cookie in await page.page.context.cookies() if cookie["name"].startswith("acp_browser")]
    return await page.page.evaluate("localStorage.getItem('acp-gateway.token')"), cookies


async def test_a_link_signs_a_browser_in_which_stays_so_and_sees_the_stream(
    running_browser: Browser, gateway: Gateway, agent_host: str, link: str
) -> None:
    await with_project(gateway, agent_host)
    async with console(running_browser, gateway.url) as page:
        asked: list[str] = []
        page.page.on("request", lambda request: asked.append(f"{request.url} {request.headers}"))
        await page.page.goto(link)
        await expect(page.page.get_by_role("heading", name="New session")).to_be_visible()
        assert "sign-in" not in page.page.url
        assert not any(link.partition("#")[2] in one for one in asked)
        await page.begin_session("stream 20")
        await expect(page.status("Idle")).to_be_visible()
        assert "tok19" in await page.said()
        await page.page.reload()
        await expect(page.answers.first).to_contain_text("tok19")
        await expect(page.page.locator("#sidebar .stream-badge")).to_contain_text("Live")
        await page.prompt("say still live")
        await expect(page.answers.last).to_contain_text("still live")
        # Another tab of this browser is signed in, too.
        other = await page.page.context.new_page()
        await other.goto(f"{gateway.url}/console")
        await expect(other.get_by_role("heading", name="New session")).to_be_visible()


async def test_a_link_is_good_once_and_then_says_how_to_get_another(
    running_browser: Browser, gateway: Gateway, agent_host: str, link: str
) -> None:
    await with_project(gateway, agent_host)
    async with console(running_browser, gateway.url) as first, console(running_browser, gateway.url) as second:
        await first.page.goto(link)
        await expect(first.page.get_by_role("heading", name="New session")).to_be_visible()
        for page in (second, first):
            await page.page.goto("about:blank")
            await page.page.goto(link)
            await expect(page.page.get_by_role("heading", name="signs nobody in any more")).to_be_visible()
            await expect(page.page.get_by_text("acp-gateway token link")).to_be_visible()
            await page.page.get_by_role("button", name="Go on without it").click()
        # Who was signed in still is; the other one is asked.
        await expect(first.page.get_by_role("heading", name="New session")).to_be_visible()
        await expect(second.page.get_by_role("dialog", name="Who are you?")).to_be_visible()
    assert (await exchange(gateway, link)).status == 410


async def test_neither_half_of_what_the_browser_keeps_opens_anything(
    running_browser: Browser, gateway: Gateway, agent_host: str, link: str
) -> None:
    await with_project(gateway, agent_host)
    async with console(running_browser, gateway.url) as page:
        await page.page.goto(link)
        await expect(page.page.get_by_role("heading", name="New session")).to_be_visible()
        token, [cookie] = await kept(page)
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["domain"]) == (True, "Strict", "127.0.0.1")
        assert await page.page.evaluate("document.cookie") == ""
    pair, bearer = f"{cookie['name']}={cookie['value']}", f"Bearer {token}"
    port = gateway.url.rpartition(":")[2]
    assert cookie["name"].endswith(f"_{port}")
    for headers, status in (
        ({"Authorization": bearer, "Cookie": pair}, 200),
        ({"Authorization": bearer, "Cookie": f"{cookie['name']}=other; a=b; {pair}"}, 200),
        ({"Authorization": bearer}, 401),
        ({"Authorization": bearer, "Cookie": f"{cookie['name']}=other"}, 401),
        ({"Authorization": bearer, "Cookie": f"other={cookie['value']}"}, 401),
        ({"Cookie": pair}, 401),
        ({"Authorization": f"Bearer {cookie['value']}", "Cookie": f"{cookie['name']}={token}"}, 401),
    ):
        assert (await gateway.call("GET", "/api/projects", headers=headers)).status == status, headers
        assert (await gateway.call("PATCH", "/api/projects/demo", {}, headers=headers)).status == status, headers


async def test_a_server_at_another_port_of_the_host_is_told_nothing_that_opens_the_gateway(
    running_browser: Browser, gateway: Gateway, agent_host: str, link: str
) -> None:
    told: list[str] = []

    async def page_of_an_agent(request: web.Request) -> web.Response:
        told.append(request.headers.get("Cookie", ""))
        body = f"<script>fetch('{gateway.url}/api/projects', {{credentials: 'include'}}).catch(() => 0)</script>"
        return web.Response(text=f"<title>shop</title>{body}", content_type="text/html")

    app = web.Application()
    app.router.add_get("/{path:.*}", page_of_an_agent)
    project = await with_project(gateway, agent_host)
    async with TestServer(app, host="127.0.0.1") as elsewhere, console(running_browser, gateway.url) as page:
        await page.page.goto(link)
        await expect(page.page.get_by_role("heading", name="New session")).to_be_visible()
        token, [cookie] = await kept(page)
        shop = await page.page.context.new_page()
        await shop.goto(str(elsewhere.make_url("/api/projects/demo")))
        await expect(shop).to_have_title("shop")
        assert await shop.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])") == "[{},{}]"
        # Browsers keep cookies by host, whatever the port.
        assert cookie["value"] in str(told)
        for cookies in told:
            stolen = {"Cookie": cookies}
            assert (await gateway.call("PATCH", project.path, {"permissionMode": "auto"}, headers=stolen)).status == 401
        assert not any(token in one for one in told)
        # The project's own host is another one, and is sent neither.
        assert (await page.page.context.cookies("http://demo.localhost/")) == []


async def test_a_browser_can_be_signed_out(
    running_browser: Browser, gateway: Gateway, agent_host: str, link: str
) -> None:
    await with_project(gateway, agent_host)
    async with console(running_browser, gateway.url) as page:
        await page.page.goto(link)
        await expect(page.page.get_by_role("heading", name="New session")).to_be_visible()
        token, [cookie] = await kept(page)
        await page.page.get_by_role("button", name="Help and keys").click()
        await page.page.get_by_role("button", name="Sign this browser out").click()
        await expect(page.page.get_by_role("dialog", name="Who are you?")).to_be_visible()
        assert await kept(page) == (None, [])
    headers = {"Authorization": f"Bearer {token}", "Cookie": f"{cookie['name']}={cookie['value']}"}
    refused = await gateway.call("DELETE", "/api/sign-in", headers=headers)
    assert refused.status in (204, 401)  # what was looked up a second ago is remembered


async def test_the_page_of_the_api_is_signed_in_with_the_console(
    running_browser: Browser, gateway: Gateway, agent_host: str, link: str
) -> None:
    await with_project(gateway, agent_host)
    async with console(running_browser, gateway.url) as page:
        await page.page.goto(link)
        await expect(page.page.get_by_role("heading", name="New session")).to_be_visible()
        await page.page.goto(f"{gateway.url}/docs#/projects/projectsListAll")
        await page.page.get_by_role("button", name="Try it out").click()
        await page.page.get_by_role("button", name="Execute").click()
        await expect(page.page.locator(".live-responses-table").get_by_text('"id": "demo"')).to_be_visible()


async def test_a_gateway_that_asks_nobody_shows_the_console_whatever_the_link(
    running_browser: Browser, database_url: str, agent_host: str
) -> None:
    async with GatewayProcess(database_url, QUICK).run() as open_to_all:
        await open_to_all.register(agent_host, defaultAgentId="demo")
        assert (await exchange(open_to_all, "#sign-in=x")).status == 404
        async with console(running_browser, open_to_all.url) as page:
            await page.page.goto(address_of(open_to_all.url, "x"))
            await expect(page.page.get_by_role("heading", name="New session")).to_be_visible()
