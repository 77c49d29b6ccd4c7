"""Cookies of containers: they come back to the project's own host, reach no other, and take none with them."""

from collections.abc import AsyncIterator

import aiohttp
import attrs
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.middleware import cookies
from gateway.web.middleware.cookies import MAX_PAIRS, for_browser, for_container, is_own
from tests.middleware.conftest import Ports, ask_raw
from tests.proxy.peers import raw_upstream, serve
from tests.world import PROXIED, Gateway, GatewayProcess

GATEWAY, WILDCARD = "gateway.example.com", "*.agents.example.com"
CONFIG = attrs.evolve(
    PROXIED,
    identity=attrs.evolve(PROXIED.identity, allowed_hosts=(GATEWAY,)),
    server=attrs.evolve(PROXIED.server, project_hosts=WILDCARD),
)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a=1", "a=1"),
        (
            "a=1; Path=/x; HttpOnly; Secure; SameSite=Lax; Max-Age=5",
            "a=1; Path=/x; HttpOnly; Secure; SameSite=Lax; Max-Age=5",
        ),
        ("a=1; Domain=localhost", "a=1"),
        ("a=1; domain=.example.com; Path=/", "a=1; Path=/"),
        ("a=1;DOMAIN = example.com ;path=/", "a=1; path=/"),
        ("a=1; Domain", "a=1"),
        # Longer than any that a browser keeps, and more attributes than there are.
        ("a=" + "x" * 8190 + "; Path=/", None),
        ("a=1" + ";b" * 30, "a=1" + "; b" * 20),
        ("a=1; Domain=a; Domain=b", "a=1"),
        (" a = 1 ;", "a=1"),
        ("a=", "a="),
        ('a="x=y"; Expires=Thu, 01 Jan 1970 00:00:00 GMT', 'a="x=y"; Expires=Thu, 01 Jan 1970 00:00:00 GMT'),
        ("__Host-a=1; Path=/; Secure", "__Host-a=1; Path=/; Secure"),
        ("a=acp_x", "a=acp_x"),
    ],
)
def test_a_cookie_is_set_for_its_own_host(said: str, kept: str | None) -> None:
    assert list(for_browser(said, is_marked=False)) == ([] if kept is None else [kept])


@pytest.mark.parametrize(
    "said",
    [
        *("acp_stream_1=x", "ACP_gateway=x", " acp_x =1", "__Host-acp_x=1", "__secure-ACP_x=1", "__Host-Http-acp_x=1"),
        # Without a name: browsers send the value, which then looks like another cookie.
        *("=acp_stream_1=x", "acp_stream_1", "x", "", ";", "=", " = a"),
    ],
)
def test_a_cookie_with_a_name_of_the_gateways_or_without_one_is_not_set(said: str) -> None:
    assert list(for_browser(said, is_marked=False)) == list(for_browser(said, is_marked=True)) == []


@given(st.text("aA=; \t_-cCpPdDoOmMiInN.\udcff\xff", max_size=60))
def test_whatever_is_set_names_no_domain_and_nothing_of_the_gateways(said: str) -> None:
    for one in for_browser(said, is_marked=False):
        pair, *attributes = one.split(";")
        assert pair.partition("=")[0]
        assert not is_own(pair)
        assert not any(attribute.strip(" \t").lower().partition("=")[0].strip() == "domain" for attribute in attributes)


def test_a_container_gets_all_cookies_but_the_gateways() -> None:
    sent = ["a=1; acp_stream_0=x;b=2", "ACP_c=3; __Host-acp_d=4; d=5; a=6"]
    assert for_container(sent, is_marked=False) == "a=1; b=2; d=5; a=6"
    assert for_container(["acp_x=1"], is_marked=False) == for_container([], is_marked=False) == ""


def test_where_a_proxy_signs_users_in_a_container_gets_the_cookies_that_it_has_set() -> None:
    cookie, mark = for_browser("sid=1; Path=/; Domain=x; Max-Age=9; HttpOnly; SameSite=None; Secure", is_marked=True)
    assert cookie == "sid=1; Path=/; Max-Age=9; HttpOnly; SameSite=None; Secure"
    name, _, attributes = mark.partition(";")
    assert attributes == " Path=/; Max-Age=9; SameSite=None; Secure; HttpOnly"
    sso = "_oauth2_proxy=secret; sid=2"
    assert for_container([f"sid=1; {sso}; {name}"], is_marked=True) == "sid=1"
    assert for_container([f"sid=1; {sso}"], is_marked=True) == ""
    # One that a page has marked itself, for a value that it does not know.
    [_, forged] = for_browser("_oauth2_proxy=guess", is_marked=True)
    assert for_container([f"{sso}; {forged.partition(';')[0]}"], is_marked=True) == ""


@pytest.mark.parametrize("is_marked", [True, False])
def test_of_more_cookies_than_browsers_keep_for_a_host_the_first_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, is_marked: bool
) -> None:
    digested = []
    monkeypatch.setattr(cookies, "_digest", lambda text: digested.append(text) or "digest")
    first = ["acp_mark_a=digest", *("a" for _ in range(MAX_PAIRS - 1))]
    # A whole head full.
    sent = for_container([";".join([*first, *("b" for _ in range(32_000))])], is_marked=is_marked)
    assert sent.split("; ") == first[1:]
    assert len(digested) <= MAX_PAIRS


