"""Each project's OpenCode has a host of its own, where pages that name things from the root work."""

import json

import pytest

from gateway.middleware.hosts import project_of_host
from tests.middleware.conftest import Ports


@pytest.mark.parametrize(
    "path", ["/", "/assets/index-1.js?v=1", "/api/projects", "/api/projects/demo/acp/agents", "//x%2Fy"]
)
async def test_everything_on_a_projects_host_is_opencodes(ports: Ports, path: str) -> None:
    answer = await ports.ask(f"GET {path}", "Host: demo.localhost:8080")
    assert (answer.status, answer.one("X-Port")) == (200, "opencode")
    assert ports.opencode.requests[-1].target == path


async def test_a_browser_that_opens_the_page_below_the_prefix_is_sent_to_the_projects_host(ports: Ports) -> None:
    port = ports.gateway.url.rpartition(":")[2]
    answer = await ports.ask("GET /api/projects/demo/opencode/x?y=%2F", "Sec-Fetch-Dest: document")
    assert (answer.status, answer.one("Location")) == (307, f"http://demo.localhost:{port}/x?y=%2F")
    bare = await ports.ask("GET /api/projects/demo/opencode", "Sec-Fetch-Dest: document")
    assert bare.one("Location") == f"http://demo.localhost:{port}/"


async def test_what_a_page_fetches_below_the_prefix_is_not_sent_elsewhere(ports: Ports) -> None:
    for fields in ([], ["Sec-Fetch-Dest: empty"]):
        assert (await ports.ask("GET /api/projects/demo/opencode/x", *fields)).status == 200


async def test_an_unknown_projects_host_is_404(ports: Ports) -> None:
    answer = await ports.ask("GET /", "Host: nobody.localhost")
    assert (answer.status, json.loads(answer.body)["code"]) == (404, "project_not_found")


async def test_a_containers_page_may_write_to_its_own_host_and_to_nothing_else(ports: Ports) -> None:
    origin = "Origin: http://demo.localhost:8080"
    own = await ports.ask("POST /session", "Host: demo.localhost:8080", origin)
    assert own.status == 200
    for host in ("127.0.0.1:8080", "localhost:8080", "other.localhost:8080", "demo.localhost:9"):
        refused = await ports.ask("POST /api/projects/demo/acp/session", f"Host: {host}", origin)
        assert (refused.status, json.loads(refused.body)["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "a.b.localhost", "x_y.localhost", ".localhost", "a.localhost.evil"]
)
def test_other_hosts_are_no_projects(host: str) -> None:
    assert project_of_host(host) is None
