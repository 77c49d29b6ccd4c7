"""Names of the gateway, and pages of others: exact, look-alikes refused, and what a page may read is said to it."""

import json
from collections.abc import AsyncIterator

import attrs
import pytest

from gateway.config.schema import IdentityConfig
from gateway.identity.sites import Sites
from gateway.wire.hosts import parse_host
from tests.middleware.conftest import Ports, ask_raw
from tests.proxy.peers import raw_upstream
from tests.world import PROXIED, Gateway, GatewayProcess

APP = "https://app.example.com"
CONFIG = attrs.evolve(
    PROXIED,
    identity=attrs.evolve(PROXIED.identity, allowed_hosts=("gateway.example.com", "10.0.0.7"), allowed_origins=(APP,)),
)
AS_ALICE = "X-Forwarded-User: alice"
HOST = "Host: gateway.example.com"


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    async with GatewayProcess(database_url, CONFIG).run() as running:
        yield running


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("gateway.example.com", True),
        ("gateway.example.com:8443", True),
        ("GATEWAY.example.com", True),
        ("10.0.0.7:80", True),
        ("localhost:8080", True),
        ("demo.localhost", True),
        ("[::1]", True),
        ("gateway.example.com.", False),
        ("gateway.example.com.evil.example", False),
        ("evil.example", False),
        ("evilgateway.example.com", False),
        ("gateway.example.com:x", False),
        ("gateway.example.com:99999", False),
        ("gateway.example.com@evil.example", False),
        ("10.0.0.8", False),
        ("demo.gateway.example.com", False),
    ],
)
def test_the_gateways_names_are_exact(host: str, known: bool) -> None:
    asked = Sites(["gateway.example.com", "10.0.0.7"], []).asked(host)
    assert (asked is not None and asked.is_known) is known


@pytest.mark.parametrize(
    ("origin", "host", "welcome"),
    [
        (APP, "gateway.example.com", True),
        ("https://gateway.example.com", "gateway.example.com", True),
        ("https://gateway.example.com:8443", "gateway.example.com:8443", True),
        ("https://gateway.example.com:443", "gateway.example.com", True),
        ("https://gateway.example.com", "gateway.example.com:443", True),
        ("https://[::1]:8080", "[0:0::1]:8080", True),
        ("http://gateway.example.com", "gateway.example.com", False),
        ("https://gateway.example.com", "gateway.example.com:80", False),
        ("https://localhost:3000", "127.0.0.1:8080", False),
        ("https://localhost:3000", "localhost:8080", False),
        ("https://localhost:8080", "127.0.0.1:8080", False),
        ("https://127.0.0.2:8080", "127.0.0.1:8080", False),
        ("https://localhost:3000", "gateway.example.com", False),
        ("https://app.example.com.evil.example", "gateway.example.com", False),
        ("https://evil-app.example.com", "gateway.example.com", False),
        ("http://app.example.com", "gateway.example.com", False),
        ("https://app.example.com:8443", "gateway.example.com", False),
        ("https://APP.example.com", "gateway.example.com", False),
        ("https://app.example.com/", "gateway.example.com", False),
        ("https://gateway.example.com:8443", "gateway.example.com", False),
        ("file://gateway.example.com", "gateway.example.com", False),
        ("null", "gateway.example.com", False),
        ("https://demo.localhost", "gateway.example.com", False),
        ("https://demo.localhost", "localhost", False),
        ("https://demo.localhost", "other.localhost", False),
        ("https://demo.localhost", "demo.localhost", True),
        ("https://demo.agents.example.com", "gateway.example.com", False),
        ("https://demo.agents.example.com", "demo.agents.example.com", True),
        ("https://demo.agents.example.com", "other.agents.example.com", False),
    ],
)
def test_pages_that_may_ask_are_of_the_same_scheme_host_and_port(origin: str, host: str, welcome: bool) -> None:
    sites = Sites(["gateway.example.com"], [APP], project_hosts="*.agents.example.com")
    assert sites.welcome(origin, parse_host(host), ["https"]) is welcome


def test_browsers_reach_the_host_of_the_public_address_by_its_scheme() -> None:
    sites = Sites([], [], public_url="https://gateway.example.com:8443/acp")
    for host, scheme in (("gateway.example.com:8443", "https"), ("gateway.example.com", "http"), ("localhost", "http")):
        assert sites.scheme(parse_host(host), "http") == scheme


async def test_a_foreign_host_is_refused_before_anybody_is_asked_who_they_are(gateway: Gateway) -> None:
    for fields in ([], [AS_ALICE]):
        answer = await ask_raw(gateway, "GET /api/projects", "Host: gateway.example.com.evil.example", *fields)
        assert (answer.status, json.loads(answer.body)["code"]) == (403, "forbidden")


async def test_an_allowed_page_may_read_answers_refusals_and_streams(gateway: Gateway, ports: Ports) -> None:
    for fields, start, status in (
        ([AS_ALICE], "GET /api/projects", 200),
        ([], "GET /api/projects", 401),
        ([AS_ALICE], "GET /api/projects/demo", 404),
        ([AS_ALICE], "GET /nothing", 404),
        (["X-Forwarded-User: owner"], "GET /api/projects/demo/opencode/x", 200),
    ):
        answer = await ask_raw(gateway, start, HOST, f"Origin: {APP}", *fields)
        assert (answer.status, answer.one("Access-Control-Allow-Origin")) == (status, APP)
        assert answer.one("Access-Control-Allow-Credentials") == "true"
        assert "Origin" in str(answer.one("Vary"))
    async with gateway.http.get(
        f"{gateway.url}/api/projects/demo/acp/events", headers={"Origin": APP, "X-Forwarded-User": "owner"}
    ) as stream:
        assert (stream.status, stream.headers["Access-Control-Allow-Origin"]) == (200, APP)


