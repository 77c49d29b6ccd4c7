"""A request whose host cannot be told for certain is refused, byte for byte, before anything is done for it."""

import json

import pytest

from gateway.proxy.upstream import Upstream
from tests.middleware.conftest import Ports
from tests.proxy.peers import ask
from tests.wire.hosts import NO_HOSTS

#: As they can stand in a field: HTTP takes spaces from its ends.
FIELDS = [field for field in NO_HOSTS if field == field.strip(" \t\r\n") and "\0" not in field]
STARTS = [
    "GET /api/projects",
    "POST /api/projects/demo/opencode/x",
    "GET /api/projects/demo/acp/x",
    "GET /api/projects/demo/acp/events",
    "GET /console",
    "GET /healthz",
    "GET /nothing",
]


@pytest.mark.parametrize("start", STARTS)
async def test_a_host_field_that_names_no_host_is_refused(ports: Ports, start: str) -> None:
    for field in FIELDS:
        answer = await ports.ask(start, f"Host: {field}", "Connection: close")
        assert (answer.status, json.loads(answer.body)["code"]) == (400, "bad_request"), field
    assert ports.opencode.requests == ports.acp.requests == []


async def test_more_than_one_host_is_refused_and_so_is_a_line_break_in_one(ports: Ports) -> None:
    address = Upstream.parse(ports.gateway.url)
    for fields in (
        b"Host: localhost\r\nHost: localhost\r\n",
        b"Host: localhost\r\nhost: evil.example\r\n",
        b"Host: localhost\r\n evil.example\r\n",
        b"Host: local\x00host\r\n",
        b"Host : localhost\r\n",
        b"",
    ):
        raw = b"GET /api/projects/demo/opencode/x HTTP/1.1\r\n" + fields + b"Connection: close\r\n\r\n"
        assert (await ask(address, raw)).status == 400, fields
    assert ports.opencode.requests == []


TARGETS = [
    "ftp://localhost{}",
    "ws://localhost{}",
    "wss://localhost{}",
    "file://localhost{}",
    "gopher://localhost{}",
    "httpx://localhost{}",
    "http://localhost@evil.example{}",
    "http://evil.example@localhost{}",
    "http://user:password@localhost{}",
    "http://%6cocalhost{}",
    "http:localhost{}",
    "http://{}",
    "localhost{}",
    "javascript:{}",
    "*{}",
]


async def test_a_target_of_another_scheme_or_of_no_host_is_refused(ports: Ports) -> None:
    for target in TARGETS:
        for path in ("/api/projects/demo/opencode/x", "/api/projects/demo/acp/x", "/api/projects", "/healthz"):
            answer = await ports.ask(f"GET {target.format(path)}", "Host: localhost", "Connection: close")
            assert answer.status == 400, target
    assert ports.opencode.requests == ports.acp.requests == []


async def test_a_target_that_names_a_host_is_a_path_and_the_host_field_counts(ports: Ports) -> None:
    for authority in ("localhost", "LOCALHOST:80", "evil.example", "demo.localhost", "other.localhost:81", "[::1]"):
        for scheme in ("http", "https", "HTTP"):
            target = f"{scheme}://{authority}/api/projects/demo/opencode/x?y"
            answer = await ports.ask(f"GET {target}", "Host: localhost")
            [request] = ports.opencode.requests
            assert (answer.status, request.target, request.one("X-Forwarded-Host")) == (200, "/x?y", "localhost")
            assert (await ports.ask(f"GET {target}", "Host: evil.example")).status == 403
            ports.opencode.requests.clear()


async def test_an_old_client_is_taken_at_the_word_of_its_target(ports: Ports) -> None:
    address, path = Upstream.parse(ports.gateway.url), "/api/projects/demo/opencode/x"
    for host, status in (("localhost", 200), ("evil.example", 403)):
        assert (await ask(address, f"GET http://{host}{path} HTTP/1.0\r\n\r\n".encode())).status == status
    assert [request.one("X-Forwarded-Host") for request in ports.opencode.requests] == [None]


async def test_what_is_no_path_is_refused_or_not_found_and_never_a_fault(ports: Ports) -> None:
    for start in (
        *("CONNECT localhost:80", "CONNECT [::1]:80", "CONNECT /", "CONNECT /api/projects/demo/opencode/x"),
        *("OPTIONS *", "OPTIONS localhost", "GET *", "GET //api/projects/demo/opencode/x", "GET ?x", "GET x", "GET #"),
        *("GET /api/projects/demo//opencode/x", "GET /api//projects/demo/opencode/x", "GET /api/projects//opencode/x"),
        *("GET /api%2Fprojects/demo/opencode/x", "GET /api/projects%2Fdemo/opencode/x"),
        *(
            "GET /api/projects/demo%2Fopencode/x",
            "GET /api/projects/demo/opencode%2Fx",
            "GET /api/projects/demo/%2Facp",
        ),
        *("GET /api/projects/demo/acp%2F", "GET /api/projects/demo/opencode%0A", "GET /api/projects/demo/opencode/%0A"),
        *("GET /api/projects/demo/./opencode/x", "GET /api/projects/../projects/demo/opencode/x"),
        *("GET /\\api\\projects", "GET /api/projects/demo\\opencode/x", "GET /api/projects/demo/opencode\\x"),
    ):
        answer = await ports.ask(start, "Host: localhost", "Connection: close")
        assert answer.status in (200, 400, 403, 404), start
