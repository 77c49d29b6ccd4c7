"""Generated from the agent host's routes: names that are not its own, and web pages, are answered 403 and do nothing.

A new route is tried by itself, with and without the secret.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import async_playwright

from gateway.agenthost.app import AgentHostConfig, build_app
from gateway.proxy.upstream import Upstream
from gateway.server.run import bind, serving
from tests.agenthost.conftest import OpenHost
from tests.agenthost.hosts import Host
from tests.browsers import FLAGS
from tests.proxy.peers import ask

SECRET = "the-secret-of-this-host"
BODY = json.dumps({"agentId": "scripted", "prompt": "hello", "token": "x", "granted": True}).encode()
#: A request that a page is behind, by what it has in its head; PORT stands for the host's own.
OF_PAGES = (
    ["Host: evil.example:PORT"],
    ["Host: evil.example"],
    ["Host: localhost.evil.example:PORT"],
    ["Host: 127.0.0.1.evil.example"],
    ["Host: localhost@evil.example"],
    ["Host: evil.example@localhost"],
    ["Host: localhost/evil.example"],
    ["Host: demo.localhost:PORT"],
    ["Host: 10.0.0.7:PORT"],
    ["Host: 127.1"],
    ["Host: evil.example:PORT", "Origin: http://evil.example:PORT", "Sec-Fetch-Site: same-origin"],
    ["Host: 127.0.0.1:PORT", "Origin: https://evil.example"],
    ["Host: 127.0.0.1:PORT", "Origin: null"],
    ["Host: 127.0.0.1:PORT", "Origin: http://127.0.0.1"],
    ["Host: 127.0.0.1:PORT", "Origin: http://127.0.0.1:1"],
    ["Host: 127.0.0.1:PORT", "Origin: https://127.0.0.1:PORT"],
    ["Host: 127.0.0.1:PORT", "Origin: http://localhost:PORT"],
    ["Host: 127.0.0.1:PORT", "Sec-Fetch-Site: cross-site"],
    ["Host: 127.0.0.1:PORT", "Sec-Fetch-Site: same-site"],
    ["Host: 127.0.0.1:PORT", "Origin: http://127.0.0.1:PORT", "Sec-Fetch-Site: cross-site"],
)
#: And those of programs, and of somebody who has typed the address.
OF_PROGRAMS = (
    ["Host: 127.0.0.1:PORT"],
    ["Host: localhost"],
    ["Host: [::1]:PORT"],
    ["Host: agents.example:PORT"],
    ["Host: one.of.below.example"],
    ["Host: 127.0.0.1:PORT", "Sec-Fetch-Site: none"],
    ["Host: 127.0.0.1:PORT", "Origin: http://127.0.0.1:PORT", "Sec-Fetch-Site: same-origin"],
)


def calls(app: web.Application) -> Iterator[tuple[str, str]]:
    """Each route, with an agent that there is; then methods and a path that have none."""
    for route in app.router.routes():
        assert route.resource is not None
        path = route.resource.canonical.replace("{agent_id}", "scripted")
        yield route.method, re.sub(r"\{\w+\}", "x", path)
    yield from ((method, "/session") for method in ("PUT", "PATCH", "OPTIONS"))
    yield "GET", "/nothing"


async def answer(host: Host, method: str, path: str, fields: list[str], *, secret: bool) -> tuple[int, Any]:
    """Status and body of a call with these fields."""
    sent = dict(field.replace("PORT", str(host.http.port)).split(": ", 1) for field in fields)
    sent |= {"Authorization": f"Bearer {SECRET}"} if secret else {}
    body = None if method in ("GET", "HEAD") else BODY
    async with host.http.request(method, path, headers={"Content-Type": "application/json", **sent}, data=body) as told:
        return told.status, await told.json() if method != "HEAD" else None


async def raw_answer(host: Host, *lines: str) -> int:
    """The status of a request that is written byte for byte."""
    raw = "\r\n".join((*lines, "", "")).encode()
    return (await ask(Upstream.parse(f"http://127.0.0.1:{host.http.port}"), raw)).status


@pytest.mark.parametrize("token", [None, SECRET])
async def test_no_route_answers_a_page_or_another_name(open_host: OpenHost, token: str | None) -> None:
    async with open_host(token=token) as host:
        assert host.http.app is not None
        for method, path in calls(host.http.app):
            for fields in OF_PAGES:
                for secret in {False, token is not None}:
                    status, body = await answer(host, method, path, fields, secret=secret)
                    assert status == 403, (method, path, fields)
                    assert method == "HEAD" or body["code"] == "forbidden"
        headers = {"Authorization": f"Bearer {SECRET}"}
        async with host.http.get("/info", headers=headers) as response:
            info = (await response.json())["data"]
        assert (info["runningAgents"], info["activeSessions"], info["connectedClients"]) == (0, 0, 0)


async def test_programs_are_answered_by_the_names_that_are_its_own(open_host: OpenHost) -> None:
    async with open_host(token=SECRET, allowed_hosts=("agents.example", "*.below.example")) as host:
        for fields in OF_PROGRAMS:
            assert (await answer(host, "GET", "/info", fields, secret=True))[0] == 200, fields
            assert (await answer(host, "GET", "/info", fields, secret=False))[0] == 401, fields
        # HTTP/1.0 has no Host, and no page.
        assert await raw_answer(host, "GET /health HTTP/1.0") == 200


async def test_where_others_reach_it_any_address_will_do_and_no_name(open_host: OpenHost) -> None:
    async with open_host(token=SECRET, loopback_only=False) as host:
        for address in ("10.0.0.7:PORT", "[fd00::7]:PORT", "172.17.0.2", "localhost"):
            assert (await answer(host, "GET", "/info", [f"Host: {address}"], secret=True))[0] == 200, address
        status, body = await answer(host, "GET", "/info", ["Host: project:PORT"], secret=True)
        assert (status, "ACP_GATEWAY_AGENT_HOST_ALLOWED_HOSTS" in body["error"]) == (403, True)
        of_a_page = ["Host: 10.0.0.7:PORT", "Origin: null"]
        assert (await answer(host, "GET", "/info", of_a_page, secret=True))[0] == 403


async def test_heads_that_say_two_things_are_refused(open_host: OpenHost) -> None:
    async with open_host() as host:
        start, here = "GET /info HTTP/1.1", f"Host: 127.0.0.1:{host.http.port}"
        assert await raw_answer(host, start, here) == 200
        assert await raw_answer(host, start, here, "Host: evil.example") == 400
        assert await raw_answer(host, start, "Host: evil.example", here) == 400
        assert await raw_answer(host, start, "Host:") == 403
        for target in ("http://evil.example/info", "ftp://evil.example/info", "http://evil.example@localhost/info"):
            assert await raw_answer(host, f"GET {target} HTTP/1.1", here) == 403
            assert await raw_answer(host, f"GET {target} HTTP/1.0") == 403
        assert await raw_answer(host, "GET http://localhost/info HTTP/1.1", here) == 200
        assert await raw_answer(host, "GET http://localhost/info HTTP/1.1", "Host: evil.example") == 403
        assert await raw_answer(host, start, here, f"Origin: http://127.0.0.1:{host.http.port}", "Origin: null") == 403
        assert await raw_answer(host, start, here, "Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site") == 403


# What the page at a name that now leads to this machine tries, and what one of another origin does without that.
_REBOUND = """async () => {
    const told = [];
    const calls = [["GET", "/sessions"], ["POST", "/session"], ["POST", "/agents/demo/spawn"], ["GET", "/events"]];
    for (const [method, path] of calls) {
        const body = method === "POST" ? '{"agentId": "demo"}' : undefined;
        const answer = await fetch(path, { method, body, headers: { "Content-Type": "application/json" } });
        told.push([method, path, answer.status]);
    }
    return told;
}"""
_ELSEWHERE = """async (address) => {
    for (const path of ["/agents/demo/spawn", "/agents/demo/auth/init"])
        await fetch(address + path, { method: "POST", mode: "no-cors", body: "" }).catch(() => {});
    return "sent";
}"""


async def test_a_page_whose_name_was_rebound_to_this_machine_gets_nothing_done(chromium: Path, tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    async def note(request: web.Request, response: web.StreamResponse) -> None:
        asked.append((request.headers["Host"], f"{request.method} {request.path} {response.status}"))

    app = build_app(AgentHostConfig(workspace=tmp_path))
    app.on_response_prepare.append(note)
    sock = bind("127.0.0.1", 0, purpose="the test's agent host", option="")
    port = sock.getsockname()[1]
    rules = "--host-resolver-rules=MAP evil.example 127.0.0.1"
    # Without it the browser itself keeps pages from this machine, in versions and ways of its own.
    free = "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"
    async with serving(app, sock, shutdown_timeout=2), async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, rules, free])
        page = await browser.new_page()
        # The page itself was loaded when its name led elsewhere.
        for name in (f"http://evil.example:{port}/page", "http://elsewhere.example/page"):
            await page.route(name, lambda route: route.fulfill(content_type="text/html", body="<title>evil</title>"))
        await page.goto(f"http://evil.example:{port}/page")
        assert {status for _, _, status in await page.evaluate(_REBOUND)} == {403}
        await page.goto("http://elsewhere.example/page")
        assert await page.evaluate(_ELSEWHERE, f"http://127.0.0.1:{port}") == "sent"
        await browser.close()
    assert len([host for host, _ in asked if host == f"evil.example:{port}"]) == 4
    assert f"127.0.0.1:{port}" in {host for host, _ in asked}
    assert {told.rpartition(" ")[2] for _, told in asked} == {"403"}