async def test_no_other_page_may(gateway: Gateway, ports: Ports) -> None:
    for origin in (f"{APP}.evil.example", "null", "https://evil.example", "http://app.example.com"):
        for start in ("GET /api/projects", "OPTIONS /api/projects", "GET /api/projects/demo/opencode/x"):
            fields = [HOST, f"Origin: {origin}", "Access-Control-Request-Method: GET", "X-Forwarded-User: owner"]
            answer = await ask_raw(gateway, start, *fields)
            assert answer.one("Access-Control-Allow-Origin") is None
            assert "Origin" in str(answer.one("Vary"))
    assert "Origin" in str((await ask_raw(gateway, "GET /api/projects", AS_ALICE)).one("Vary"))


async def test_a_preflight_is_answered_without_asking_who_it_is(gateway: Gateway, ports: Ports) -> None:
    for path in ("/api/projects", "/api/projects/demo/acp/session", "/api/projects/demo/opencode/x", "/nothing"):
        fields = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization"]
        answer = await ask_raw(gateway, f"OPTIONS {path}", HOST, f"Origin: {APP}", *fields)
        assert (answer.status, answer.one("Access-Control-Allow-Origin")) == (204, APP)
        assert "DELETE" in str(answer.one("Access-Control-Allow-Methods"))
        assert "Authorization" in str(answer.one("Access-Control-Allow-Headers"))
    assert ports.opencode.requests == ports.acp.requests == []


async def test_an_allowed_page_may_write_and_no_other(gateway: Gateway) -> None:
    body = b'{"containerUrl": "http://127.0.0.1:1"}'
    for origin, site, status in (
        (APP, "cross-site", 201),
        ("https://gateway.example.com", "same-origin", 201),
        ("https://evil.example", "cross-site", 403),
        ("http://localhost:3000", "cross-site", 403),
        (f"{APP}.evil.example", "same-site", 403),
    ):
        fields = [HOST, f"Origin: {origin}", f"Sec-Fetch-Site: {site}", AS_ALICE, "Content-Type: application/json"]
        assert (await ask_raw(gateway, "POST /api/projects", *fields, body=body)).status == status, origin


CONTAINERS_OWN = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Credentials": "true",
    "X-Accel-Redirect": "/internal",
    "X-Sendfile": "/etc/passwd",
}
FOR_ITS_HOST = {
    "Set-Cookie": "acp=stolen; Path=/",
    "Clear-Site-Data": '"cookies"',
    "Service-Worker-Allowed": "/",
}


async def test_a_container_does_not_say_who_may_read_nor_act_on_the_gateways_cookies(gateway: Gateway) -> None:
    said = {**CONTAINERS_OWN, **FOR_ITS_HOST, "X-Accel-Buffering": "no", "X-Its-Own": "kept"}
    fields = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    async with raw_upstream(f"HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n".encode()) as upstream:
        owner = gateway.as_user("owner")
        await owner.register(str(upstream.address), containerUrl=str(upstream.address))
        for path in ("/acp/x", "/opencode/x"):
            answer = await owner.call("GET", f"/api/projects/demo{path}")
            assert {name for name in said if name in answer.headers} == {"X-Accel-Buffering"}
        own_host = await owner.call("GET", "/x", headers={"Host": "demo.localhost"})
        kept_back = {*CONTAINERS_OWN, "Clear-Site-Data"}
        assert {name for name in said if name in own_host.headers} == said.keys() - kept_back


async def test_a_container_is_not_told_whom_the_proxy_names(gateway: Gateway, ports: Ports) -> None:
    for path in ("/acp/x", "/opencode/x"):
        await gateway.as_user("owner").call("GET", f"/api/projects/demo{path}")
    requests = ports.acp.requests + ports.opencode.requests
    assert len(requests) == 2
    assert all(request.one("X-Forwarded-User") is None for request in requests)


async def test_a_containers_page_on_the_gateways_host_has_an_origin_of_its_own(gateway: Gateway, ports: Ports) -> None:
    for destination in ("document", "iframe"):
        fields = [HOST, "X-Forwarded-User: owner", f"Sec-Fetch-Dest: {destination}"]
        answer = await ask_raw(gateway, "GET /api/projects/demo/opencode/", *fields)
        assert answer.status == 200
        assert str(answer.one("Content-Security-Policy")).startswith("sandbox")
        assert "allow-same-origin" not in str(answer.one("Content-Security-Policy"))


@pytest.fixture
async def ports(gateway: Gateway) -> AsyncIterator[Ports]:
    async with (
        raw_upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as opencode,
        raw_upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as acp,
    ):
        await gateway.as_user("owner").register(str(acp.address), containerUrl=str(opencode.address))
        yield Ports(gateway, opencode, acp)


def test_a_gateway_with_no_names_is_not_asked_by_any_but_this_machines() -> None:
    assert IdentityConfig().allowed_hosts == ()
    asked = Sites([], []).asked("gateway.example.com")
    assert asked is not None
    assert not asked.is_known
