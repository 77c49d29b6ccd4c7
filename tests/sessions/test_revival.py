"""Sessions that their container has lost go on, and the log says how."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.agenthost.app import AgentHostConfig
from gateway.agenthost.app import build_app as build_agent_host
from gateway.agenthost.catalogue import AgentSpec
from gateway.projects.room import PROJECTS
from gateway.server.run import bind, serving
from gateway.sessions.room import SESSIONS
from tests.agenthost.hosts import scripted
from tests.conftest import administer
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.replica import replica
from tests.sessions.everything import everything
from tests.world import QUICK, Gateway, GatewayProcess, Project, data_of, text_of

#: While this stands no gateway can store that a session was taken up.
NOT_RESTORED_YET = """
create function not_yet() returns trigger language plpgsql as $$ begin raise exception 'not yet'; end $$;
create trigger not_yet before insert on events for each row when (new.type = 'session_restored')
    execute function not_yet();
"""


@attrs.define
class Hosts:
    """Agent hosts one after the other, at one address and on one workspace and home."""

    root: Path
    agents: dict[str, AgentSpec] = attrs.field(factory=dict)
    port: int = 0

    @asynccontextmanager
    async def run(self) -> AsyncIterator[str]:
        workspace = self.root / "workspace"
        workspace.mkdir(exist_ok=True)
        environment = {**os.environ, "XDG_STATE_HOME": str(self.root / "state")}
        config = AgentHostConfig(workspace=workspace, environment=environment)
        config = attrs.evolve(config, catalogue={**config.catalogue, **self.agents})
        sock = bind("127.0.0.1", self.port, purpose="the test's agent host", option="")
        async with serving(build_agent_host(config), sock, shutdown_timeout=1):
            self.port = sock.getsockname()[1]
            yield f"http://127.0.0.1:{self.port}"


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


async def restorations(project: Project, session: str) -> list[dict[str, Any]]:
    return [data_of(event) for event in await everything(project, session) if event.event == "session_restored"]


async def prompts_so_far(project: Project, session: str) -> int:
    """How many prompts the demo agent remembers in this session, with the one that asks."""
    await project.prompt(session, "session")
    found = re.findall(r"prompts=(\d+)", text_of(await everything(project, session)))
    return int(found[-1])


async def texts(project: Project, session: str, role: str) -> list[str]:
    messages = await project.messages(session)
    return ["".join(block["text"] for block in one["content"]) for one in messages if one["role"] == role]


async def test_an_agent_host_that_starts_anew_loads_the_session_and_nothing_is_told_twice(
    gateway: Gateway, hosts: Hosts
) -> None:
    async with hosts.run() as url:
        project = await gateway.register(url)
        session = await project.create_session()
        await project.prompt(session, "say first")
    async with hosts.run():
        assert await prompts_so_far(project, session) == 2
    (restored,) = await restorations(project, session)
    assert (restored["how"], restored["reason"], restored["forgotten"]) == ("load", "container_restarted", [])
    assert await texts(project, session, "user") == ["say first", "session"]
    assert (await texts(project, session, "assistant"))[0] == "first"
    assert text_of(await everything(project, session)).count("first") == 1


async def test_a_session_is_loaded_after_every_restart_and_goes_on_under_its_id(gateway: Gateway, hosts: Hosts) -> None:
    async with hosts.run() as url:
        project = await gateway.register(url)
        session = await project.create_session()
    for number in (1, 2):
        async with hosts.run():
            assert await prompts_so_far(project, session) == number
    assert [restored["how"] for restored in await restorations(project, session)] == ["load"] * 2


async def test_of_two_prompts_one_loads_the_lost_session(gateway: Gateway, hosts: Hosts) -> None:
    async with hosts.run() as url:
        project = await gateway.register(url)
        session = await project.create_session()
    async with hosts.run():
        # Its turn lasts, or a prompt that comes late would find the session free.
        path, body, headers = f"/session/{session}/prompt", {"prompt": "session\nslow 3"}, {"Prefer": "wait=20"}
        answers = await asyncio.gather(*(project.call("POST", path, body, headers=headers) for _ in range(4)))
        assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
    assert len(await restorations(project, session)) == 1


async def test_an_agent_whose_process_died_remembers_and_the_log_says_so(gateway: Gateway, hosts: Hosts) -> None:
    async with hosts.run() as url:
        project = await gateway.register(url)
        session = await project.create_session()
        await project.prompt(session, "say first\ncrash")
        assert await prompts_so_far(project, session) == 2
    (restored,) = await restorations(project, session)
    assert (restored["how"], restored["reason"]) == ("load", "agent_restarted")


async def test_an_agent_that_can_only_resume_resumes(gateway: Gateway, hosts: Hosts) -> None:
    script = {
        "initialize": {"protocolVersion": 1, "agentCapabilities": {"sessionCapabilities": {"resume": {}}}},
        "session/resume": {},
        "log": str(hosts.root / "log"),
    }
    hosts.agents["keeper"] = scripted("keeper", script=script)
    async with hosts.run() as url:
        project = await gateway.register(url)
        session = await project.create_session(agentId="keeper")
    async with hosts.run():
        await project.prompt(session, '[["say", "back", 1]]')
    (restored,) = await restorations(project, session)
    assert (restored["how"], restored["forgotten"]) == ("resume", [])
    said = [json.loads(line) for line in (hosts.root / "log").read_text().splitlines()]
    (resumed,) = [one["params"] for one in said if one.get("method") == "session/resume"]
    (prompted,) = [one["params"] for one in said if one.get("method") == "session/prompt"]
    assert resumed["sessionId"] == prompted["sessionId"]


@pytest.mark.parametrize(
    ("capabilities", "says"), [({}, "neither load nor resume"), ({"loadSession": True}, "no such thing")]
)
async def test_an_agent_that_cannot_begins_anew_and_the_log_says_what_is_forgotten(
    gateway: Gateway, hosts: Hosts, capabilities: dict[str, Any], says: str
) -> None:
    script = {
        "initialize": {"protocolVersion": 1, "agentCapabilities": capabilities},
        "load": {"error": {"code": -32602, "message": "no such thing"}},
    }
    hosts.agents["loser"] = scripted("loser", script=script)
    async with hosts.run() as url:
        project = await gateway.register(url)
        servers = [{"name": "docs", "command": "docs", "args": [], "env": [{"name": "KEY", "value": "canary-9"}]}]
        session = await project.create_session(agentId="loser", mcpServers=servers)
    async with hosts.run():
        await project.prompt(session, '[["say", "back", 1]]')
    events = await everything(project, session)
    (restored,) = [data_of(event) for event in events if event.event == "session_restored"]
    assert (restored["how"], restored["forgotten"]) == ("new", ["conversation", "mcpServers"])
    assert says in restored["message"]
    assert text_of(events) == "back"
    assert "canary-9" not in "".join(event.data for event in events)


async def test_a_session_that_cannot_be_taken_up_yet_is_left_for_the_next_prompt(
    gateway: Gateway, hosts: Hosts
) -> None:
    async with hosts.run() as url:
        project = await gateway.register(url)
        session = await project.create_session()
    broken = attrs.evolve(AgentHostConfig(workspace=hosts.root).catalogue["demo"], command=("false",))
    hosts.agents["demo"] = broken
    async with hosts.run():
        # A gateway that has not seen the restart yet takes the prompt, and the turn's end tells what went wrong.
        path, headers = f"/session/{session}/prompt", {"Prefer": "wait=30"}
        answer = await project.call("POST", path, {"prompt": "say no"}, headers=headers)
        assert answer.status == 502 or answer.json["turn"]["state"] == "failed", answer.body
    del hosts.agents["demo"]
    async with hosts.run():
        assert await prompts_so_far(project, session) == 1
    assert [restored["how"] for restored in await restorations(project, session)] == ["load"]


async def test_a_gateway_that_starts_anew_finds_the_sessions_where_they_were(
    database_url: str, container_url: str
) -> None:
    gateways = GatewayProcess(database_url, QUICK)
    async with gateways.run() as first:
        project = await first.register(container_url)
        session = await project.create_session()
        await project.prompt(session, "say first")
    async with gateways.run() as second:
        project = Project(second, "demo")
        await project.prompt(session, "say second")
        assert await restorations(project, session) == []
        assert text_of(await everything(project, session)) == "firstsecond"


async def test_a_session_that_a_base_container_forgot_begins_anew(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url)
    session = await project.create_session()
    await project.prompt(session, "say first")
    for known in list(base_container.sessions):
        base_container.forget(known)
    await project.prompt(session, "say second")
    (restored,) = await restorations(project, session)
    assert (restored["how"], restored["reason"]) == ("new", "container_forgot")
    assert restored["forgotten"] == ["conversation"]


async def test_a_session_of_a_base_containers_dead_agent_begins_anew(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url)
    session = await project.create_session()
    await base_container.kill_agent("demo")
    await project.prompt(session, "say second")
    (restored,) = await restorations(project, session)
    assert (restored["how"], restored["reason"]) == ("new", "agent_restarted")


async def test_a_session_that_a_gateway_died_over_is_taken_up_by_another(
    database_url: str, hosts: Hosts, tmp_path: Path
) -> None:
    log = hosts.root / "log"
    able = {"initialize": {"protocolVersion": 1, "agentCapabilities": {"loadSession": True}}, "load": {}}
    hosts.agents["keeper"] = scripted("keeper", script=able)
    config = attrs.evolve(QUICK, events=attrs.evolve(QUICK.events, lease=1))
    async with GatewayProcess(database_url, config).run() as survivor:
        async with hosts.run() as url:
            project = await survivor.register(url)
            session = await project.create_session(agentId="keeper")
        body = {"prompt": '[["say", "back", 1]]'}
        path = f"/session/{session}/prompt"
        hosts.agents["keeper"] = scripted("keeper", script={**able, "hang": "session/load", "log": str(log)})
        async with hosts.run(), replica(database_url, tmp_path) as doomed:
            asking = asyncio.create_task(Project(doomed.gateway, "demo").call("POST", path, body))
            await eventually(lambda: log.exists() and "session/load" in log.read_text())
            assert (await project.call("POST", path, body)).status == 409
            await doomed.kill()
            await asyncio.gather(asking, return_exceptions=True)
        hosts.agents["keeper"] = scripted("keeper", script=able)
        async with hosts.run():
            async with asyncio.timeout(20):
                answer = await project.call("POST", path, body, headers={"Prefer": "wait=10"})
                while answer.status == 409:  # until the lease of the dead one has run out
                    await asyncio.sleep(0.1)
                    answer = await project.call("POST", path, body, headers={"Prefer": "wait=10"})
            assert answer.json["turn"]["state"] == "completed"
        assert [restored["how"] for restored in await restorations(project, session)] == ["load"]


async def test_a_session_whose_taking_up_could_not_be_stored_is_taken_up_by_the_next_prompt(
    gateway: Gateway, base_container: FakeContainer, database_url: str
) -> None:
    project = await gateway.register(base_container.url)
    session = await project.create_session()
    base_container.forget(next(iter(base_container.sessions)))
    administer(database_url, NOT_RESTORED_YET)
    failed = (await project.prompt(session, "say no"))["turn"]
    assert (failed["state"], failed["failure"]) == ("failed", "session_lost")
    administer(database_url, "drop function not_yet cascade")
    await project.prompt(session, "say yes")
    assert text_of(await everything(project, session)) == "yes"


async def test_a_session_that_was_taken_up_while_it_is_ended_is_ended_in_the_container(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url)
    session, app = await project.create_session(), gateway.app
    owner = await app[PROJECTS].store.get("local", project.id)
    before = await app[SESSIONS].sessions.get(project.id, session)
    base_container.forget(next(iter(base_container.sessions)))
    await project.prompt(session, "say back")
    await app[SESSIONS].sessions.end(owner, before, "local")
    assert not base_container.sessions
