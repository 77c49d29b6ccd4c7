"""Each project's OpenCode has a host of its own, where pages that name things from the root work."""

import json

import pytest

from gateway.identity.sites import Sites
from tests.middleware.conftest import Ports


@pytest.mark.parametrize(
    "path", ["/", "/assets/index-1.js?v=1", "/api/projects", "/api/projects/demo/acp/agents", "//x%2Fy"]
)
async def test_everything_on_a_projects_host_is_opencodes(ports: Ports, path: str) -> None:
    answer = await ports.ask(f"GET {path}", "Host: demo.localhost:8080")
    assert (answer.status, answer.one("Server")) == (200, "opencode")
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
    "host", ["localhost", "127.0.0.1", "a.b.localhost", "x_y.localhost", "a.localhost.evil", "agents.example.com"]
)
def test_other_hosts_are_no_projects(host: str) -> None:
    asked = SITES.asked(host)
    assert asked is not None
    assert asked.project_id is None


SITES = Sites([], [], project_hosts="*.agents.example.com")


@pytest.mark.parametrize(
    ("host", "project_id", "is_here"),
    [
        ("demo.localhost:8080", "demo", True),
        ("DEMO.localhost", "demo", True),
        ("demo.agents.example.com", "demo", False),
        ("Demo.Agents.Example.Com:8443", "demo", False),
        ("-.agents.example.com", "-", False),
    ],
)
def test_a_projects_host_is_known_by_its_name(host: str, project_id: str, is_here: bool) -> None:
    asked = SITES.asked(host)
    assert asked is not None
    assert (asked.project_id, asked.is_here, asked.is_known) == (project_id, is_here, True)


def test_a_name_below_the_configured_domain_that_no_project_can_have_is_none_of_the_gateways() -> None:
    for host in ("a.b.agents.example.com", "x_y.agents.example.com", "agents.example.com", "a.agents.example.com."):
        asked = SITES.asked(host)
        assert asked is not None
        assert not asked.is_known


@pytest.mark.parametrize(
    ("asked_by", "project_id", "own"),
    [
        ("localhost:8080", "demo", "demo.localhost:8080"),
        ("[::1]:1", "demo", "demo.localhost:1"),
        ("gateway.example.com", "demo", "demo.agents.example.com"),
        ("gateway.example.com:8443", "demo", "demo.agents.example.com:8443"),
        ("gateway.example.com", "x" * 63, "x" * 63 + ".agents.example.com"),
        ("gateway.example.com", "x" * 64, None),
        ("localhost", "x" * 64, None),
    ],
)
def test_a_projects_own_host_is_beside_the_name_by_which_the_gateway_was_asked(
    asked_by: str, project_id: str, own: str | None
) -> None:
    sites = Sites(["gateway.example.com"], [], project_hosts="*.agents.example.com")
    asked = sites.asked(asked_by)
    assert asked is not None
    found = sites.project_host(project_id, asked)
    assert (None if found is None else str(found)) == own


def test_without_a_configured_domain_projects_have_hosts_on_this_machine_alone() -> None:
    sites = Sites(["gateway.example.com"], [])
    asked = sites.asked("gateway.example.com")
    assert asked is not None
    assert sites.project_host("demo", asked) is None
