"""What crosses between a client and a container: what is named here, and nothing that anybody invents."""

import asyncio
import re
import string
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.config.schema import IdentityConfig
from gateway.identity.tokens import NewToken, Tokens
from gateway.proxy.answer import Answer
from gateway.proxy.headers import to_upstream
from gateway.web.keys import DATABASE
from gateway.web.middleware import fields
from gateway.web.middleware.fields import on_gateways_host, on_projects_host, to_container
from tests.middleware.conftest import Ports, ask_raw
from tests.middleware.names import OF_ANSWERS, OF_USERS, invented, names
from tests.proxy.peers import Message, raw_upstream
from tests.world import PROXIED, QUICK, Gateway, GatewayProcess

#: What a test may rely on below the prefix, whoever is behind it.
KEPT_BELOW = names("""
    Accept-Ranges Acp-Connection-Id Allow Content-Disposition Content-Language Content-Location Content-Type ETag
    Last-Modified Location Mcp-Session-Id Preference-Applied Retry-After Server Vary Warning X-Accel-Buffering
    X-Next-Cursor X-OpenCode-Directory X-Request-Id
""")
SENT = names("""
    Accept Accept-Encoding Accept-Language Acp-Session-Id Cache-Control Content-Language If-Match If-Unmodified-Since
    Idempotency-Key Last-Event-ID Mcp-Protocol-Version Prefer Range Referer Sec-CH-UA Sec-Fetch-Mode User-Agent
    X-CSRF-Token X-OpenCode-Directory X-Request-Id X-Requested-With
""")
TRACE = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


def sending(names: list[str]) -> list[str]:
    return [f"{name}: value" for name in names]


def in_parts(names: list[str]) -> list[list[str]]:
    """Neither side reads more than some hundred fields."""
    return [names[start : start + 60] for start in range(0, len(names), 60)]


