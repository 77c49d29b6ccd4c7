"""A whole project: ``opencode serve`` on one side, the agent host with ``opencode acp`` on the other, one gateway."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import attrs
import pytest
import pytest_asyncio

from gateway.wire.sse import SSEParser
from tests.fakes.model import FakeModel
from tests.opencode.doors import PATIENCE, GatewayDoor
from tests.opencode.places import agent_host, gateway, opencode_serve, register

pytestmark = pytest.mark.asyncio(loop_scope="module")

TWO_THOUSAND = "".join(f"tok{n} " for n in range(2000))


@attrs.frozen(kw_only=True)
class Project:
    """One project and the ways to it: ``door`` to its agents, ``passed`` to OpenCode, ``direct`` past the gateway."""

    model: FakeModel
    door: GatewayDoor
    http: aiohttp.ClientSession
    path: str
    opencode_url: str

    def passed(self, path: str) -> str:
        return f"{self.path}/opencode{path}"

    def direct(self, path: str) -> str:
        return self.opencode_url + path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def project(
    opencode_program: Path, module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Project]:
    root = tmp_path_factory.mktemp("project")
    async with agent_host(opencode_program, root / "acp") as (model, _, _, acp_url):
        async with opencode_serve(opencode_program, root / "serve", model) as opencode_url:
            async with gateway(module_database_url) as http:
                project_id = await register(http, containerUrl=opencode_url, acpUrl=acp_url, defaultAgentId="opencode")
                async with GatewayDoor(http, project_id) as door:
                    yield Project(
                        model=model,
                        door=door,
                        http=http,
                        path=f"/api/projects/{project_id}",
                        opencode_url=opencode_url,
                    )


async def test_agents_are_listed_with_the_default(project):
    listed = await project.door.call("GET", f"{project.path}/acp/agents")
    assert listed["defaultAgentId"] == "opencode"
    assert [(agent["id"], agent["requiresAuth"]) for agent in listed["agents"]] == [("opencode", False)]


async def test_stored_message_is_the_sum_of_its_chunks(project):
    session = await project.door.create_session()
    await project.door.run(session, "stream 2000")
    messages = await project.door.messages(session)
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[0]["content"] == [{"type": "text", "text": "stream 2000"}]
    assert messages[1]["content"] == [{"type": "text", "text": TWO_THOUSAND}]


async def test_stored_tool_call_has_its_input_status_and_output(project):
    session = await project.door.create_session()
    turn = await project.door.prompt(session, "bash echo told\nsay closing")
    asked = await project.door.asked(session)
    await project.door.answer(asked, asked.option("allow_once"))
    await project.door.end(turn)
    messages = await project.door.messages(session)
    asked_and_answered = ["permission_request", "permission_resolved"]
    assert await project.door.roles(session) == ["user", "tool", *asked_and_answered, "assistant"]
    call = messages[1]["toolCall"]
    assert (call["status"], call["rawInput"]["command"]) == ("completed", "echo told")
    assert call["rawOutput"]["output"] == "told\n"


async def test_waiting_permission_is_listed_until_it_is_answered(project):
    session = await project.door.create_session()
    turn = await project.door.prompt(session, "bash echo told")
    asked = await project.door.asked(session)
    path = f"{project.path}/acp/permission"
    assert asked.id in [one["id"] for one in (await project.door.call("GET", path))["permissions"]]
    await project.door.call("POST", f"{path}/{asked.id}", {"granted": False})
    await project.door.end(turn)
    assert asked.id not in [one["id"] for one in (await project.door.call("GET", path))["permissions"]]


async def test_stream_resumed_after_any_event_brings_the_rest(project):
    session = await project.door.create_session()
    await project.door.run(session, "stream 50")
    events_path = f"{project.path}/acp/events/{session}"
    everything = await read_events(project, f"{events_path}?from=start", last="turn_ended")
    for place in (0, len(everything) // 2, len(everything) - 2):
        resumed = await read_events(
            project, events_path, last="turn_ended", headers={"Last-Event-ID": everything[place][0]}
        )
        assert resumed == everything[place + 1 :]


async def test_page_and_description_pass_byte_for_byte(project):
    for path in ("/", "/doc"):
        async with project.http.get(project.passed(path)) as passed, aiohttp.ClientSession() as http:
            async with http.get(project.direct(path)) as direct:
                assert (passed.status, await passed.read()) == (200, await direct.read())
                assert passed.headers.getall("Content-Type") == direct.headers.getall("Content-Type")


async def test_the_page_has_all_its_files_on_the_projects_own_host(project):
    """Found by hand in Chromium too: below the path prefix it stays blank, on its host it comes up."""
    own = {"Host": project.path.rpartition("/")[2] + ".localhost"}
    async with project.http.get("/", headers=own) as answer, aiohttp.ClientSession() as http:
        page = await answer.text()
        async with http.get(project.direct("/")) as direct:
            for name in ("Content-Type", "Content-Security-Policy"):
                assert answer.headers.getall(name) == direct.headers.getall(name)
    files = re.findall(r'(?:src|href)="(/[^"]+)"', page)
    assert any(name.endswith(".js") for name in files)
    for name in files:
        async with project.http.get(name, headers=own) as passed, aiohttp.ClientSession() as http:
            async with http.get(project.direct(name)) as direct:
                assert (passed.status, await passed.read()) == (200, await direct.read())
                assert passed.content_type == direct.content_type


async def test_session_api_passes(project):
    async with project.http.post(project.passed("/session"), json={"title": "from afar"}) as answer:
        assert answer.status == 200
        session = await answer.json()
    async with project.http.get(project.passed("/session")) as answer:
        assert [(one["id"], one["title"]) for one in await answer.json()] == [(session["id"], "from afar")]
    async with project.http.post(
        project.passed(f"/session/{session['id']}/message"), json={"parts": [{"type": "text", "text": "say served"}]}
    ) as answer:
        parts = (await answer.json())["parts"]
        assert [part["text"] for part in parts if part["type"] == "text"] == ["served"]
    async with project.http.delete(project.passed(f"/session/{session['id']}")) as answer:
        assert (answer.status, await answer.json()) == (200, True)


async def test_opencodes_own_errors_pass_as_they_are(project):
    path = "/session/ses_00000000000000000000000000"
    async with project.http.get(project.passed(path)) as passed, aiohttp.ClientSession() as http:
        async with http.get(project.direct(path)) as direct:
            assert passed.status == direct.status == 404
            assert await passed.read() == await direct.read()


async def test_event_stream_passes_as_it_happens(project):
    async with project.http.get(project.passed("/event"), timeout=aiohttp.ClientTimeout(sock_read=PATIENCE)) as stream:
        assert stream.content_type == "text/event-stream"
        parser, events = SSEParser(), []
        while "server.connected" not in "".join(event.data for event in events):
            read = parser.feed(await stream.content.readany())
            events += [event for event in read if event.event != "heartbeat"]
        async with project.http.post(project.passed("/session"), json={"title": "seen live"}) as answer:
            session_id = (await answer.json())["id"]
        while session_id not in "".join(event.data for event in events):
            read = parser.feed(await stream.content.readany())
            events += [event for event in read if event.event != "heartbeat"]


async def read_events(project, path, *, last, headers=None):
    """Id, type and data of a stream's events but for its heartbeats, up to the first of type ``last``."""
    parser, events = SSEParser(), []
    async with project.http.get(path, headers=headers) as stream:
        while last not in [event.event for event in events]:
            read = parser.feed(await stream.content.readany())
            events += [event for event in read if event.event != "heartbeat"]
    ended = [event.event for event in events].index(last)
    return [(event.id, event.event, event.data) for event in events[: ended + 1]]
