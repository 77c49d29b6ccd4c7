"""A real OpenCode's own events, recorded: what a client gets by the gateway is what a reader at OpenCode's door got."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
import pytest_asyncio

from gateway.wire.opencode import API_EVENT, GLOBAL_EVENT
from gateway.wire.sse import SSEEvent, SSEParser
from tests.fakes.eventually import eventually
from tests.fakes.model import FakeModel
from tests.fakes.relay import Relay
from tests.machine import Missing, npm_packages, program
from tests.opencode.doors import PATIENCE
from tests.opencode.install import VERSION
from tests.opencode.places import gateway, opencode_serve
from tests.opencode.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

#: What a stream says of itself, and the gateway of its reader.
OF_STREAMS = ("server.connected", "server.heartbeat", "gateway.gap")
LONG = {"sock_read": PATIENCE, "total": None}


@attrs.define
class Reader:
    """Reads an event stream of OpenCode's form to its end."""

    url: str
    headers: dict[str, str] = attrs.field(factory=dict)
    blocks: list[SSEEvent] = attrs.field(factory=list)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["Reader"]:
        """From its first block on."""
        task = asyncio.create_task(self._read())
        try:
            await eventually(lambda: self.blocks or (task.done() and task.result()), within=PATIENCE)
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _read(self) -> None:
        parser = SSEParser()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(**LONG)) as http:
            async with http.get(self.url, headers=self.headers) as response:
                assert response.status == 200, await response.read()
                async for piece in response.content.iter_any():
                    self.blocks += [event for event in parser.feed(piece) if isinstance(event, SSEEvent)]

    def told(self) -> list[str]:
        return [block.data for block in self.blocks if type_of(block.data) not in OF_STREAMS]

    def has(self, type: str, times: int = 1) -> bool:
        return [type_of(data) for data in self.told()].count(type) >= times


def type_of(data: str) -> str:
    """The type of an event, whichever stream's form it has."""
    value = json.loads(data)
    return str(value.get("payload", value)["type"])


@attrs.frozen(kw_only=True)
class Project:
    """A project whose OpenCode is recorded; ``direct`` reads at OpenCode's own door from the beginning."""

    model: FakeModel
    http: aiohttp.ClientSession
    second: aiohttp.ClientSession
    url: str
    opencode_url: str
    workspace: Path
    direct: Reader

    def stream(self, last_event_id: str | None = None, query: str = "") -> Reader:
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        return Reader(f"{self.url}/event{query}", headers)

    async def create_session(self) -> str:
        async with self.http.post(f"{self.url}/session", json={"title": "recorded"}) as answer:
            assert answer.status == 200, await answer.text()
            return str((await answer.json())["id"])

    async def prompt(self, session: str, text: str) -> None:
        body = {"parts": [{"type": "text", "text": text}]}
        async with self.http.post(f"{self.url}/session/{session}/prompt_async", json=body) as answer:
            assert answer.status == 204, await answer.text()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def project(
    opencode_program: Path, module_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Project]:
    root = tmp_path_factory.mktemp("recorded")
    async with FakeModel() as model, opencode_serve(opencode_program, root, model) as opencode_url:
        async with gateway(module_database_url) as http, gateway(module_database_url) as second:
            # It has no ACP port at all.
            body = {"id": "recorded", "containerUrl": opencode_url, "acpUrl": "http://127.0.0.1:1"}
            async with http.post("/api/projects", json={**body, "recordOpencodeEvents": True}) as answer:
                assert answer.status == 201, await answer.text()
            base = str(http._base_url).rstrip("/")
            async with Reader(f"{opencode_url}/event").reading() as direct:
                yield Project(
                    model=model,
                    http=http,
                    second=second,
                    url=f"{base}/api/projects/recorded/opencode",
                    opencode_url=opencode_url,
                    workspace=World(root=root).workspace,
                    direct=direct,
                )


async def test_a_client_that_is_dropped_in_the_middle_of_a_turn_has_all_of_it_when_it_comes_back(
    project: Project,
) -> None:
    begun = len(project.direct.told())
    session = await project.create_session()
    async with project.stream().reading() as first:
        await project.prompt(session, "stream 300\nhold\nstream 300\nsay the end")
        await eventually(lambda: project.model.holding == 1, within=PATIENCE)
        await eventually(lambda: first.has("message.part.delta", 300), within=PATIENCE)
    assert first.blocks[0].id is not None
    project.model.release()
    await eventually(lambda: project.direct.has("session.idle"), within=PATIENCE)
    async with project.stream(first.blocks[-1].id).reading() as second:
        await eventually(lambda: second.has("session.idle"), within=PATIENCE)
        # Something that is told last, so that all before it has come.
        before, wanted = len(project.direct.told()), project.direct.told
        await project.create_session()
        await eventually(lambda: any("session.created" in one for one in wanted()[before:]), within=PATIENCE)
        await eventually(lambda: wanted()[-1] == second.told()[-1], within=PATIENCE)
    told = first.told() + second.told()
    assert told == [data for data in project.direct.told()[begun:] if data in set(told)]
    assert told[-1] == project.direct.told()[-1]
    assert len(told) == len(set(told)) > 600
    # The session was made before there was a stream; from the first block on nothing is missing.
    assert project.direct.told()[-len(told) :] == told


