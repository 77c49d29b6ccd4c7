"""A container's OpenCode answers each call, and says events that are recorded, in large and hostile shapes, while a
second client asks for /healthz."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.container.opencode import OpenCode
from tests.bounds.limits import baseline, check
from tests.bounds.reading import Follower, following
from tests.bounds.shapes import (
    deep_arrays,
    deep_objects,
    long_text,
    many_duplicates,
    many_empty_texts,
    many_escapes,
    many_members,
    many_small_objects,
    within,
)
from tests.bounds.trial import Trial, trial
from tests.fakes.eventually import eventually
from tests.fakes.hostile import HostileContainer, envelope
from tests.world import Project

KEY = "sk-ant-api03-of-alice-and-nobody-else-"
PATH = b'{"directory":"/w"}'
#: As much as is taken of an answer, nearly: 4 MiB, and 100,000 values.
LARGE, HUGE = 4_100_000, 8_300_000
MOST = {many_members: 1_180_000, many_duplicates: 880_000, deep_objects: 590_000, many_small_objects: 430_000}
SHAPES = (many_members, many_duplicates, deep_arrays, deep_objects, long_text, many_escapes, many_small_objects)
#: Bytes of an event: as much as is taken.
EVENT = 4_100_000
#: How each method of the client is tried below.
TRIED = {
    "directory": "test_no_answer_about_where_it_works",
    "history": "test_no_history",
    "events": "test_no_recorded_event",
}
#: Reads no more than the head of an answer.
HEADS = {"has"}


@attrs.define
class World:
    trial: Trial
    opencode: HostileContainer
    number: int = 0

    async def record(self) -> Project:
        """Another project whose OpenCode is recorded."""
        self.number += 1
        self.opencode.asked.clear()
        project = await self.trial.gateway.register(
            self.trial.container.url,
            id=f"recorded{self.number}",
            containerUrl=self.opencode.url,
            recordOpencodeEvents=True,
        )
        await eventually(lambda: ("GET", "/path") in self.opencode.asked)
        return project

    async def delete(self, project: Project) -> None:
        assert (await self.trial.gateway.call("DELETE", project.path)).status == 204


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    settings = {
        "ACP_GATEWAY_LIMITS_PROJECTS_PER_USER": "0",
        "ACP_GATEWAY_LIMITS_TURNS_PER_USER": "0",
        "ACP_GATEWAY_LIMITS_TURNS_PER_PROJECT": "0",
        "ACP_GATEWAY_CONTAINERS_SHARED": "true",
    }
    async with HostileContainer() as opencode, trial(database_url, tmp_path, settings) as running:
        opencode.answers = {("GET", "/path"): PATH}
        yield World(running, opencode)


def test_each_call_of_the_client_is_tried() -> None:
    methods = {name for name, one in vars(OpenCode).items() if inspect.isfunction(one) and not name.startswith("_")}
    assert methods == TRIED.keys() | HEADS


def answers(member: str) -> Iterator[bytes]:
    for shape in SHAPES:
        for size in (MOST.get(shape, LARGE), HUGE):
            yield shape(size)
        yield within({}, member, shape(MOST.get(shape, LARGE)))


@pytest.mark.timeout(300)
async def test_no_answer_about_where_it_works_holds_up_others_or_takes_much_memory(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    usual = await baseline(world.trial)
    for answer in answers("directory"):
        world.opencode.answers = {("GET", "/path"): answer}
        async with world.trial.measured(f"directory {answer[:60].decode()} of {len(answer)}", quiet=0.2):
            project = await world.record()
        await world.delete(project)
    check(world.trial.costs, usual, record_property)


def histories() -> Iterator[tuple[str, bytes]]:
    """Of a session with the one prompt ``hi``."""
    parts = {
        "texts": b'{"type":"text","text":"t"}',
        "empty texts": b'{"type":"text","text":""}',
        "thoughts": b'{"type":"reasoning","text":"t"}',
        "calls": b'{"type":"tool","callID":"c","tool":"bash","state":{"status":"completed"}}',
    }
    for name, part in parts.items():
        yield name, _answered(b"[%b]" % b",".join([part] * (90_000 // (2 + part.count(b":")))))
    for shape in SHAPES:
        whole = shape(MOST.get(shape, LARGE))
        yield f"parts: {shape.__name__}", _answered(whole)
        yield f"part: {shape.__name__}", _answered(b"[%b]" % within({"type": "text"}, "text", whole))
        call = {"type": "tool", "callID": "c", "tool": "bash"}
        for member in ("input", "output", "metadata", "title"):
            state = within({"status": "completed", "output": "o"}, member, whole)
            yield f"{member}: {shape.__name__}", _answered(b"[%b]" % within(call, "state", state))
        yield f"messages: {shape.__name__}", whole
        yield f"messages: {shape.__name__}, huge", shape(HUGE)
    prompt = _prompt()
    yield "prompts", b"[%b]" % b",".join([prompt] * (90_000 // 7))


def _prompt() -> bytes:
    return b'{"info":{"role":"user"},"parts":[{"type":"text","text":"hi"}]}'


def _answered(parts: bytes) -> bytes:
    info = b'{"id":"m","role":"assistant","finish":"stop","time":{"completed":1}}'
    return b'[%b,{"info":%b,"parts":%b}]' % (_prompt(), info, parts)


@pytest.mark.timeout(400)
async def test_no_history_holds_up_others_or_takes_much_memory(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    """What is lacking after a gap is looked up at the end of each turn."""
    usual = await baseline(world.trial)
    container = world.trial.container
    container.answers = {("GET", "/agents"): envelope({"agents": [{"id": "opencode", "status": "running"}]})}
    project = await world.trial.gateway.register(container.url, containerUrl=world.opencode.url)
    tried = [("/session", answer[:60].decode(), answer) for answer in answers("directory")]
    tried += [("/message", name, answer) for name, answer in histories()]
    for number, (path, name, answer) in enumerate(tried):
        session = await project.create_session(agentId="opencode")
        turn = (await project.prompt(session, "hi", wait=None))["turnId"]
        found = {"id": f"a{number}", "directory": "/w"}
        ends = {"/session": f"/session/a{number}", "/message": f"/session/a{number}/message"}
        world.opencode.answers = {("GET", ends["/session"]): json.dumps(found).encode(), ("GET", ends[path]): answer}
        world.opencode.asked.clear()
        container.next_id()  # which nobody gets
        async with world.trial.measured(f"{path} {name} of {len(answer)}", quiet=0.2):
            ended = json.dumps({"turnId": turn, "stopReason": "end_turn"}).encode()
            await container.tell(b"session_end_turn", ended, session=f"c{number}", agent="opencode")
            await eventually(lambda wanted=("GET", ends[path]): wanted in world.opencode.asked)
    check(world.trial.costs, usual, record_property)


def events() -> Iterator[tuple[str, bytes]]:
    """Pieces of texts, and what is to pass for them."""
    for shape in (*SHAPES, many_empty_texts):
        whole = shape(MOST.get(shape, EVENT))
        yield shape.__name__, whole
        yield f"properties: {shape.__name__}", within({"type": "message.part.delta"}, "properties", whole)
        for type in ("message.part.delta", "message.part.updated"):
            named = within({"delta": "sk-ant"}, "part", within({}, "id", whole))
            yield f"{type} part: {shape.__name__}", within({"type": type}, "properties", named)
            named = within({"delta": "sk-ant"}, "partID", whole)
            yield f"{type} partID: {shape.__name__}", within({"type": type}, "properties", named)
        pieces = within({"partID": "p"}, "delta", whole)
        yield f"delta: {shape.__name__}", within({"type": "message.part.delta"}, "properties", pieces)
    texts = b"{%b}" % b",".join(b'"p%d":"t"' % number for number in range(45_000))
    yield "many properties", within({"type": "message.part.delta"}, "properties", texts[:-1] + b',"delta":"sk-ant"}')


@pytest.mark.timeout(300)
async def test_no_recorded_event_holds_up_others_or_takes_much_memory(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    """The container was given a credential: what it says is masked, and is remembered for that."""
    usual = await baseline(world.trial)
    project = await world.record()
    answer = await project.call("POST", "/agents/claude-code/auth/token", {"token": f"{KEY}1"})
    assert answer.status < 300, answer.body
    await project.create_session(agentId="claude-code")
    async with following(world.trial, f"{project.path}/opencode/event") as follower:
        for name, event in events():
            async with world.trial.measured(name, quiet=0.0):
                await world.opencode.say(b"data: %b\n\n" % event)
                await _reads_to_here(world, follower)
        async with world.trial.measured("60 texts with long names"):
            for number in range(60):
                named = {"partID": f"p{number}" + "n" * 3_900_000, "delta": "sk-ant"}
                await _say(world, type="message.part.delta", properties=named)
            await _reads_to_here(world, follower)
        async with world.trial.measured("50,000 texts"):
            texts = (b'{"type":"a.delta","properties":{"partID":"%d","delta":"sk-ant"}}' % n for n in range(50_000))
            await world.opencode.say(b"".join(b"data: %b\n\n" % text for text in texts))
            await _reads_to_here(world, follower)
    check(world.trial.costs, usual, record_property)


async def _say(world: World, **event: Any) -> None:
    await world.opencode.say(b"data: %b\n\n" % json.dumps(event).encode())
    await asyncio.sleep(0)


async def _reads_to_here(world: World, follower: Follower) -> None:
    await follower.reads(lambda mark: _say(world, type="mark", properties={"mark": mark}))
