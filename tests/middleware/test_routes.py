"""Paths and methods beside the route table: each has a defined answer, and errors have one form."""

import json

from tests.middleware.conftest import Ports

NO_ROUTES = [
    "/api",
    "/api/",
    "/api/projects/",
    "//api/projects",
    "/api//projects",
    "/api/projects//acp",
    "/api/projects/demo/",
    "/api/projects/demo//acp/agents",
    "/api/projects/demo/nothing",
    "/api/projects/demo/acpx",
    "/API/projects",
    "/favicon.ico",
    "/api/projects%2Fdemo",
    "/%2e%2e/etc/passwd",
]


async def test_what_has_no_route_is_404(ports: Ports) -> None:
    for target in NO_ROUTES:
        for method in ("GET", "POST", "OPTIONS"):
            answer = await ports.ask(f"{method} {target}")
            document = json.loads(answer.body)
            assert (answer.status, document["code"]) == (404, "not_found")
            assert f"{method} {target}" in document["detail"]
            assert document["instance"] == target
            assert answer.one("Content-Type") == "application/problem+json"
        assert ports.acp.requests == ports.opencode.requests == []


NOT_ALLOWED = [
    ("PUT /api/projects", "GET, HEAD, POST"),
    ("DELETE /api/projects", "GET, HEAD, POST"),
    ("OPTIONS /api/projects", "GET, HEAD, POST"),
    ("POST /api/projects/demo", "DELETE, GET, HEAD, PATCH"),
    ("OPTIONS /api/projects/demo", "DELETE, GET, HEAD, PATCH"),
]


async def test_a_method_that_a_route_does_not_take_is_405(ports: Ports) -> None:
    for start, allowed in NOT_ALLOWED:
        answer = await ports.ask(start)
        document = json.loads(answer.body)
        assert (answer.status, document["code"], answer.one("Allow")) == (405, "method_not_allowed", allowed)
        assert allowed in document["detail"]


async def test_head_is_get_without_a_body(ports: Ports) -> None:
    for target in ("/api/projects", "/api/projects/demo", "/api/projects/demo/acp/session"):
        head, get = await ports.ask(f"HEAD {target}"), await ports.ask(f"GET {target}")
        assert (head.status, head.one("Content-Type")) == (200, "application/json")
        assert head.one("Content-Length") == get.one("Content-Length")
    missing = await ports.ask("HEAD /api/projects/nobody")
    assert (missing.status, missing.one("Content-Type")) == (404, "application/problem+json")


async def test_head_and_options_of_what_is_not_ours_are_the_containers(ports: Ports) -> None:
    for start, upstream in (
        ("HEAD /api/projects/demo/opencode/x", ports.opencode),
        ("OPTIONS /api/projects/demo/opencode/x", ports.opencode),
        ("OPTIONS /api/projects/demo/acp/session", ports.acp),
        ("HEAD /api/projects/demo/acp/health", ports.acp),
    ):
        assert (await ports.ask(start)).status == 200
        assert upstream.requests[-1].start.split(" ")[0] == start.split(" ")[0]


async def test_each_answer_has_an_id_of_its_own(ports: Ports) -> None:
    ids = [(await ports.ask("GET /api/projects")).one("X-Request-Id") for _ in range(3)]
    assert len(set(ids)) == 3
    given = await ports.ask("GET /api/projects", "X-Request-Id: mine")
    assert given.one("X-Request-Id") not in (None, "mine")
