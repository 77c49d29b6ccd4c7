"""Agents: listed, started, stopped, and what is known of them while their container is away."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.container import FakeContainer
from tests.handlers.expected import problem
from tests.world import Gateway, Project, text_of

#: Nothing that PostgreSQL could compress until it fits into an index.
ENDLESS = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(200))
MEMBERS = {"id", "name", "description", "status", "stale", "requiresAuth", "authenticated", "error", "warning"}


async def test_agents_are_listed_with_their_status_and_the_projects_default(project: Project) -> None:
    before = await project.call("GET", "/agents")
    assert before.status == 200
    assert (before.json["defaultAgentId"], before.json["stale"]) == ("demo", False)
    for agent in before.json["agents"]:
        assert set(agent) == MEMBERS
        assert agent["stale"] is False
    await project.create_session()
    after = {agent["id"]: agent for agent in (await project.call("GET", "/agents")).json["agents"]}
    assert (after["demo"]["status"], after["demo"]["requiresAuth"]) == ("running", False)


async def test_an_agent_that_needs_a_login_says_so(base_project: Project, base_container: FakeContainer) -> None:
    async def locked() -> tuple[bool, bool]:
        agents = {agent["id"]: agent for agent in (await base_project.call("GET", "/agents")).json["agents"]}
        return agents["locked"]["requiresAuth"], agents["locked"]["authenticated"]

    assert await locked() == (True, False)
    base_container.agents["locked"].authenticated = True
    assert await locked() == (True, True)


async def test_an_agent_is_started_asked_after_and_stopped(project: Project) -> None:
    spawned = await project.call("POST", "/agents/demo/spawn", {})
    assert (spawned.status, spawned.json["id"], spawned.json["status"]) == (200, "demo", "running")
    assert (await project.call("POST", "/agents/demo/spawn")).status == 200
    status = await project.call("GET", "/agents/demo/status")
    assert (status.status, status.json["status"]) == (200, "running")
    assert "startedAt" in status.json
    stopped = await project.call("POST", "/agents/demo/stop")
    assert (stopped.status, stopped.json["status"]) == (200, "stopped")
    assert (await project.call("GET", "/agents/demo/status")).json["status"] == "stopped"


async def test_a_started_agent_has_the_variables_that_it_was_given(project: Project) -> None:
    answer = await project.call("POST", "/agents/demo/spawn", {"env": {"COLOUR": "grün"}})
    assert "grün" not in answer.body.decode()
    session = await project.create_session()
    await project.prompt(session, "env COLOUR")
    assert "COLOUR=grün" in text_of(await project.all_events(session))


async def test_stopping_an_agent_fails_its_turn(project: Project) -> None:
    session = await project.create_session()
    async with project.events(session) as stream:
        started = await project.prompt(session, "say on\nslow 60", wait=None)
        await stream.until("session_update")
        assert (await project.call("POST", "/agents/demo/stop")).status == 200
        ended = (await stream.until("turn_ended"))[-1]
    assert started["turnId"] in ended.data
    assert '"outcome":"failed"' in ended.data


async def test_an_unknown_agent_is_404_on_every_route_and_nothing_is_started(project: Project) -> None:
    for method, path in (("POST", "spawn"), ("POST", "stop"), ("GET", "status")):
        answer = await project.call(method, f"/agents/nobody/{path}")
        problem(answer, 404, "agent_not_found", says="'nobody' (it knows: ")
    agents = (await project.call("GET", "/agents")).json["agents"]
    assert all(agent["status"] == "stopped" for agent in agents)


async def test_what_was_known_is_told_as_stale_while_the_container_is_away(
    base_project: Project, base_container: FakeContainer
) -> None:
    await base_project.create_session()
    known = (await base_project.call("GET", "/agents")).json
    await base_container.refuse()
    away = await base_project.call("GET", "/agents")
    assert (away.status, away.json["stale"], away.json["defaultAgentId"]) == (200, True, "demo")
    told = {agent["id"]: agent for agent in away.json["agents"]}
    assert told == {agent["id"]: agent | {"stale": True} for agent in known["agents"]}
    assert told["demo"]["status"] == "running"
    await base_container.listen()
    assert (await base_project.call("GET", "/agents")).json == known


async def test_agents_that_nobody_has_ever_told_of_are_a_failure_of_the_container(
    base_project: Project, base_container: FakeContainer
) -> None:
    await base_container.refuse()
    problem(await base_project.call("GET", "/agents"), 503, "upstream_refused", says="refused the connection")


async def test_starting_and_stopping_is_a_failure_while_the_container_is_away(
    base_project: Project, base_container: FakeContainer
) -> None:
    await base_project.call("GET", "/agents")
    await base_container.refuse()
    for method, path in (("POST", "spawn"), ("POST", "stop"), ("GET", "status")):
        problem(await base_project.call(method, f"/agents/demo/{path}"), 503, "upstream_refused")


async def test_an_agent_that_does_not_start_says_why(base_project: Project, base_container: FakeContainer) -> None:
    base_container.fail_next("/agents/demo/spawn", "spawn demo ENOENT")
    document = problem(
        await base_project.call("POST", "/agents/demo/spawn"), 502, "upstream_failed", says="spawn demo ENOENT"
    )
    assert document["upstreamStatus"] == 500


async def test_an_answer_that_breaks_off_is_a_failure_of_the_container(
    base_project: Project, base_container: FakeContainer
) -> None:
    base_container.die_in_next_answer()
    problem(await base_project.call("GET", "/agents"), 502, "upstream_unreachable")


async def test_an_answer_counts_also_where_a_text_in_it_is_not_utf_8(
    base_project: Project, base_container: FakeContainer
) -> None:
    session = await base_project.create_session()
    base_container.agents["demo"].name = "caf\xe9"
    base_container.encoding = "latin-1"
    [demo] = [one for one in (await base_project.call("GET", "/agents")).json["agents"] if one["id"] == "demo"]
    assert demo["name"] == "caf\ufffd"
    assert (await base_project.prompt(session, "say h\xe9llo"))["turn"]["state"] == "completed"


async def test_a_directory_outside_the_workspace_is_the_callers_mistake(host_project: Project, tmp_path: Path) -> None:
    for directory in ("..", "/", "missing", str(tmp_path)):
        body = {"workingDirectory": directory}
        answer = await host_project.call("POST", "/agents/demo/spawn", body)
        problem(answer, 400, "refused_by_container", says="workspace")
        answer = await host_project.call("POST", "/session", body)
        problem(answer, 400, "refused_by_container", says="workspace")
    assert (await host_project.call("GET", "/session?includeEnded")).json["sessions"] == []


async def test_two_projects_on_one_container_have_their_own_defaults(
    gateway: Gateway, base_project: Project, base_container: FakeContainer
) -> None:
    other = await gateway.register(base_container.url, id="other", defaultAgentId="opencode")
    assert (await base_project.call("GET", "/agents")).json["defaultAgentId"] == "demo"
    assert (await other.call("GET", "/agents")).json["defaultAgentId"] == "opencode"


async def test_other_variables_for_an_agent_in_the_middle_of_a_turn_are_a_conflict_in_the_container(
    host_project: Project,
) -> None:
    session = await host_project.create_session()
    await host_project.prompt(session, "slow 30", wait=None)
    answer = await host_project.call("POST", "/agents/demo/spawn", {"env": {"COLOUR": "red"}})
    problem(answer, 409, "conflict_in_container", says="demo is running a turn")
    await host_project.call("POST", f"/session/{session}/cancel")


@pytest.fixture
def empty_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


async def test_an_agent_that_nobody_has_installed_says_how_to(empty_path: None, host_project: Project) -> None:
    for path, body in (("/agents/goose/spawn", {}), ("/session", {"agentId": "goose"})):
        problem(
            await host_project.call("POST", path, body), 503, "agent_unavailable", says="not found in PATH; install"
        )


async def test_503_of_whatever_stands_before_a_container_is_a_failure_of_the_container(
    base_project: Project, base_container: FakeContainer
) -> None:
    base_container.fail_next("/agents/demo/spawn", "no such upstream", status=503)
    document = problem(await base_project.call("POST", "/agents/demo/spawn"), 502, "upstream_failed")
    assert document["upstreamStatus"] == 503


class EndlessNames(FakeContainer):
    """Has ids that no index takes: of an agent, of its sessions, in its events."""

    async def list_agents(self, request: web.Request) -> Any:
        listed = (await super().list_agents(request))["agents"]
        return {"agents": [*listed, {**listed[0], "id": ENDLESS}]}

    async def create_session(self, request: web.Request) -> Any:
        return {**(await super().create_session(request)), "id": ENDLESS}


async def test_ids_that_cannot_be_stored_are_the_containers_mistake(gateway: Gateway) -> None:
    async with EndlessNames() as container:
        project = await gateway.register(container.url)
        agents = (await project.call("GET", "/agents")).json["agents"]
        assert [agent["id"] for agent in agents] == ["demo", "opencode", "locked"]
        problem(await project.call("POST", "/session", {"agentId": "demo"}), 502, "upstream_failed")
        async with project.events(query="?from=start") as stream:
            container.emit("agent_status", {"agentId": ENDLESS, "status": "running"}, agent_id=ENDLESS)
            assert ENDLESS in (await stream.until("container_event"))[-1].data
