"""The base contract: a client that knows nothing else works."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.agenthost import bodies
from tests.agenthost.conftest import OpenHost
from tests.agenthost.hosts import Host, chunk, scripted, text_in


async def test_info_tells_capabilities_and_a_boot_id(host: Host) -> None:
    info = (await host.get("/info")).body
    assert info["capabilities"] == [
        *("event-ids", "end-turn", "permissions", "session-env", "content-blocks", "turn-ids", "modes", "load-session"),
        *("credentials", "references"),
    ]
    assert {"name", "version", "workingDirectory", "runningAgents", "activeSessions", "connectedClients"} <= info.keys()
    assert info["bootId"]


async def test_boot_id_is_another_at_every_start(open_host: OpenHost) -> None:
    async with open_host() as first, open_host() as second:
        assert (await first.get("/info")).body["bootId"] != (await second.get("/info")).body["bootId"]


async def test_agents_are_the_catalogue(host: Host) -> None:
    agents = {agent["id"]: agent for agent in (await host.get("/agents")).body["agents"]}
    assert agents.keys() >= {*("opencode", "claude-code", "codex", "gemini", "qwen-code", "copilot", "goose", "demo")}
    known = {"id", "name", "description", "requiresAuth", "status", "authenticated", "credentials"}
    assert agents["demo"].keys() == known
    assert agents["codex"]["requiresAuth"]
    assert not agents["codex"]["authenticated"]
    assert agents["demo"]["authenticated"]


async def test_agent_that_is_not_installed_is_stopped_and_says_how_to_install_it(open_host: OpenHost) -> None:
    async with open_host(environment={"PATH": "/nowhere"}) as host:
        told = "codex: program not found in PATH; install it with npm install -g @agentclientprotocol/codex-acp"
        agents = {agent["id"]: agent for agent in (await host.get("/agents")).body["agents"]}
        assert (agents["codex"]["status"], agents["codex"]["error"]) == ("stopped", told)
        for path, body in (("/agents/codex/spawn", {}), ("/session", {"agentId": "codex"})):
            answer = await host.post(path, body)
            assert (answer.status, answer.body["error"]) == (503, told)
        assert (await host.get("/agents/codex/status")).body["status"] == "stopped"


async def test_agent_is_spawned_told_of_and_stopped(host: Host) -> None:
    spawned = await host.post("/agents/scripted/spawn")
    assert spawned.body.keys() == {"id", "status", "startedAt"}
    assert spawned.body["status"] == "running"
    assert (await host.get("/info")).body["runningAgents"] == 1
    await host.session()
    status = (await host.get("/agents/scripted/status")).body
    assert (status["status"], status["sessionCount"], status["error"]) == ("running", 1, None)
    assert (await host.post("/agents/scripted/stop")).body == {"id": "scripted", "status": "stopped"}
    assert (await host.get("/agents/scripted/status")).body["status"] == "stopped"


async def test_agent_status_is_told_once_for_each_change(host: Host) -> None:
    await host.post("/agents/scripted/spawn")
    await host.session()
    await host.post("/agents/scripted/stop")
    told = [one.data["status"] for one in await host.everything() if one.type == "agent_status"]
    assert told == ["starting", "running", "stopped"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/agents/nobody/spawn", 404),
        ("POST", "/agents/nobody/stop", 404),
        ("GET", "/agents/nobody/status", 404),
        ("POST", "/agents/nobody/auth/init", 404),
        ("GET", "/session/nobody", 404),
        ("DELETE", "/session/nobody", 404),
        ("POST", "/session/nobody/prompt", 404),
        ("POST", "/session/nobody/cancel", 404),
        ("POST", "/session/nobody/load", 404),
        ("GET", "/events/nobody", 404),
        ("GET", "/nothing", 404),
        ("PUT", "/session", 405),
    ],
)
async def test_what_is_not_there_is_said_in_the_envelope(host: Host, method: str, path: str, status: int) -> None:
    async with host.http.request(method, path) as response:
        envelope = await response.json()
    assert (response.status, envelope["success"]) == (status, False)
    assert isinstance(envelope["error"], str)


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/session", {"agentId": "nobody"}, "$.agentId"),
        ("/session", {}, "$.agentId"),
        ("/session", {"agentId": 5}, "$.agentId"),
        ("/session", {"agentId": "scripted", "model": "x"}, "$.model"),
        ("/session", {"agentId": "scripted", "workingDirectory": "missing"}, "missing"),
        ("/session", {"agentId": "scripted", "workingDirectory": "../.."}, "outside the workspace"),
        ("/session", {"agentId": "scripted", "env": {"A=B": "c"}}, "$.env"),
        ("/session", {"agentId": "scripted", "env": {"A": 1}}, "$.env"),
        ("/session", {"agentId": "scripted", "mcpServers": {}}, "$.mcpServers"),
        ("/session", [], "$"),
        ("/agents/scripted/spawn", {"env": []}, "$.env"),
        ("/agents/scripted/stop", {"force": True}, "$.force"),
        ("/agents/codex/auth/token", {"token": ""}, "$.token"),
        ("/agents/scripted/auth/token", {"token": "x"}, "takes no credential"),
        ("/permission/x", {}, "optionId"),
        ("/permission/x", {"optionId": "a", "granted": True}, "one of"),
    ],
)
async def test_wrong_body_is_refused_with_its_place(host: Host, path: str, body: object, told: str) -> None:
    answer = await host.post(path, body)
    assert answer.status == 400
    assert told in answer.body["error"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "$.prompt"),
        ({"prompt": ""}, "$.prompt"),
        ({"prompt": []}, "$.prompt"),
        ({"prompt": 5}, "$.prompt"),
        ({"prompt": ["x"]}, "$.prompt[0]"),
        ({"prompt": [{"type": "text"}]}, "$.prompt[0].text"),
        ({"prompt": [{"type": "image", "data": "", "mimeType": "image/png"}]}, "does not accept image"),
    ],
)
async def test_wrong_prompt_begins_no_turn(host: Host, body: object, told: str) -> None:
    session = await host.session()
    answer = await host.post(f"/session/{session}/prompt", body)
    assert answer.status == 400
    assert told in answer.body["error"]
    assert (await host.get(f"/session/{session}")).body["messageCount"] == 0


async def test_body_that_is_no_json_is_refused(host: Host) -> None:
    headers = {"Content-Type": "application/json"}
    async with host.http.post("/session", data=b"{", headers=headers) as response:
        assert response.status == 400


async def test_body_of_another_type_is_refused(host: Host) -> None:
    """So that a page of another origin cannot send one without a preflight."""
    async with host.http.post("/session", data=b'{"agentId":"scripted"}') as response:
        assert response.status == 415


async def test_body_that_is_too_large_is_refused(open_host: OpenHost) -> None:
    async with open_host(body_limit=1000) as host:
        assert (await host.post("/session", {"agentId": "x" * 1000})).status == 413


async def test_body_that_does_not_arrive_is_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)

    async def begins() -> AsyncIterator[bytes]:
        yield b'{"agentId":'
        await asyncio.Event().wait()

    headers = {"Content-Type": "application/json"}
    async with host.http.post("/session", data=begins(), headers=headers) as response:
        assert response.status == 408


async def test_shared_secret_is_needed_for_all_but_health(open_host: OpenHost) -> None:
    async with open_host(token="open sesame") as host:
        assert (await host.get("/health")).body["status"] == "healthy"
        assert (await host.get("/info")).status == 401
        assert (await host.get("/nothing")).status == 401
        for given, status in (("Bearer wrong", 401), ("Basic open sesame", 401), ("bearer open sesame", 200)):
            async with host.http.get("/info", headers={"Authorization": given}) as response:
                assert response.status == status


async def test_shared_secret_is_not_in_the_configuration_s_text(open_host: OpenHost) -> None:
    async with open_host(token="open sesame", environment={"PATH": "/usr/hidden"}) as host:
        assert "sesame" not in repr(host.config)
        assert "hidden" not in repr(host.config)


async def test_session_is_listed_until_it_is_deleted(host: Host) -> None:
    session = await host.session()
    await host.run(session, chunk("hello"))
    (listed,) = (await host.get("/sessions")).body["sessions"]
    assert listed == (await host.get(f"/session/{session}")).body
    assert listed.keys() >= {"id", "agentId", "status", "createdAt", "lastActivity", "messageCount"}
    assert (listed["status"], listed["messageCount"]) == ("idle", 1)
    assert (await host.delete(f"/session/{session}")).body == {"id": session, "status": "ended"}
    assert (await host.get(f"/session/{session}")).status == 404
    assert (await host.get("/sessions")).body["sessions"] == []


async def test_session_works_in_the_directory_it_names(host: Host) -> None:
    (host.workspace / "inner").mkdir()
    answer = await host.post("/session", {"agentId": "scripted", "workingDirectory": "inner"})
    assert answer.body["workingDirectory"] == str(host.workspace.resolve() / "inner")


async def test_prompt_of_the_base_contract_answers_when_the_turn_is_over(host: Host) -> None:
    session = await host.session()
    async with host.events() as events:
        answer = await host.run(session, chunk("done"))
        assert answer.status == 200
        assert (answer.body["id"], answer.body["status"]) == (session, "processing")
        assert text_in(await events.until("session_end_turn")) == "done"


async def test_text_is_taken_where_there_is_no_prompt(host: Host) -> None:
    session = await host.session()
    answer = await host.post(f"/session/{session}/prompt", {"text": '[["answer", {"stopReason": "refusal"}]]'})
    assert answer.body["stopReason"] == "refusal"


async def test_turn_goes_on_when_its_request_is_dropped(host: Host) -> None:
    session = await host.session()
    async with host.events() as events:
        dropped = asyncio.create_task(host.run(session, chunk("begun"), ["until-cancel"], chunk("still here")))
        await events.until("session_update")
        dropped.cancel()
        await asyncio.wait([dropped])
        assert (await host.get(f"/session/{session}")).body["status"] == "processing"
        await host.post(f"/session/{session}/cancel")
        assert text_in(await events.until("session_end_turn")) == "still here"


async def test_cancel_without_a_turn_is_idle(host: Host) -> None:
    session = await host.session()
    assert (await host.post(f"/session/{session}/cancel", {})).body == {"id": session, "status": "idle"}


async def test_token_is_given_to_the_agent_s_next_process(open_host: OpenHost) -> None:
    spec = scripted("keyed", credentials=("KEYED_TOKEN", "OTHER_TOKEN"), requires_auth=True)
    async with open_host(spec) as host:
        assert (await host.get("/agents/keyed/auth/status")).body == {"authenticated": False}
        assert "KEYED_TOKEN" in (await host.post("/agents/keyed/auth/init")).body["message"]
        taken = await host.post("/agents/keyed/auth/token", {"token": "let me in", "expiresIn": 3600})
        assert taken.body == {"authenticated": True}
        status = (await host.get("/agents/keyed/auth/status")).body
        assert status["authenticated"]
        assert status["expiresAt"].endswith("Z")
        assert "auth_complete" in [one.type for one in await host.everything()]
