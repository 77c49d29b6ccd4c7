"""A secret of a project's own for its container: it opens that container and nothing else, and is never shown."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.agenthost.app import AgentHostConfig
from gateway.agenthost.app import build_app as build_agent_host
from gateway.config.schema import VaultConfig
from gateway.server.run import bind, serving
from tests.db.things import ask
from tests.world import QUICK, Gateway, GatewayProcess, text_of

SECRET = "one-containers-own-secret"


@asynccontextmanager
async def host_with(token: str, workspace: Path) -> AsyncIterator[str]:
    workspace.mkdir()  # noqa: ASYNC240 - a test's own
    config = AgentHostConfig(workspace=workspace, environment=dict(os.environ), token=token)
    sock = bind("127.0.0.1", 0, purpose="the test's agent host", option="")
    async with serving(build_agent_host(config), sock, shutdown_timeout=2):
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[str]:
    async with host_with(SECRET, tmp_path / "one") as address:
        yield address


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    """One whose general secret is another than the container's."""
    containers = attrs.evolve(QUICK.containers, token="the-general-secret")
    async with GatewayProcess(database_url, QUICK).configured(containers=containers).run() as running:
        yield running


async def shown(gateway: Gateway, id: str = "demo") -> Any:
    return (await gateway.call("GET", f"/api/projects/{id}")).json


async def test_every_call_to_the_container_carries_its_own_secret(gateway: Gateway, host: str) -> None:
    project = await gateway.register(host, containerToken=SECRET, defaultAgentId="demo")
    session = await project.create_session()
    async with project.events(session) as stream:
        assert (await project.prompt(session, "say hello"))["turn"]["state"] == "completed"
        await stream.until("turn_ended")
    assert (await project.call("GET", "/info")).json["success"]  # passed through
    assert (await project.call("GET", "/agents")).json["stale"] is False


async def test_what_opens_the_container_is_masked_in_what_its_agents_say(gateway: Gateway, host: str) -> None:
    password, basic = "open-sesame-1", "b3BlbmNvZGU6b3Blbi1zZXNhbWUtMQ=="
    project = await gateway.register(host, containerToken=SECRET, opencodePassword=password, defaultAgentId="demo")
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, f"say {SECRET} and {password} and {basic}")
        events = await stream.until("turn_ended")
    assert text_of(events).split() == ["***", "and", "***", "and", "***"]
    async with project.events(session) as stream:
        changed = await gateway.call("PATCH", "/api/projects/demo", {"opencodePassword": "another-1"})
        assert changed.status == 200, changed.body
        await project.prompt(session, "say another-1")
        events = await stream.until("turn_ended")
    assert text_of(events).strip() == "***"


async def test_a_password_that_is_a_word_garbles_no_text(gateway: Gateway, host: str) -> None:
    project = await gateway.register(host, containerToken=SECRET, opencodePassword="message", defaultAgentId="demo")
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "say a message")
        assert text_of(await stream.until("turn_ended")).strip() == "a message"


async def test_two_containers_have_two_secrets(gateway: Gateway, host: str, tmp_path: Path) -> None:
    async with host_with("another-secret", tmp_path / "two") as other:
        one = await gateway.register(host, containerToken=SECRET)
        two = await gateway.register(other, "two", containerToken="another-secret")
        general = await gateway.register(host, "general")
        assert (await one.call("GET", "/info")).status == 200
        assert (await two.call("GET", "/info")).status == 200
        assert (await general.call("GET", "/info")).status == 401  # the gateway's general secret is not this one's


async def test_the_secret_is_never_shown_and_not_readable_in_the_database(
    gateway: Gateway, host: str, database_url: str
) -> None:
    await gateway.register(host, containerToken=SECRET)
    for method, path, body in (
        ("GET", "/api/projects/demo", None),
        ("GET", "/api/projects", None),
        ("PATCH", "/api/projects/demo", {"name": "x"}),
        ("PATCH", "/api/projects/demo", {"containerToken": SECRET}),
        ("PATCH", "/api/projects/demo", {"containerToken": SECRET, "name": ""}),
        ("PATCH", "/api/projects/demo", {"containerToken": [SECRET]}),
    ):
        answer = await gateway.call(method, path, body)
        assert SECRET.encode() not in answer.body
    assert (await shown(gateway))["hasContainerToken"] is True
    assert "containerToken" not in await shown(gateway)
    [(row,)] = ask(database_url, "select encode(sealed_container_token, 'escape') || p::text from projects p")
    assert SECRET not in row