def answering(names: list[str], start: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([start, *sending(names), "Content-Length: 0", "", ""]).encode()


@pytest.fixture(params=["local", "proxy", "tokens"])
async def gateway(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Gateway]:
    tokens = attrs.evolve(QUICK, identity=IdentityConfig(modes=("tokens",)))
    config = {"local": QUICK, "proxy": PROXIED, "tokens": tokens}[request.param]
    async with GatewayProcess(database_url, config).run() as running:
        if request.param == "tokens":
            _, token = await Tokens(running.app[DATABASE]).create(NewToken(user_id="owner"))
            yield running.sending(Authorization=f"Bearer {token}")
        else:
            yield running if request.param == "local" else running.as_user("owner")


async def ask(gateway: Gateway, start: str, *fields: str) -> Message:
    """As whom the gateway knows."""
    return await ask_raw(gateway, start, *(f"{name}: {value}" for name, value in gateway.headers.items()), *fields)


async def test_what_a_client_or_its_proxy_invents_does_not_reach_a_container(gateway: Gateway, ports: Ports) -> None:
    unknown = [name for name in (*OF_USERS, *invented(200)) if name not in ("X-Forwarded-User", "Authorization")]
    ways = (
        ("GET /api/projects/demo/opencode/x", "localhost"),
        ("POST /api/projects/demo/acp/x", "localhost"),
        ("GET /x", "demo.localhost"),
    )
    for (start, host), some in product(ways, in_parts(unknown)):
        answer = await ask(gateway, start, f"Host: {host}", *sending(some), *sending(SENT))
        assert answer.status == 200, answer
        [request] = reached(ports)
        got = {name.lower() for name, _ in request.headers}
        ours = {"host", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-prefix", "x-forwarded-proto"}
        # A cookie of a project's own host, where nobody signs users in by one; its text here is no pair.
        ours |= {"cookie"} if host == "demo.localhost" and not gateway.headers else set()
        # An agent host answers no page, and is asked by the gateway, which has looked at these.
        of_pages = {"sec-fetch-mode"} if "/acp/" in start else set()
        assert got - ours - {"content-length"} == {name.lower() for name in SENT} - of_pages


def reached(ports: Ports) -> list[Message]:
    requests = [*ports.opencode.requests, *ports.acp.requests]
    ports.opencode.requests.clear()
    ports.acp.requests.clear()
    return requests


HANDSHAKE = [
    *("Connection: Upgrade, X-Hop", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: a"),
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]


async def test_a_websocket_is_no_way_around(gateway: Gateway) -> None:
    switched = answering(OF_ANSWERS, "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x")
    async with raw_upstream(switched.replace(b"Upgrade: value\r\n", b"Upgrade: websocket\r\n")) as upstream:
        await gateway.register(str(upstream.address), containerUrl=str(upstream.address))
        sent = sending([name for name in OF_USERS if name not in ("X-Forwarded-User", "Authorization")])
        answer = await ask(gateway, "GET /api/projects/demo/opencode/pty", *sent, *HANDSHAKE)
    assert answer.status == 101
    got = {name.lower() for name, _ in answer.headers}
    assert got & {name.lower() for name in OF_ANSWERS} == {
        *("upgrade", "content-security-policy", "cross-origin-resource-policy", "x-content-type-options")
    }
    [request] = upstream.requests
    got = {name.lower() for name, _ in request.headers}
    assert not got & {name.lower() for name in OF_USERS}
    assert {"sec-websocket-key", "sec-websocket-protocol", "sec-websocket-version"} <= got


async def test_what_a_container_invents_does_not_come_back_below_the_gateways_host(gateway: Gateway) -> None:
    unknown = [name for name in (*OF_ANSWERS, *invented(200)) if name not in ("Trailer", "Upgrade", "Keep-Alive")]
    ours = {
        *("content-security-policy", "cross-origin-resource-policy", "x-content-type-options"),
        *("cache-control", "content-length", "date"),
    }
    for number, some in enumerate(in_parts(unknown)):
        async with raw_upstream(answering([*some, *KEPT_BELOW])) as upstream:
            url = str(upstream.address)
            await gateway.register(url, id=f"demo-{number}", containerUrl=url)
            for path in ("/opencode/x", "/acp/x", "/opencode", "/opencode/event"):
                answer = await gateway.call("GET", f"/api/projects/demo-{number}{path}")
                got = {name.lower() for name in answer.headers}
                assert got - ours == {name.lower() for name in KEPT_BELOW}
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


BEYOND_ITS_HOST = names("""
    Access-Control-Allow-Credentials Access-Control-Allow-Origin Alt-Svc Authentication-Info Cache-Tag
    CDN-Cache-Control Clear-Site-Data Cloudflare-CDN-Cache-Control Edge-Control Expect-CT Keep-Alive NEL
    Proxy-Authenticate Proxy-Status Public-Key-Pins Report-To Set-Cookie2 Strict-Transport-Security Surrogate-Control
    Surrogate-Key Timing-Allow-Origin WWW-Authenticate X-Accel-Expires X-Accel-Redirect X-Lighttpd-Send-File
    X-LiteSpeed-Location X-Reproxy-URL X-Sendfile
""")


async def test_on_its_own_host_a_container_keeps_what_does_not_reach_beyond_it(gateway: Gateway) -> None:
    kept = [*KEPT_BELOW, *invented(50), "Content-Security-Policy", "Service-Worker-Allowed", "Refresh", "Link"]
    async with raw_upstream(answering([*BEYOND_ITS_HOST, *kept])) as upstream:
        await gateway.register(str(upstream.address), containerUrl=str(upstream.address))
        answer = await gateway.call("GET", "/x", headers={"Host": "demo.localhost"})
    got = {name.lower() for name in answer.headers}
    ours = {"cache-control", "content-length", "cross-origin-resource-policy", "date"}
    assert got - ours == {name.lower() for name in kept}
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "private"


async def test_fields_that_the_operator_names_reach_containers_by_every_way(database_url: str) -> None:
    containers = attrs.evolve(QUICK.containers, forward_headers=("X-Tenant", "baggage"))
    async with (
        GatewayProcess(database_url, QUICK).configured(containers=containers).run() as gateway,
        raw_upstream(answering([])) as upstream,
    ):
        await gateway.register(str(upstream.address), containerUrl=str(upstream.address))
        for start, host in (
            ("GET /api/projects/demo/opencode/x", "localhost"),
            ("GET /api/projects/demo/acp/x", "localhost"),
            ("GET /x", "demo.localhost"),
        ):
            answer = await ask_raw(gateway, start, f"Host: {host}", "x-tenant: a", "Baggage: b", "X-Other: c")
            assert answer.status == 200
    seen = [(request.one("X-Tenant"), request.one("baggage"), request.one("X-Other")) for request in upstream.requests]
    assert seen == [("a", "b", None)] * 3


async def test_the_trace_goes_on(gateway: Gateway, ports: Ports) -> None:
    await ask(gateway, "GET /api/projects/demo/opencode/x", f"traceparent: {TRACE}", "tracestate: a=b")
    [request] = ports.opencode.requests
    assert (request.one("traceparent"), request.one("tracestate")) == (TRACE, "a=b")


async def test_what_is_stored_from_before_is_not_brought_back(gateway: Gateway, ports: Ports) -> None:
    """A browser that is told 304 shows what it has, with the policy that it had."""
    conditions = ["If-None-Match: *", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 'If-Match: "a"']
    for method in ("GET", "HEAD", "PUT"):
        await ask(gateway, f"{method} /api/projects/demo/opencode/x", *conditions)
        [request] = reached(ports)
        assert request.one("If-Match") == '"a"'
        assert (request.one("If-None-Match"), request.one("If-Modified-Since")) == (
            ("*", conditions[1].partition(": ")[2]) if method == "PUT" else (None, None)
        )
    await ask(gateway, "GET /x", "Host: demo.localhost", *conditions)
    [request] = reached(ports)
    assert request.one("If-None-Match") == "*"


async def test_a_304_brings_back_nothing_that_a_client_has_stored(gateway: Gateway) -> None:
    async with raw_upstream(b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n') as upstream:
        await gateway.register(str(upstream.address), containerUrl=str(upstream.address))
        for name, value in (("If-None-Match", '"a"'), ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")):
            answer = await gateway.call("GET", "/api/projects/demo/opencode/x", headers={name: value})
            assert (answer.status, answer.json["code"]) == (502, "upstream_unreachable")
        # This client has nothing stored.
        assert (await gateway.call("GET", "/api/projects/demo/opencode/x")).status == 304
        own = await gateway.call("GET", "/x", headers={"If-None-Match": '"a"', "Host": "demo.localhost"})
        assert own.status == 304


async def test_only_the_user_of_this_machine_has_unmarked_cookies_reach_a_container(
    gateway: Gateway, ports: Ports
) -> None:
    """Elsewhere a browser comes by a proxy that signs its user in, and has a cookie of that."""
    await ask(gateway, "GET /x", "Host: demo.localhost", "Cookie: _oauth2_proxy=secret; CF_Authorization=secret")
    [request] = reached(ports)
    assert request.one("Cookie") == (None if gateway.headers else "_oauth2_proxy=secret; CF_Authorization=secret")


async def test_bytes_that_are_no_utf_8_cross_as_they_are_and_make_no_other_field_of_one(gateway: Gateway) -> None:
    said = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Dom\xffain=localhost\r\nSet-Cookie: acp\xff_browser=evil\r\n"
    said += b'Content-Disposition: attachment; filename="\xe9.txt"\r\nContent-Length: 0\r\n\r\n'
    async with raw_upstream(said) as upstream:
        await gateway.register(str(upstream.address), containerUrl=str(upstream.address))
        answer = await ask(gateway, "GET /x", "Host: demo.localhost", "Referer: http://demo.localhost/\udce9")
    assert answer.status == 200
    assert {"a=1; Dom\udcffain=localhost", "acp\udcff_browser=evil"} <= set(answer.all("Set-Cookie"))
    assert answer.one("Content-Disposition") == 'attachment; filename="\udce9.txt"'
    [request] = upstream.requests
    assert request.one("Referer") == "http://demo.localhost/\udce9"


TOKENS = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=200)


def answer_with(name: str) -> Answer:
    message: Any = SimpleNamespace(code=200, reason="OK", headers=CIMultiDict({name: "value"}))
    return Answer(message, cast(asyncio.StreamReader, None), cast(Any, None))  # type: ignore[arg-type]  # its head is all that is read


@given(TOKENS)
def test_any_name_that_is_not_named_here_stays_where_it_is(name: str) -> None:
    known = fields._TO_CONTAINER, fields._PREFIXES_TO_CONTAINER
    if name.lower() not in known[0] and not name.lower().startswith(known[1]):
        passes = to_container((), conditional=True, page=True)
        passed = to_upstream(CIMultiDict({name: "x"}), client=None, scheme="http", host=None, prefix="", passes=passes)
        assert list(passed) == ["X-Forwarded-Proto"]
    known = fields._ON_GATEWAYS_HOST, fields._PREFIXES_ON_GATEWAYS_HOST
    if name.lower() not in known[0] and not name.lower().startswith(known[1]):
        assert list(on_gateways_host(answer_with(name), has_condition=False)) == []


@pytest.mark.parametrize("name", [*BEYOND_ITS_HOST, "Connection", "Transfer-Encoding", "Proxy-Anything"])
def test_case_makes_no_difference(name: str) -> None:
    for spelled in (name.lower(), name.upper(), name.swapcase()):
        returned = on_projects_host(answer_with(spelled), is_marked=True)
        assert {name.lower() for name in returned} == {"cache-control", "cross-origin-resource-policy"}
        assert list(on_gateways_host(answer_with(spelled), has_condition=False)) == []


def test_what_a_stream_asks_of_proxies_passes() -> None:
    message: Any = SimpleNamespace(
        code=200, reason="OK", headers=CIMultiDict({"Cache-Control": "no-cache, No-Transform, public"})
    )
    answer = Answer(message, cast(Any, None), cast(Any, None))
    assert dict(on_gateways_host(answer, has_condition=False)) == {"Cache-Control": "no-store, no-transform"}


def test_the_documentation_lists_what_passes() -> None:
    text = (Path(__file__).parents[2] / "docs" / "passthrough.md").read_text("utf-8")
    _, request, answer, *_ = re.split(r"## Header fields|below the gateway's own host\*\*|own host\*\* all", text)
    for told, names_there, prefixes in (
        (request, fields._TO_CONTAINER - {"via"}, fields._PREFIXES_TO_CONTAINER),
        (answer, fields._ON_GATEWAYS_HOST, fields._PREFIXES_ON_GATEWAYS_HOST),
    ):
        table = [line for line in told.splitlines() if line.startswith("|") and "gateway's own" not in line]
        listed = {name.lower() for name in re.findall(r"`([A-Za-z0-9-]+)`", "\n".join(table))}
        assert listed == names_there | set(prefixes)


def test_no_field_that_is_forwarded_is_one_that_never_is() -> None:
    for name in (*OF_USERS, *invented(50)):
        assert not to_container((), conditional=True, page=True)(name), name