@given(st.lists(st.text("aA=; _-cCpP\udcff", max_size=30)))
def test_no_cookie_of_the_gateways_reaches_a_container(fields: list[str]) -> None:
    for is_marked in (False, True):
        sent = for_container(fields, is_marked=is_marked)
        assert not any(is_own(pair.strip()) for pair in sent.split(";"))


async def test_a_container_is_sent_its_cookies_on_its_own_host_and_below_the_gateways_none(ports: Ports) -> None:
    sent = "Cookie: a=1; acp_stream_0123=secret; b=2"
    for start, host, got in (
        ("GET /x", "demo.localhost", "a=1; b=2"),
        ("GET /api/projects/demo/opencode/x", "localhost", None),
        ("POST /api/projects/demo/acp/x", "localhost", None),
    ):
        await ports.ask(start, f"Host: {host}", sent)
        [request] = [*ports.opencode.requests, *ports.acp.requests]
        assert request.one("Cookie") == got
        ports.opencode.requests.clear()
        ports.acp.requests.clear()


async def test_a_websocket_sets_and_is_sent_cookies_by_the_same_rules(gateway: Gateway) -> None:
    switched = b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSet-Cookie: a=1; Domain=localhost\r\n"
    handshake = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA=="]
    async with raw_upstream(switched + b"Set-Cookie: acp_b=1\r\n\r\n") as upstream:
        await gateway.register(str(upstream.address), containerUrl=str(upstream.address))
        for start, host, cookies, sent in (
            ("GET /pty", "demo.localhost", ["a=1"], "c=1"),
            ("GET /api/projects/demo/opencode/pty", "localhost", [], None),
        ):
            upstream.requests.clear()
            answer = await ask_raw(gateway, start, f"Host: {host}", "Cookie: c=1; acp_d=2", *handshake)
            assert (answer.status, answer.all("Set-Cookie")) == (101, cookies)
            assert upstream.requests[0].one("Cookie") == sent


@pytest.fixture
async def counting(database_url: str) -> AsyncIterator[str]:
    """A gateway behind a proxy, before a container that counts a visitor's visits in a cookie."""

    async def count(request: web.Request) -> web.Response:
        assert set(request.cookies) <= {"visits", "theme"}, request.cookies
        visits = int(request.cookies.get("visits", "0")) + 1
        response = web.Response(text=f"{visits} {request.cookies.get('theme', 'none')}")
        response.set_cookie("visits", str(visits), httponly=True, path="/")
        response.set_cookie("theme", "dark", domain="agents.example.com", path="/")
        return response

    async with GatewayProcess(database_url, CONFIG).run() as gateway, serve(count) as upstream:
        await gateway.as_user("owner").register(str(upstream), containerUrl=str(upstream))
        yield gateway.url


class Resolver(aiohttp.abc.AbstractResolver):
    """All names are this machine."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[aiohttp.abc.ResolveResult]:
        return [aiohttp.abc.ResolveResult(hostname=host, host="127.0.0.1", port=port, family=2, proto=0, flags=0)]

    async def close(self) -> None:
        pass


async def test_a_session_of_a_container_lasts_behind_a_proxy_whose_own_session_stays_there(counting: str) -> None:
    port = counting.rpartition(":")[2]
    own = f"http://demo.agents.example.com:{port}"
    headers = {"X-Forwarded-User": "owner"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Resolver()), headers=headers) as browser:
        browser.cookie_jar.update_cookies(
            {"_oauth2_proxy": "secret"}, response_url=aiohttp.client.URL("http://demo.agents.example.com/")
        )
        for said in ("1 none", "2 dark", "3 dark"):
            async with browser.get(f"{own}/") as answer:
                assert await answer.text() == said
        # Nobody else has been given one.
        other = aiohttp.client.URL(f"http://other.agents.example.com:{port}/")
        assert not browser.cookie_jar.filter_cookies(other)


async def test_a_page_is_sent_on_to_the_projects_own_host_below_the_configured_domain(counting: str) -> None:
    async with aiohttp.ClientSession(headers={"X-Forwarded-User": "owner"}) as browser:
        for scheme in ("http", "https"):
            headers = {"Host": f"{GATEWAY}:8443", "Sec-Fetch-Dest": "document", "X-Forwarded-Proto": scheme}
            url = f"{counting}/api/projects/demo/opencode/x?y"
            async with browser.get(url, headers=headers, allow_redirects=False) as answer:
                assert answer.status == 307
                assert answer.headers["Location"] == f"{scheme}://demo.agents.example.com:8443/x?y"
        async with browser.get(counting, headers={"Host": "nobody.agents.example.com"}) as answer:
            assert answer.status == 404
        for page, host in (
            ("https://demo.agents.example.com", GATEWAY),
            ("https://demo.agents.example.com", "other.agents.example.com"),
            (f"https://{GATEWAY}", "demo.agents.example.com"),
        ):
            headers = {"Host": host, "Origin": page, "X-Forwarded-Proto": "https"}
            async with browser.post(f"{counting}/api/projects", headers=headers) as answer:
                assert answer.status == 403