async def test_null_takes_the_secret_away_and_the_general_one_is_sent_again(gateway: Gateway, host: str) -> None:
    project = await gateway.register(host, containerToken=SECRET)
    answer = await gateway.call("PATCH", "/api/projects/demo", {"containerToken": None})
    assert (answer.status, answer.json["hasContainerToken"]) == (200, False)
    assert (await project.call("GET", "/info")).status == 401
    await gateway.call("PATCH", "/api/projects/demo", {"containerToken": SECRET})
    assert (await project.call("GET", "/info")).status == 200


async def test_a_secret_does_not_go_with_its_project_to_another_address(
    gateway: Gateway, host: str, tmp_path: Path
) -> None:
    project = await gateway.register(host, containerToken=SECRET)
    async with host_with("another-secret", tmp_path / "two") as other:
        answer = await gateway.call("PATCH", "/api/projects/demo", {"acpUrl": other})
        assert answer.status == 400
        assert answer.json["detail"].startswith("$.containerToken: ")
        assert (await shown(gateway))["acpUrl"] == host
        moved = {"acpUrl": other, "containerToken": "another-secret"}
        assert (await gateway.call("PATCH", "/api/projects/demo", moved)).status == 200
        assert (await project.call("GET", "/info")).status == 200
        # What does not change where it goes may change alone.
        assert (await gateway.call("PATCH", "/api/projects/demo", {"acpUrl": other, "name": "x"})).status == 200


@pytest.mark.parametrize(
    "theft",
    [
        "update projects set acp_url = 'http://127.0.0.1:1' where id = 'demo' returning 1",
        "update projects t set sealed_container_token = d.sealed_container_token, container_token_key_id ="
        " d.container_token_key_id from projects d where d.id = 'demo' and t.id = 'thief' returning 1",
    ],
    ids=["the address changed", "the secret copied to another project"],
)
async def test_a_secret_that_was_moved_in_the_database_does_not_open(
    gateway: Gateway, host: str, database_url: str, theft: str
) -> None:
    demo = await gateway.register(host, containerToken=SECRET)
    thief = await gateway.register(host, "thief", containerToken="x")
    assert ask(database_url, theft)
    project = thief if "thief" in theft else demo
    await gateway.call("PATCH", f"/api/projects/{project.id}", {"name": "looked up anew"})
    for call in (("GET", "/info"), ("POST", "/agents/demo/spawn", {})):
        answer = await project.call(*call)
        assert (answer.status, answer.json["code"]) == (503, "secret_unreadable")


async def test_without_a_vault_key_no_secret_is_taken_and_nothing_is_half_done(database_url: str, host: str) -> None:
    async with GatewayProcess(database_url, QUICK).configured(vault=VaultConfig()).run() as gateway:
        body = {"id": "demo", "containerUrl": host, "acpUrl": host, "containerToken": SECRET}
        answer = await gateway.call("POST", "/api/projects", body)
        assert (answer.status, answer.json["code"]) == (503, "vault_not_configured")
        assert "acp-gateway key new" in answer.json["detail"]
        assert (await gateway.call("GET", "/api/projects/demo")).status == 404
        await gateway.register(host)
        answer = await gateway.call("PATCH", "/api/projects/demo", {"containerToken": SECRET, "name": "new"})
        assert (answer.status, answer.json["code"]) == (503, "vault_not_configured")
        assert (await shown(gateway))["name"] == "demo"


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "ümlaut", "x" * 4097, 7])
async def test_what_cannot_stand_in_a_header_is_no_secret(gateway: Gateway, host: str, token: Any) -> None:
    body = {"containerUrl": host, "acpUrl": host, "containerToken": token}
    answer = await gateway.call("POST", "/api/projects", body)
    assert (answer.status, answer.json["code"]) == (400, "invalid_body")
    assert "$.containerToken: " in answer.json["detail"]