async def test_a_resumed_stream_is_the_same_at_any_gateway_and_from_any_place(project: Project) -> None:
    session = await project.create_session()
    async with project.stream(query="?from=start").reading() as whole:
        await project.prompt(session, "bash echo told > told.txt\nsay closing")
        await eventually(lambda: whole.has("permission.asked"), within=PATIENCE)
        asked = next(json.loads(data) for data in whole.told() if json.loads(data)["type"] == "permission.asked")
        reply = f"{project.url}/permission/{asked['properties']['id']}/reply"
        async with project.http.post(reply, json={"reply": "once"}) as answer:
            assert answer.status == 200, await answer.text()
        idle = sum('"session.idle"' in data for data in project.direct.told())
        await eventually(lambda: whole.has("session.idle", idle + 1), within=PATIENCE)
    assert (project.workspace / "told.txt").read_text() == "told\n"
    numbered = [block for block in whole.blocks if json.loads(block.data)["type"] not in OF_STREAMS]
    other = str(project.second._base_url).rstrip("/")
    for place in (0, len(numbered) // 3, len(numbered) - 2):
        headers = {"Last-Event-ID": numbered[place].id or ""}
        reader = Reader(f"{other}/api/projects/recorded/opencode/event", headers)
        async with reader.reading() as resumed:
            await eventually(lambda seen=resumed: numbered[-1].data in seen.told(), within=PATIENCE)
        assert resumed.told()[: len(numbered) - place - 1] == [block.data for block in numbered[place + 1 :]]


async def test_the_stream_of_all_directories_is_recorded_too(project: Project) -> None:
    path = GLOBAL_EVENT.path
    async with Reader(f"{project.opencode_url}{path}").reading() as direct:
        async with Reader(project.url + path).reading() as first:
            session = await project.create_session()
            await project.prompt(session, "stream 100\nhold\nstream 100\nsay the end")
            await eventually(lambda: project.model.holding == 1, within=PATIENCE)
            await eventually(lambda: first.has("message.part.delta", 100), within=PATIENCE)
        assert first.blocks[0].id is not None
        project.model.release()
        await eventually(lambda: direct.has("session.idle"), within=PATIENCE)
        async with Reader(project.url + path, {"Last-Event-ID": first.blocks[-1].id or ""}).reading() as second:
            await eventually(lambda: direct.told()[-1] in second.told(), within=PATIENCE)
    told = first.told() + second.told()
    assert len(told) == len(set(told)) > 200
    begun = direct.told().index(told[0])
    assert told[: len(direct.told()) - begun] == direct.told()[begun:]
    assert first.has("sync")


async def test_the_stream_of_the_second_api_is_recorded_too(project: Project) -> None:
    """No turn: 1.18.33 ends this stream with a ``session.status``, which it cannot encode."""
    url = project.url + API_EVENT.path
    async with Reader(url).reading() as first:
        one = await project.create_session()
        await eventually(lambda: first.has("session.created"), within=PATIENCE)
    two = await project.create_session()
    async with Reader(url, {"Last-Event-ID": first.blocks[-1].id or ""}).reading() as second:
        await eventually(lambda: second.has("session.created"), within=PATIENCE)
    created = [data for data in first.told() + second.told() if type_of(data) == "session.created"]
    assert [one in created[0], two in created[1], len(created)] == [True, True, 2]
    assert json.loads(created[0]).keys() >= {"id", "type", "location", "data"}


@pytest.fixture(scope="module")
def sdk() -> Path:
    """The folder with OpenCode's SDK."""
    try:
        return npm_packages(f"opencode-sdk-{VERSION}", f"@opencode-ai/sdk@{VERSION}")
    except Missing as exc:
        pytest.skip(str(exc))


@asynccontextmanager
async def listening(sdk: Path, module: str, url: str, directory: str = "") -> AsyncIterator[list[Any]]:
    """What the SDK gives to a program that iterates over its events."""
    node = program("node", "install Node.js to run these tests")
    client = sdk / "node_modules" / "@opencode-ai" / "sdk" / "dist" / module
    process = await asyncio.create_subprocess_exec(
        str(node),
        str(Path(__file__).with_name("listen_sdk.mjs")),
        *(str(client), url, directory),
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    events: list[Any] = []

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            events.append(json.loads(line))

    reading = asyncio.create_task(read())
    try:
        await eventually(lambda: events or process.returncode is not None, within=PATIENCE)
        yield events
        assert process.returncode is None, "the SDK took the stream for over"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


@pytest.mark.parametrize("module", ["client.js", "v2/client.js"])
async def test_opencodes_own_sdk_misses_nothing_when_its_connection_breaks(
    project: Project, sdk: Path, module: str
) -> None:
    one, other = (str(session._base_url).rstrip("/") for session in (project.http, project.second))
    session = await project.create_session()
    async with Relay(one, other) as relay:
        url = f"{relay.url}/api/projects/recorded/opencode"
        async with listening(sdk, module, url, str(project.workspace)) as events:
            assert events[0]["type"] == "server.connected"
            begun = len(project.direct.told())
            await project.prompt(session, "stream 200\nhold\nstream 200")
            await eventually(lambda: project.model.holding == 1, within=PATIENCE)
            relay.cut_streams()
            project.model.release()
            idle = len([event for event in events if event["type"] == "session.idle"])
            await eventually(lambda: count(events, "session.idle") > idle, within=PATIENCE)
            await project.create_session()
            await eventually(lambda: count(events, "session.created") == 1, within=PATIENCE)
    told = [event for event in events if event["type"] not in OF_STREAMS]
    assert count(events, "server.connected") == 2
    assert told == [json.loads(data) for data in project.direct.told()[begun:]]


def count(events: list[Any], type: str) -> int:
    return [event["type"] for event in events].count(type)
