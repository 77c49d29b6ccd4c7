"""The Python client against running gateways: calls sent again, streams that miss nothing."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
from acp_session_gateway_client import Client, Events, EventsMissing, Refused, StreamEvent, Unreachable
from acp_session_gateway_client import client as client_module

from tests.clients.cluster import PROMPT, SAID, cluster
from tests.clients.unruly import unruly
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.handlers.expected import rows
from tests.world import QUICK, Gateway, GatewayProcess, Project

API = Path(__file__).parents[1] / "docs" / "api.md"
#: What a proxy between a client and the gateway may answer in its place.
IN_ITS_PLACE = [
    (502, "text/html", "<h1>Bad Gateway</h1>"),
    (404, "text/html", "<h1>Not Found</h1>"),
    (401, "text/plain", "sign in"),
    (403, "application/json", '{"error": "not from here", "code": 403}'),
    (200, "text/html", "<h1>Sign in to the network of the hotel</h1>"),
    (302, "text/plain", ""),
]


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[Client]:
    async with Client(gateway.url) as opened:
        yield opened


@pytest.fixture
async def demo(gateway: Gateway, agent_host: str) -> Project:
    return await gateway.register(agent_host, defaultAgentId="demo")


async def until(events: Events, type: str) -> list[StreamEvent]:
    found = []
    async for event in events:
        found.append(event)
        if event.type == type:
            return found
    raise AssertionError("the stream ended")


async def test_a_prompt_and_what_came_of_it(gateway: Gateway, client: Client, agent_host: str) -> None:
    await gateway.register(agent_host, defaultAgentId="demo")
    project = client.project("demo")
    session = await project.create_session(title="first")
    begun = await project.prompt(session["id"], "permission")
    events = project.events(session["id"], after=begun["cursor"])
    asked = (await until(events, "permission_request"))[-1]
    assert [one["id"] for one in await project.permissions()] == [asked.data["permissionId"]]
    await project.answer(asked.data["permissionId"], granted=True)
    assert (await until(events, "turn_ended"))[-1].data["outcome"] == "completed"


async def test_what_is_refused_is_told_with_its_code(client: Client) -> None:
    with pytest.raises(Refused, match="There is no project") as refused:
        await client.project("nothing").permissions()
    assert (refused.value.answered, refused.value.reason) == (404, "project_not_found")


async def test_what_does_not_pass_by_itself_is_told_at_once(
    gateway: Gateway, client: Client, agent_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.register(agent_host)
    monkeypatch.setattr(client_module, "_pause", lambda attempt: pytest.fail("it was to be sent again"))
    with pytest.raises(Refused, match="not found in PATH") as refused:
        await client.project("demo").create_session(agentId="qoder")
    assert refused.value.reason == "agent_unavailable"


async def test_an_address_where_nobody_answers_is_named(unused_tcp_port: int) -> None:
    async with Client(f"http://127.0.0.1:{unused_tcp_port}") as client:
        with pytest.raises(Unreachable, match=f"127.0.0.1:{unused_tcp_port}"):
            await client.call("POST", "/api/projects", {})


async def test_each_event_comes_once_through_kills_and_restarts(
    database_url: str, tmp_path: Path, agent_host: str
) -> None:
    async with asyncio.timeout(100), cluster(database_url, tmp_path) as gateways:
        session = await (await gateways.register(agent_host)).create_session()
        async with Client(gateways.urls[0]) as client:
            project = client.project("demo")
            received: list[StreamEvent] = []
            reading = asyncio.create_task(_read(project.events(from_start=True), received))
            await gateways.project().prompt(session, PROMPT, wait=None)
            await eventually(lambda: len(received) >= 20)
            await gateways.kill(0)
            await gateways.start(0)
            async with asyncio.timeout(60):
                await reading
    assert [event.cursor.seq for event in received] == list(range(1, len(received) + 1))
    updates = [event.data["update"] for event in received if event.type == "session_update"]
    said = [one["content"]["text"] for one in updates if one["sessionUpdate"] == "agent_message_chunk"]
    assert said == SAID


async def _read(events: Events, into: list[StreamEvent]) -> None:
    async for event in events:
        into.append(event)
        if event.type == "turn_ended":
            return


async def test_the_example_of_the_documentation_works(gateway: Gateway, agent_host: str) -> None:
    await gateway.register(agent_host, defaultAgentId="demo")
    [example] = re.findall(r"^```python\n(.*?)^```", API.read_text(), re.DOTALL | re.MULTILINE)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", example.replace("http://127.0.0.1:8080", gateway.url), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    assert said.decode().splitlines()[-1].endswith(" turn_ended")


async def test_a_block_that_was_lost_on_the_way_is_read_again(gateway: Gateway, agent_host: str) -> None:
    project = await gateway.register(agent_host, defaultAgentId="demo")
    session = await project.create_session()
    await project.prompt(session, "stream 9")
    async with unruly(gateway.url) as front, Client(front.url) as client:
        front.losing = {"1-4", "1-7"}
        events = await until(client.project("demo").events(from_start=True), "turn_ended")
        assert [event.cursor.seq for event in events] == list(range(1, len(events) + 1))
        assert front.losing == set()


async def test_a_hole_that_stays_is_told_and_not_passed_over(gateway: Gateway, agent_host: str) -> None:
    project = await gateway.register(agent_host, defaultAgentId="demo")
    session = await project.create_session()
    await project.prompt(session, "stream 9")
    async with unruly(gateway.url) as front, Client(front.url) as client:
        front.never = {"1-4"}
        with pytest.raises(EventsMissing, match="after 1-3"):
            await until(client.project("demo").events(from_start=True), "turn_ended")


async def test_a_reset_comes_as_an_event_and_the_stream_goes_on(gateway: Gateway, agent_host: str) -> None:
    project = await gateway.register(agent_host, defaultAgentId="demo")
    session = await project.create_session()
    async with Client(gateway.url) as client:
        events = client.project("demo").events(after="1-999")
        assert (await until(events, "reset"))[-1].data["reason"] == "beyond_head"
        await project.prompt(session, "stream 2", wait=None)
        received = [event.type for event in await until(events, "turn_ended")]
        # The agent may have started just now.
        assert next(type for type in received if type != "agent_status") == "turn_started"


@pytest.mark.parametrize("answer", IN_ITS_PLACE)
async def test_a_stream_goes_on_after_whatever_a_proxy_has_answered_in_the_gateways_place(
    gateway: Gateway, demo: Project, answer: tuple[int, str, str]
) -> None:
    session = await demo.create_session()
    async with unruly(gateway.url) as front, Client(front.url) as client:
        received: list[StreamEvent] = []
        reading = asyncio.create_task(_read(client.project("demo").events(from_start=True), received))
        await eventually(lambda: received)
        front.away, front.is_away = answer, True
        await demo.prompt(session, "stream 3")
        await eventually(lambda: front.turned_away >= 2)
        front.is_away = False
        async with asyncio.timeout(30):
            await reading
    assert [event.cursor.seq for event in received] == list(range(1, len(received) + 1))


async def test_what_the_gateway_itself_refuses_ends_a_stream(client: Client) -> None:
    with pytest.raises(Refused, match="There is no project"):
        await until(client.project("nothing").events(), "turn_ended")


@pytest.mark.parametrize("answer", IN_ITS_PLACE)
async def test_patience_ends_whatever_a_proxy_answers_in_the_gateways_place(
    gateway: Gateway, answer: tuple[int, str, str]
) -> None:
    async with unruly(gateway.url) as front, Client(front.url) as client, asyncio.timeout(15):
        front.away, front.is_away = answer, True
        with pytest.raises(Unreachable, match=front.url):
            await until(client.project("demo").events(patience=0.3), "turn_ended")
        assert front.turned_away >= 2


async def test_who_reads_a_stream_is_told_when_the_gateway_goes_away_and_when_it_is_back(
    gateway: Gateway, demo: Project
) -> None:
    await demo.create_session()
    told: list[str | None] = []
    async with unruly(gateway.url) as front, Client(front.url) as client:
        received: list[StreamEvent] = []
        events = client.project("demo").events(from_start=True, on_away=told.append)
        reading = asyncio.create_task(_read(events, received))
        await eventually(lambda: received)
        front.is_away = True
        await eventually(lambda: front.turned_away >= 2)
        assert len(told) == 1
        assert told[0]
        front.is_away = False
        await eventually(lambda: told[1:] == [None])
        reading.cancel()


async def test_a_call_whose_answer_was_lost_is_asked_for_again_for_as_long_as_it_is_worked_on(
    gateway: Gateway,
    base_container: FakeContainer,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.sessions.idempotency.WAIT_SECONDS", 0.1)
    monkeypatch.setattr(client_module, "ATTEMPTS", 2)
    await gateway.register(base_container.url, defaultAgentId="demo")
    async with unruly(gateway.url) as front, Client(front.url) as client:
        base_container.freeze()
        before = len(base_container.requests)
        front.losing_answer = lost = asyncio.Event()
        creating = asyncio.create_task(client.project("demo").create_session())
        await eventually(lambda: len(base_container.requests) > before)
        lost.set()
        await eventually(lambda: front.statuses.count(409) >= 2)
        base_container.thaw()
        session = await creating
    assert rows(database_url)["agent_sessions"] == 1
    assert session["projectId"] == "demo"


async def test_an_event_of_any_size_that_a_gateway_may_be_set_to_is_read(database_url: str, scripted_host: str) -> None:
    size = 20 * 1024 * 1024
    events = attrs.evolve(QUICK.events, max_event_bytes=64 * 1024 * 1024)
    async with GatewayProcess(database_url, attrs.evolve(QUICK, events=events)).run() as gateway:
        project = await gateway.register(scripted_host)
        session = await project.create_session(agentId="scripted")
        await project.prompt(session, json.dumps([["say", "x", size]]))
        async with Client(gateway.url) as client:
            received = await until(client.project("demo").events(from_start=True), "turn_ended")
    said = [one.data["update"]["content"]["text"] for one in received if one.type == "session_update"]
    assert [len(text) for text in said] == [size]
