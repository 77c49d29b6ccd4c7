"""Which port of its container a project's path means: the mapping as a table, and as it is reached."""

from datetime import UTC, datetime

import pytest

from gateway.config.schema import ContainersConfig
from gateway.projects.store import Project, acp_upstream, opencode_upstream
from tests.fakes.container import FakeContainer
from tests.middleware.conftest import Ports
from tests.world import QUICK, GatewayProcess

DEFAULT = ContainersConfig()
OTHER = ContainersConfig(opencode_port=5000, acp_port=5100)


def project(container_url: str, acp_url: str | None = None) -> Project:
    now = datetime.now(UTC)
    return Project(
        id="p",
        owner_id="local",
        name="p",
        container_url=container_url,
        acp_url=acp_url,
        default_agent_id=None,
        retention=None,
        created_at=now,
        updated_at=now,
    )


@pytest.mark.parametrize(
    ("container_url", "acp_url", "config", "opencode", "acp"),
    [
        ("http://h:4096", None, DEFAULT, "http://h:4096", "http://h:4097"),
        ("http://h", None, DEFAULT, "http://h:4096", "http://h:4097"),
        ("https://h", None, DEFAULT, "https://h:4096", "https://h:4097"),
        ("http://h:80", None, DEFAULT, "http://h:80", "http://h:81"),
        ("http://h:5000", None, DEFAULT, "http://h:5000", "http://h:5001"),
        ("http://[::1]:4096", None, DEFAULT, "http://[::1]:4096", "http://[::1]:4097"),
        ("http://[::1]", None, DEFAULT, "http://[::1]:4096", "http://[::1]:4097"),
        ("http://h/base", None, DEFAULT, "http://h:4096/base", "http://h:4097/base"),
        ("https://h:8443/a%2Fb/", None, DEFAULT, "https://h:8443/a%2Fb", "https://h:8444/a%2Fb"),
        ("http://h", None, OTHER, "http://h:5000", "http://h:5100"),
        ("http://h:5000", None, OTHER, "http://h:5000", "http://h:5100"),
        ("http://h:6000", None, OTHER, "http://h:6000", "http://h:6100"),
        ("http://h:4096", "https://acp.example/x", DEFAULT, "http://h:4096", "https://acp.example:443/x"),
        ("http://h:4096", "http://[::2]:9", DEFAULT, "http://h:4096", "http://[::2]:9"),
    ],
)
def test_a_projects_address_is_mapped(
    container_url: str, acp_url: str | None, config: ContainersConfig, opencode: str, acp: str
) -> None:
    mapped = project(container_url, acp_url)
    assert str(opencode_upstream(mapped, config)) == opencode
    assert str(acp_upstream(mapped, config)) == acp


async def test_the_acp_port_is_reached_by_the_mapping(database_url: str, base_container: FakeContainer) -> None:
    containers = ContainersConfig(opencode_port=base_container.port - 1, acp_port=base_container.port)
    async with GatewayProcess(database_url, QUICK).configured(containers=containers).run() as gateway:
        await gateway.call("POST", "/api/projects", {"id": "demo", "containerUrl": "http://127.0.0.1"})
        assert (await gateway.call("GET", "/api/projects/demo/acp/agents")).status == 200


async def test_a_changed_address_counts_from_the_next_request_on(ports: Ports, base_container: FakeContainer) -> None:
    assert (await ports.ask("GET /api/projects/demo/acp/health")).one("Server") == "acp"
    await ports.gateway.call("PATCH", "/api/projects/demo", {"acpUrl": base_container.url})
    assert b"healthy" in (await ports.ask("GET /api/projects/demo/acp/health")).body


async def test_an_address_whose_mapped_port_does_not_exist_is_refused(ports: Ports) -> None:
    body = {"containerUrl": "http://h:65535"}
    answer = await ports.gateway.call("POST", "/api/projects", body)
    assert (answer.status, answer.json["code"]) == (400, "invalid_body")
    assert "$.containerUrl" in answer.json["detail"]
    answer = await ports.gateway.call("POST", "/api/projects", body | {"acpUrl": "http://h:1"})
    assert answer.status == 201
    cleared = await ports.gateway.call("PATCH", f"/api/projects/{answer.json['id']}", {"acpUrl": None})
    assert (cleared.status, cleared.json["code"]) == (400, "invalid_body")
