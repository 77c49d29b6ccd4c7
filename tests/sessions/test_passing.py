"""What the passthrough lets members do to each other's sessions in their project's container."""

from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from gateway.container.room import CONTAINERS
from gateway.sessions.room import SESSIONS
from tests.fakes.container import FakeContainer
from tests.sessions.injecting import ANNS, BOBS, Hosts, create, session_of, shared, store, ways
from tests.world import PROXIED, Gateway, GatewayProcess, Project

CALLS = (
    ("POST", "/mode", {"modeId": "bold"}),
    ("POST", "/config", {"configId": "model", "value": "dear"}),
    ("PUT", "", {}),
    ("POST", "/whatever", {}),
)
RESERVED = ("/load", "/prompt", "/cancel", "/Prompt", "/prompt/", "//prompt", "/%70rompt", "/x/%2e%2e/prompt")


@pytest.fixture
async def gateway(database_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with GatewayProcess(database_url, PROXIED).configured(credentials=ways(tmp_path)).run() as running:
        yield running


@pytest.fixture
async def project(gateway: Gateway, tmp_path: Path) -> AsyncIterator[Project]:
    """Ann's, with Bob as an operator, in front of an agent host."""
    async with Hosts(tmp_path).run() as url:
        yield await shared(gateway, url)


async def in_container(project: Project, session: str) -> str:
    """The path of the session as its container knows it."""
    found = await project.gateway.app[SESSIONS].sessions.get(project.id, session)
    return f"/session/{found.container_session_id}"


async def test_a_session_with_ones_credential_is_reached_by_that_person_alone(
    gateway: Gateway, project: Project
) -> None:
    await store(gateway, "ann", ANNS)
    path = await in_container(project, await session_of(project, "ann"))
    bob = project.as_user("bob")
    for method, below, body in CALLS:
        refused = await bob.call(method, path + below, body)
        assert (refused.status, refused.json["code"]) == (403, "not_your_credential"), below
        reached = await project.call(method, path + below, body)
        assert "requestId" not in reached.body.decode(), reached.body


async def test_a_session_with_nobodys_credential_is_reached_by_every_operator(project: Project) -> None:
    path = await in_container(project, await session_of(project, "ann", "free"))
    for user in ("ann", "bob"):
        reached = await project.as_user(user).call("POST", f"{path}/mode", {"modeId": "bold"})
        assert reached.json["success"] is False, "our agent host's own answer"


async def test_what_the_gateway_does_with_sessions_is_done_past_it_by_nobody(
    gateway: Gateway, project: Project
) -> None:
    await store(gateway, "ann", ANNS)
    path = await in_container(project, await session_of(project, "ann"))
    for user in ("ann", "bob"):
        for below in RESERVED:
            refused = await project.as_user(user).call("POST", path + below, {"prompt": "[]"})
            assert refused.status in (400, 403, 404), below
            assert "requestId" in refused.json, "the gateway's own answer"
    (listed,) = (await project.call("GET", "/sessions")).json["data"]["sessions"]
    assert listed["messageCount"] == 0


async def test_an_unknown_session_is_nobodys_to_take_up(gateway: Gateway, project: Project) -> None:
    """With the agent's own id of it, any conversation could be gone on with."""
    await store(gateway, "ann", ANNS)
    anns = await gateway.app[SESSIONS].sessions.get("demo", await session_of(project, "ann"))
    body = {"agentId": "keyed", "acpSessionId": anns.acp_session_id}
    for name in ("load", "Load", "load/"):
        refused = await project.as_user("bob").call("POST", f"/session/mine/{name}", body)
        assert (refused.status, refused.json["code"]) == (403, "forbidden")
    refused = await project.as_user("bob").call("POST", "/session/mine/mode", {"modeId": "bold"})
    assert (refused.status, refused.json["code"]) == (404, "session_not_found")
    container = gateway.app[CONTAINERS].of(await gateway.app[CONTAINERS].project("demo"))
    assert len(await container.sessions()) == 1


async def test_a_session_of_another_project_is_not_known_in_this_one(database_url: str, tmp_path: Path) -> None:
    containers = attrs.evolve(PROXIED.containers, shared=True)
    gateways = GatewayProcess(database_url, PROXIED).configured(credentials=ways(tmp_path), containers=containers)
    async with Hosts(tmp_path).run() as url, gateways.run() as gateway:
        project = await shared(gateway, url)
        other = await gateway.as_user("bob").register(url, "other")
        path = await in_container(project, await session_of(project, "ann", "free"))
        refused = await other.call("POST", f"{path}/mode", {"modeId": "bold"})
    assert (refused.status, refused.json["code"]) == (404, "session_not_found")


async def test_in_the_base_contract_a_session_costs_whoever_has_the_agents_process(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await shared(gateway, base_container.url)
    bobs = await in_container(project, await session_of(project, "bob", "demo"))
    await store(gateway, "ann", ANNS, "demo")
    await project.call("POST", "/agents/demo/stop", {})
    assert (await create(project, "ann", "demo")).status == 201
    refused = await project.as_user("bob").call("POST", f"{bobs}/mode", {"modeId": "bold"})
    assert (refused.status, refused.json["code"]) == (403, "not_your_credential")
    assert "ann" in refused.json["detail"]


async def test_the_doors_of_credentials_are_closed_to_everybody_in_any_spelling(
    gateway: Gateway, project: Project
) -> None:
    await store(gateway, "bob", BOBS)
    credential = {"owner": "x", "version": 1, "env": {"A_KEY": BOBS}, "unset": [], "authenticate": None, "files": []}
    for agent in ("keyed", "free"):
        for below in ("credential", "Credential", "credential/", "/credential", "%63redential", "y/../credential"):
            for user in ("ann", "bob"):
                refused = await project.as_user(user).call("POST", f"/agents/{agent}/{below}", credential)
                assert (refused.status, refused.json["code"]) == (403, "forbidden"), below
        for below in ("spawn/", "Spawn", "%2573pawn", "auth/init", "auth/token/", "Auth/Token"):
            refused = await project.call("POST", f"/agents/{agent}/{below}", {"env": {"A_KEY": BOBS}, "token": BOBS})
            assert (refused.status, refused.json["code"]) == (403, "forbidden"), below
    assert {agent["status"] for agent in (await project.call("GET", "/agents")).json["agents"]} == {"stopped"}
