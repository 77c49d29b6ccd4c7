"""Whatever is answered below the prefix of a container's ports is sandboxed and kept nowhere, made from the table."""

import json
from collections.abc import Iterator
from itertools import product

import pytest
from aiohttp import hdrs, web

from gateway.web.apidoc.endpoint import Endpoint
from gateway.web.routes import ACP, ENDPOINTS, PROJECT
from tests.fakes.container import FakeContainer
from tests.middleware.conftest import Ports
from tests.proxy.peers import Message, raw_upstream, serve
from tests.world import Gateway

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]
HANDSHAKE = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA=="]
#: What a request may say of itself: of a fetch, a page, a frame, a worker, of nothing, of a page of another site.
SAID: list[list[str]] = [
    [],
    ["Sec-Fetch-Dest: empty", "Sec-Fetch-Mode: cors", "Sec-Fetch-Site: same-origin"],
    ["Sec-Fetch-Dest: document", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: none", "Accept: text/html"],
    ["Sec-Fetch-Dest: iframe", "Sec-Fetch-Site: same-origin"],
    ["Sec-Fetch-Dest: image", "Sec-Fetch-Site: same-origin", "Accept: image/*"],
    ["Sec-Fetch-Dest: serviceworker", "Service-Worker: script", "Sec-Fetch-Site: same-origin"],
    ["Sec-Fetch-Dest: document", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: cross-site"],
    ["Sec-Fetch-Dest: script", "Sec-Fetch-Site: cross-site"],
    ["Sec-Fetch-Dest: sharedworker", "Sec-Fetch-Site: same-origin", "Sec-Purpose: prefetch"],
    ["Accept: text/event-stream", "Last-Event-ID: 1-1"],
    ["Range: bytes=0-1"],
    ['If-None-Match: "a"'],
    HANDSHAKE,
]


def is_sandboxed(answer: Message) -> bool:
    policy = str(answer.one("Content-Security-Policy"))
    return (
        policy.startswith("sandbox ")
        and "allow-same-origin" not in policy
        and answer.one("X-Content-Type-Options") == "nosniff"
        and answer.one("Cross-Origin-Resource-Policy") == "same-origin"
        and "no-store" in str(answer.one("Cache-Control"))
    )


def below() -> Iterator[Endpoint]:
    return (one for one in ENDPOINTS if one.path.startswith((ACP, f"{PROJECT}/opencode")))


def target_of(endpoint: Endpoint) -> str:
    path = endpoint.path.replace("{project_id}", "demo").replace("{tail:(?s:.*)}", "page.html")
    for name in ("session_id", "agent_id", "permission_id", "turn_id", "message_id", "number"):
        path = path.replace(f"{{{name}}}", "x1")
    assert "{" not in path, path
    return path


PATHS = sorted({target_of(endpoint) for endpoint in below()})


async def test_each_route_by_each_method(ports: Ports) -> None:
    assert len(PATHS) > 20
    for path, method in product(PATHS, METHODS):
        answer = await ports.head(f"{method} {path}", "Connection: close", body=b"{}" if method == "POST" else b"")
        assert is_sandboxed(answer), (method, path, answer)


async def test_whatever_a_request_says_of_itself(ports: Ports) -> None:
    for path in ("/opencode/page.html", "/opencode", "/opencode/event", "/acp/page.html", "/acp/events", "/acp"):
        for fields in SAID:
            answer = await ports.head(f"GET /api/projects/demo{path}", "Connection: close", *fields)
            assert is_sandboxed(answer), (path, fields, answer)


async def test_whatever_a_container_answers(gateway: Gateway) -> None:
    said = (
        'Content-Security-Policy: default-src *\r\nX-Content-Type-Options: none\r\nETag: "a"\r\nAge: 1\r\n'
        "Cache-Control: public, max-age=31536000, immutable\r\nCross-Origin-Resource-Policy: cross-origin\r\n"
        "Content-Type: text/html\r\nContent-Length: 0\r\n\r\n"
    )
    for status in (200, 201, 203, 204, 206, 301, 302, 304, 307, 400, 401, 403, 404, 405, 410, 418, 500, 502, 503, 599):
        async with raw_upstream(f"HTTP/1.1 {status} So\r\n{said}".encode()) as upstream:
            ports = Ports(gateway, upstream, upstream)
            await gateway.register(str(upstream.address), id=f"p{status}", containerUrl=str(upstream.address))
            for method in ("GET", "HEAD", "POST"):
                for port in ("opencode", "acp"):
                    answer = await ports.head(f"{method} /api/projects/p{status}/{port}/x", "Accept: image/png")
                    assert is_sandboxed(answer), (method, status, answer)
                    assert answer.status in (status, 502)


@pytest.mark.parametrize(
    ("start", "fields", "status"),
    [
        ("GET /api/projects/nobody/opencode/x", [], 404),
        ("GET /api/projects/nobody/acp/x", [], 404),
        ("GET /api/projects/demo/acp/agents/x/auth", [], 403),
        ("GET /api/projects/demo/opencode/x", ["Host: evil.example"], 403),
        ("GET /api/projects/demo/opencode/x", ["Host: a b"], 400),
        ("GET /api/projects/demo/opencode/x", ["Origin: https://evil.example"], 403),
        ("GET /api/projects/demo/opencode/x", ["Origin: https://evil.example", *HANDSHAKE], 403),
        ("GET /api/projects/demo/opencode/x", ["Via: " + "1.1 a, " * 40], 508),
        ("GET /api/projects/demo/opencode/x%0A", [], 200),
        ("GET /api/projects/demo/%6Fpencode/x", [], 200),
        ("GET /%61pi/projects/demo/acp%2Fx", [], 404),
        ("GET /api/projects/d%65mo/a%63p/x", [], 200),
    ],
)
async def test_refusals_too_and_other_spellings(ports: Ports, start: str, fields: list[str], status: int) -> None:
    answer = await ports.head(start, "Connection: close", *fields)
    assert (answer.status, is_sandboxed(answer)) == (status, True), answer


async def test_a_container_that_is_away(gateway: Gateway) -> None:
    await gateway.register("http://127.0.0.1:1", containerUrl="http://127.0.0.1:1")
    for path in ("/opencode/x", "/acp/x", "/opencode/event"):
        answer = await gateway.call("GET", f"/api/projects/demo{path}")
        assert (answer.status, answer.headers["Content-Security-Policy"][:8]) == (503, "sandbox "), path


async def test_streams_that_are_recorded(gateway: Gateway, base_container: FakeContainer) -> None:
    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream"})
        await response.prepare(request)
        await response.write(b'data: {"type":"server.connected","properties":{}}\n\n')
        return response

    async with serve(events) as opencode:
        project = await gateway.register(base_container.url, containerUrl=str(opencode))
        for recorded in (False, True):
            await gateway.call("PATCH", project.path, {"recordOpencodeEvents": recorded})
            for path in ("/acp/events", "/opencode/event?from=start"):
                async with gateway.http.get(gateway.url + project.path + path) as stream:
                    assert stream.status == 200
                    assert stream.headers["Content-Security-Policy"].startswith("sandbox ")
                    assert "no-store" in stream.headers["Cache-Control"]


async def test_a_service_worker_is_had_on_the_projects_own_host_alone(ports: Ports) -> None:
    for fields in (["Service-Worker: script"], ["Sec-Fetch-Dest: serviceworker"]):
        for port in ("opencode", "acp"):
            answer = await ports.ask(f"GET /api/projects/demo/{port}/sw.js", *fields)
            assert (answer.status, json.loads(answer.body)["code"]) == (403, "forbidden")
        assert (await ports.head("GET /sw.js", "Host: demo.localhost", *fields)).status == 200
    assert len(ports.opencode.requests) == 2


async def test_what_is_not_below_it_is_as_it_was(ports: Ports) -> None:
    for start, host in (("GET /console", "localhost"), ("GET /api/projects", "localhost"), ("GET /", "demo.localhost")):
        answer = await ports.head(start, f"Host: {host}")
        assert not str(answer.one("Content-Security-Policy")).startswith("sandbox"), start
