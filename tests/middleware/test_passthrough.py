"""Passthrough: what has no handler of ours reaches the right port as it is, or is a problem that says why not."""

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web

from gateway.config.schema import ContainersConfig, ServerConfig
from gateway.proxy.upstream import Upstream
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.middleware.conftest import OPENCODE, Ports
from tests.proxy.peers import OK, Message, connect, raw_upstream, serve
from tests.world import QUICK, Gateway, GatewayProcess, Project

PROJECT = "/api/projects/demo"


def problem(answer: Message) -> dict[str, Any]:
    assert answer.one("Content-Type") == "application/problem+json", answer
    document: dict[str, Any] = json.loads(answer.body)
    assert answer.one("X-Request-Id") == document["requestId"]
    assert document["status"] == answer.status
    return document


async def test_an_agent_host_is_asked_by_the_gateway_whichever_page_has_asked_that(ports: Ports) -> None:
    port = ports.gateway.url.rpartition(":")[2]
    fields = [f"Origin: http://127.0.0.1:{port}", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors"]
    assert (await ports.ask(f"POST {PROJECT}/acp/anything", *fields, body=b"{}")).status == 200
    [request] = ports.acp.requests
    assert all(request.one(name) is None for name in ("Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode"))


TARGETS = [
    (f"{PROJECT}/acp/health", "acp", "/health"),
    (f"{PROJECT}/acp/", "acp", "/"),
    (f"{PROJECT}/acp//", "acp", "//"),
    (f"{PROJECT}/acp/health/", "acp", "/health/"),
    (f"{PROJECT}/acp//health", "acp", "//health"),
    (f"{PROJECT}/acp/health/x/y/z?a=1&a=2", "acp", "/health/x/y/z?a=1&a=2"),
    (f"{PROJECT}/opencode", "opencode", "/"),
    (f"{PROJECT}/opencode?x=1", "opencode", "/?x=1"),
    (f"{PROJECT}/opencode/", "opencode", "/"),
    (f"{PROJECT}/opencode/session", "opencode", "/session"),
    (f"{PROJECT}/opencode/acp/agents", "opencode", "/acp/agents"),
    (
        f"{PROJECT}/opencode/a%2Fb%20c/%7Euser/%C3%A9/../;v=1?x=%2B+%20&y=[]",
        "opencode",
        "/a%2Fb%20c/%7Euser/%C3%A9/../;v=1?x=%2B+%20&y=[]",
    ),
    (f"{PROJECT}/acp/%00/%ff", "acp", "/%00/%ff"),
    ("/%61pi/projects/demo/acp/x%2Fy", "acp", "/x%2Fy"),
    ("/api/projects/d%65mo/acp/x", "acp", "/x"),
    ("/api/projects/demo/%61cp/x", "acp", "/x"),
    ("/api/projects/demo/%6Fpencode/x", "opencode", "/x"),
]


async def test_a_path_reaches_its_port_without_the_prefix_byte_for_byte(ports: Ports) -> None:
    for target, port, reached in TARGETS:
        answer = await ports.ask(f"GET {target}")
        assert (answer.status, answer.one("Server")) == (200, port)
        upstream = ports.acp if port == "acp" else ports.opencode
        assert upstream.requests[-1].target == reached


@pytest.mark.parametrize("port", ["acp", "opencode"])
async def test_a_path_may_have_any_byte_in_it_escaped(ports: Ports, port: str) -> None:
    """Names of files on Linux may have line ends, and bytes that are no UTF-8."""
    upstream = ports.acp if port == "acp" else ports.opencode
    for byte in range(256):
        target = f"/file/a%{byte:02X}b"
        answer = await ports.ask(f"GET {PROJECT}/{port}{target}")
        assert (answer.status, upstream.requests[-1].target) == (200, target)


async def test_a_path_in_plain_utf_8_arrives_or_is_told_to_be_wrong(ports: Ports) -> None:
    for path in ("/file/\u00fcn\u00ef", "/\u65e5\u672c", "/\U0001f600?q=\u00fc"):
        answer = await ports.ask(f"GET {PROJECT}/opencode{path}")
        if answer.status == 200:
            assert ports.opencode.requests[-1].target == path
        else:
            assert (answer.status, answer.one("Content-Type")) == (400, "application/problem+json")
            assert json.loads(answer.body)["code"] == "bad_request"


async def test_the_container_is_told_how_it_was_addressed(ports: Ports) -> None:
    lies = ["X-Forwarded-Host: evil.example", "X-Forwarded-Prefix: /x", "X-Forwarded-Proto: gopher"]
    for port, upstream in (("acp", ports.acp), ("opencode", ports.opencode)):
        await ports.ask(f"GET {PROJECT}/{port}/x", *lies)
        [request] = upstream.requests
        assert request.one("X-Forwarded-For") == "127.0.0.1"
        assert request.one("X-Forwarded-Proto") == "http"
        assert request.one("X-Forwarded-Host") == ports.gateway.url.removeprefix("http://")
        assert request.one("X-Forwarded-Prefix") == f"{PROJECT}/{port}"
        assert request.one("Host") == upstream.address.authority


async def test_the_container_is_told_the_scheme_that_browsers_ask_by(database_url: str) -> None:
    config = attrs.evolve(QUICK, server=ServerConfig(public_url="https://localhost:8443"))
    async with GatewayProcess(database_url, config).run() as gateway, raw_upstream(OPENCODE) as upstream:
        await gateway.register(str(upstream.address), containerUrl=str(upstream.address))
        ports = Ports(gateway, upstream, upstream)
        for host, scheme in (("localhost:8443", "https"), ("localhost", "http")):
            for port in ("acp", "opencode"):
                upstream.requests.clear()
                await ports.ask(f"GET {PROJECT}/{port}/scheme", f"Host: {host}")
                [said] = [one for one in upstream.requests if one.target == "/scheme"]
                assert said.one("X-Forwarded-Proto") == scheme


async def test_what_belongs_to_the_gateways_user_does_not_reach_the_container(ports: Ports) -> None:
    secrets = ["Authorization: Bearer geheim", "Cookie: id=geheim", "Proxy-Authorization: Basic geheim"]
    for port, upstream in (("acp", ports.acp), ("opencode", ports.opencode)):
        await ports.ask(f"GET {PROJECT}/{port}/x", *secrets)
        assert "geheim" not in str(upstream.requests)


async def test_the_containers_own_secret_goes_to_its_acp_port_only(database_url: str) -> None:
    containers = attrs.evolve(QUICK.containers, token="host-secret")
    async with GatewayProcess(database_url, QUICK).configured(containers=containers).run() as gateway:
        async with raw_upstream(b"HTTP/1.1 204 No Content\r\n\r\n") as upstream:
            address = str(upstream.address)
            await gateway.register(address, containerUrl=address)
            await gateway.call("GET", f"{PROJECT}/acp/x", headers={"Authorization": "Bearer mine"})
            await gateway.call("GET", f"{PROJECT}/opencode/x", headers={"Authorization": "Bearer mine"})
    assert [request.all("Authorization") for request in upstream.requests] == [["Bearer host-secret"], []]


async def test_our_routes_with_another_method_are_the_containers(
    base_container: FakeContainer, gateway: Gateway
) -> None:
    project = await gateway.register(base_container.url)
    for method, path in (("PUT", "/session"), ("POST", "/agents"), ("DELETE", "/agents/x"), ("PUT", "/permission")):
        answer = await project.call(method, path, {})
        assert (answer.status, answer.json) == (404, {"success": False, "error": "Not found"}), (method, path)
        assert base_container.requests[-1].method == method


async def test_the_containers_own_404_and_405_pass(ports: Ports, gateway: Gateway) -> None:
    for status in (404, 405, 500, 503):
        raw = f"HTTP/1.1 {status} So\r\nAllow: BREW\r\nX-Request-Id: its-own\r\nContent-Length: 2\r\n\r\nhm".encode()
        async with raw_upstream(raw) as upstream:
            await gateway.call("PATCH", PROJECT, {"acpUrl": str(upstream.address)})
            answer = await ports.ask(f"PUT {PROJECT}/acp/agents", body=b"x")
        assert (answer.start, answer.body) == (f"HTTP/1.1 {status} So", b"hm")
        assert (answer.one("Allow"), answer.one("X-Request-Id")) == ("BREW", "its-own")


async def test_an_unknown_project_has_no_ports(ports: Ports) -> None:
    for target in ("/api/projects/nobody/acp/x", "/api/projects/nobody/opencode/", "/api/projects/demo%2Facp/acp/x"):
        answer = await ports.ask(f"GET {target}")
        assert (answer.status, problem(answer)["code"]) == (404, "project_not_found")
    assert ports.acp.requests == ports.opencode.requests == []


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine on which nobody listens, and nobody else can begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


async def test_a_container_that_cannot_be_had_is_a_problem_with_a_code(database_url: str, closed_port: int) -> None:
    containers = ContainersConfig(connect_timeout=2, idle_timeout=5)

    async def hang_up(peer: Any) -> None:
        await peer.head()

    async with (
        GatewayProcess(database_url, QUICK).configured(containers=containers).run() as gateway,
        raw_upstream(hang_up) as rude,
        raw_upstream(b"SSH-2.0-OpenSSH\r\n\r\n") as foreign,
    ):
        await gateway.register("http://h:1")
        for address, status, code in (
            (f"http://127.0.0.1:{closed_port}", 503, "upstream_refused"),
            ("http://nobody.invalid", 502, "upstream_unreachable"),
            (str(rude.address), 502, "upstream_unreachable"),
            (str(foreign.address), 502, "upstream_unreachable"),
        ):
            await gateway.call("PATCH", PROJECT, {"containerUrl": address, "acpUrl": address})
            for path in ("/acp/x", "/opencode/x"):
                answer = await gateway.call("POST", PROJECT + path, {})
                assert (answer.status, answer.json["code"]) == (status, code), address
                assert answer.headers["Content-Type"] == "application/problem+json"
                assert answer.json["requestId"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize("port", ["acp", "opencode"])
async def test_a_call_that_waits_by_its_nature_waits_as_long_as_its_client(database_url: str, port: str) -> None:
    containers = ContainersConfig(connect_timeout=2, headers_timeout=0.1, idle_timeout=0.2)

    async def answer_late(peer: Any) -> None:
        await peer.message()
        await asyncio.sleep(1)  # five times as long as any of the limits above
        await peer.send(OK)

    async with (
        GatewayProcess(database_url, QUICK).configured(containers=containers).run() as gateway,
        raw_upstream(answer_late) as late,
    ):
        await gateway.register(str(late.address), containerUrl=str(late.address))
        for method, body in (("POST", {}), ("GET", None)):
            answer = await gateway.call(method, f"{PROJECT}/{port}/api/session/ses_1/wait", body)
            assert (answer.status, answer.body) == (200, b"ok")


async def test_a_call_that_waits_is_given_up_when_its_client_leaves(ports: Ports, gateway: Gateway) -> None:
    left = asyncio.Event()

    async def wait(peer: Any) -> None:
        await peer.head()
        await peer.closed()
        left.set()

    async with raw_upstream(wait) as upstream:
        await gateway.register(str(upstream.address), id="slow", containerUrl=str(upstream.address))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gateway.call("GET", "/api/projects/slow/opencode/tui/control/next"), 0.5)
        await asyncio.wait_for(left.wait(), 30)


async def test_a_websocket_passes_through(gateway: Gateway) -> None:
    codes: list[int | None] = []

    async def echo(request: web.Request) -> web.WebSocketResponse:
        sock = web.WebSocketResponse(protocols=["chat"])
        await sock.prepare(request)
        await sock.send_str(request.raw_path)
        async for message in sock:
            await sock.send_bytes(message.data)
        codes.append(sock.close_code)
        return sock

    async with serve(echo) as upstream:
        await gateway.register(str(upstream), containerUrl=str(upstream))
        for port in ("opencode", "acp"):
            url = f"{gateway.url}{PROJECT}/{port}/pty/1?cursor=0"
            async with gateway.http.ws_connect(url, protocols=["chat"]) as sock:
                assert sock.protocol == "chat"
                assert await sock.receive_str() == "/pty/1?cursor=0"
                await sock.send_bytes(b"\x00\xff")
                assert (await sock.receive()).data == b"\x00\xff"
                await sock.close(code=4321)
            assert await eventually(lambda: codes) == [4321]
            codes.clear()


async def test_a_body_is_not_asked_for_on_behalf_of_nobody(ports: Ports) -> None:
    expects = ["Expect: 100-continue", "Content-Type: application/json", "Content-Length: 9"]
    for start in (
        "POST /api/projects/nobody/acp/upload",
        "POST /api/projects/nobody/acp/session",
        "PUT /api/projects/nobody/opencode/x",
        "PATCH /api/projects/nobody",
    ):
        answer = await ports.ask(start, *expects)
        assert (answer.status, problem(answer)["code"]) == (404, "project_not_found")


async def test_a_body_that_would_be_too_large_is_not_asked_for(ports: Ports) -> None:
    expects = ["Expect: 100-continue", "Content-Type: application/json", "Content-Length: 99999999999"]
    answer = await ports.ask("POST /api/projects", *expects)
    assert (answer.status, problem(answer)["code"]) == (413, "body_too_large")


async def test_a_body_that_is_wanted_is_asked_for(ports: Ports) -> None:
    address = Upstream.parse(ports.gateway.url)
    body = b'{"name": "asked"}'
    async with connect(address) as peer:
        head = [f"PATCH {PROJECT} HTTP/1.1", f"Host: {address.authority}", "Content-Type: application/json"]
        head += ["Expect: 100-continue", f"Content-Length: {len(body)}", "", ""]
        await peer.send("\r\n".join(head).encode())
        assert (await peer.message()).status == 100
        await peer.send(body)
        assert json.loads((await peer.message()).body)["name"] == "asked"


async def test_the_bare_path_is_kept_for_acps_own_transport(gateway: Gateway, base_container: FakeContainer) -> None:
    project: Project = await gateway.register(base_container.url)
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
        answer = await project.call(method, "", headers={"Content-Type": "application/json"})
        assert (answer.status, answer.json["code"]) == (501, "not_implemented"), method
        assert answer.headers["Content-Type"] == "application/problem+json"
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await gateway.http.ws_connect(gateway.url + project.acp)
    assert refused.value.status == 501
    assert base_container.requests == []
