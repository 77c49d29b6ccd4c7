"""The front door of an agent host: what a client of the contract does, and the agents below it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import attrs
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from gateway.agenthost.app import HOST, AgentHostConfig
from gateway.agenthost.catalogue import AgentSpec
from gateway.wire.sse import SSEEvent, SSEParser

T = TypeVar("T")

SCRIPTED = Path(__file__).with_name("agents") / "scripted.py"
#: Seconds that anything may take before a test gives up on it.
PATIENCE = 20.0
OPTIONS = [
    {"optionId": "all", "name": "Always", "kind": "allow_always"},
    {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]


@attrs.frozen
class Answer:
    """A status and what the envelope has in `data`, or the whole envelope of an error."""

    status: int
    body: Any


@attrs.frozen
class Told:
    """One event of a stream."""

    id: str | None
    type: str
    #: The contract's envelope.
    envelope: dict[str, Any]

    @property
    def data(self) -> Any:
        return self.envelope["data"]

    @property
    def number(self) -> int:
        assert self.id is not None
        return int(self.id.rpartition("-")[2])


class Events:
    """An open event stream."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self._parser = SSEParser()
        self._ready: list[Told] = []
        self.comments = 0

    async def next(self) -> Told:
        """The next event; EOFError where the stream has ended."""
        async with asyncio.timeout(PATIENCE):
            while not self._ready:
                chunk = await self.response.content.readany()
                if not chunk:
                    raise EOFError
                self.comments += chunk.count(b"\n: ") + chunk.startswith(b": ")
                for event in self._parser.feed(chunk):
                    assert isinstance(event, SSEEvent)
                    self._ready.append(Told(event.id, event.event, json.loads(event.data)))
        return self._ready.pop(0)

    async def until(self, kind: str, matching: Callable[[Told], bool] = lambda _: True) -> list[Told]:
        """All events up to the first of this kind, that one included, without other beginnings of turns."""
        told = await self.all_until(kind, matching)
        return [one for one in told if one.type == kind or one.type != "session_begin_turn"]

    async def all_until(self, kind: str, matching: Callable[[Told], bool] = lambda _: True) -> list[Told]:
        told = [await self.next()]
        while told[-1].type != kind or not matching(told[-1]):
            told.append(await self.next())
        return told


class Host:
    """What a client of the contract does."""

    def __init__(self, client: TestClient[Any, Any], config: AgentHostConfig) -> None:
        self.http = client
        self.config = config
        self.workspace = config.workspace

    async def get(self, path: str) -> Answer:
        async with self.http.get(path) as response:
            return await _answer(response)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        async with self.http.post(path, json=body, **options) as response:
            return await _answer(response)

    async def delete(self, path: str) -> Answer:
        async with self.http.delete(path) as response:
            return await _answer(response)

    def learn(self, catalogue: Mapping[str, AgentSpec]) -> None:
        """Have it take over another catalogue, as on SIGHUP."""
        assert self.http.server is not None
        self.http.server.app[HOST].agents.learn(catalogue)

    async def session(self, agent: str = "scripted", **members: Any) -> str:
        """A new session's id."""
        answer = await self.post("/session", {"agentId": agent, **members})
        assert answer.status == 200, answer.body
        return str(answer.body["id"])

    async def begin(self, session_id: str, *steps: Any) -> str:
        """Begin a turn with these steps, or with a text, and give its id."""
        answer = await self.post(
            f"/session/{session_id}/prompt", {"prompt": text_of(steps)}, headers={"Prefer": "respond-async"}
        )
        assert answer.status == 202, answer.body
        return str(answer.body["turnId"])

    async def run(self, session_id: str, *steps: Any) -> Answer:
        """A whole turn, as a client of the base contract asks for it."""
        return await self.post(f"/session/{session_id}/prompt", {"prompt": text_of(steps)})

    async def answer_of(self, session_id: str, method: str, params: dict[str, Any]) -> Any:
        """What the scripted agent gets for a call of its own."""
        async with self.events(f"/events/{session_id}") as events:
            await self.begin(session_id, ["call", method, params])
            told = await events.until("session_end_turn")
        return json.loads(text_in(told))

    @asynccontextmanager
    async def events(self, path: str = "/events", last_event_id: str | None = None) -> AsyncIterator[Events]:
        """An event stream that is open: what happens from now on is in it."""
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        async with self.http.get(path, headers=headers, timeout=None) as response:
            assert response.status == 200, await response.text()
            yield Events(response)

    async def everything(self) -> list[Told]:
        """All events since the start until now."""
        boot_id = (await self.get("/info")).body["bootId"]
        async with self.events(last_event_id=f"{boot_id}-0") as events:
            mark = await self.post("/agents/marker/spawn")
            assert mark.status == 502
            return (await events.all_until("agent_status", lambda one: one.data["agentId"] == "marker"))[:-1]


async def _answer(response: ClientResponse) -> Answer:
    body = await response.json()
    return Answer(response.status, body["data"] if body["success"] else body)


async def until(condition: Callable[[], Awaitable[T]]) -> T:
    """What the condition gives as soon as it is true."""
    async with asyncio.timeout(PATIENCE):
        while not (value := await condition()):  # noqa: ASYNC110 - what it waits for sets no asyncio.Event
            await asyncio.sleep(0.005)
        return value


def text_of(steps: tuple[Any, ...]) -> str:
    return steps[0] if len(steps) == 1 and isinstance(steps[0], str) else json.dumps(steps)


def chunk(text: str) -> list[Any]:
    """A step that says this."""
    return ["update", {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}]


def text_in(told: list[Told]) -> str:
    """The agent's words in these events."""
    return "".join(
        one.data["update"]["content"]["text"]
        for one in told
        if one.type == "session_update" and one.data["update"]["sessionUpdate"] == "agent_message_chunk"
    )


def scripted(agent_id: str = "scripted", *, script: dict[str, Any] | None = None, **members: Any) -> AgentSpec:
    """A catalogue entry for the scripted agent."""
    env = {"SCRIPT": json.dumps(script or {}), **members.pop("env", {})}
    command = (sys.executable, "-I", "-S", str(SCRIPTED))
    members = {"name": agent_id, "requires_auth": False, "command": command, **members}
    return AgentSpec(id=agent_id, env=env, **members)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
