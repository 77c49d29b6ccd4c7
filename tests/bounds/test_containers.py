"""A container answers each call of its contract, and says each kind of event, in large and hostile shapes, while a
second client asks for /healthz."""

import asyncio
import fnmatch
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web
from multidict import CIMultiDict

from gateway.container.client import ContainerClient
from gateway.container.dialects import AgentHost
from gateway.ingest.translate import PASSED_ON
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
from tests.fakes.eventually import eventually, until
from tests.fakes.hostile import CAPABILITIES, Answer, HostileContainer, envelope
from tests.world import Gateway, Project

KEY = "sk-ant-api03-of-alice-and-nobody-else-"
PERMISSION = (
    b'{"requestId":"%b","toolCall":{"toolCallId":"t"},"options":[{"optionId":"o","name":"n","kind":"allow_once"}]}'
)
#: Bytes: of as many values as are taken of an answer, of as much as is taken, and of more.
SMALL, LARGE, HUGE = 50_000, 1_000_000, 8_000_000
#: As much as is taken of an event, nearly: 4 MiB, and 100,000 values.
EVENT = 4_100_000
MOST = {many_members: 1_180_000, many_duplicates: 880_000, deep_objects: 590_000, many_small_objects: 430_000}
FEW_VALUES = (deep_arrays, deep_objects, long_text)
MEMBERS = (many_members, deep_objects, long_text, many_small_objects)


@attrs.define
class World:
    """A project with a session, at the hostile container."""

    trial: Trial
    project: Project
    session: str
    number: int = 0

    async def call(self, method: str, path: str, body: Any = None) -> str:
        answer = await self.project.call(method, path.format(session=self.session), body)
        return "" if answer.status < 500 or answer.status in (502, 503, 504) else f"{answer.status} {path}"

    async def prompt_new_session(self) -> str:
        session = await self.project.create_session()
        return await self.call("POST", f"/session/{session}/prompt", {"prompt": "hi"})

    async def prompt_session_of_another_boot(self) -> str:
        """It is asked for a session that was made in another boot than the one that is followed."""
        answers = self.trial.container.answers
        answers[("GET", "/info")] = envelope({"bootId": "another", "capabilities": CAPABILITIES})
        session = await self.project.create_session()
        del answers[("GET", "/info")]
        return await self.call("POST", f"/session/{session}/prompt", {"prompt": "hi"})

    async def cancel_new_turn(self) -> str:
        session = await self.project.create_session()
        await self.call("POST", f"/session/{session}/prompt", {"prompt": "hi"})
        return await self.call("POST", f"/session/{session}/cancel", {})

    async def end_new_session(self) -> str:
        return await self.call("DELETE", f"/session/{await self.project.create_session()}")

    async def keep_key(self) -> str:
        self.number += 1
        return await self.call("POST", "/agents/claude-code/auth/token", {"token": f"{KEY}{self.number}"})

    async def use_key(self) -> None:
        """The container has one key, and there is another for the next prompt."""
        await self.keep_key()
        self.session = await self.project.create_session(agentId="claude-code")
        await self.keep_key()

    async def log_in(self) -> None:
        assert not await self.call("POST", "/agents/demo/auth/start", {})

    async def bring_token(self) -> str:
        await self.log_in()
        return await self.call("POST", "/agents/demo/auth/callback", {"code": "brought"})

    async def answer_permission(self) -> str:
        self.number += 1
        container = self.trial.container
        asked = PERMISSION % f"r{self.number}".encode()
        await container.tell(b"permission_request", asked, session="c0")
        waiting: list[Any] = []

        async def is_asked() -> bool:
            waiting[:] = (await self.project.call("GET", "/permission")).json["permissions"]
            return bool(waiting)

        await until(is_asked)
        return await self.call("POST", f"/permission/{waiting[0]['id']}", {"optionId": "o"})


Act = Callable[[World], Awaitable[str]]


@attrs.frozen
class Call:
    """What the container is asked, what has it be asked, and the members of its answer's ``data`` that are read."""

    method: str
    path: str
    act: Act
    members: tuple[str, ...] = ("status",)
    before: Callable[[World], Awaitable[None]] | None = None
    #: What else the container answers then.
    also: Mapping[tuple[str, str], Answer] = attrs.field(factory=dict)


def _unknown() -> web.Response:
    return web.json_response({"success": False, "error": "no such session"}, status=404)


def to(method: str, path: str, body: Any = None) -> Act:
    return lambda world: world.call(method, path, body)


FORGET = to("DELETE", "/agents/claude-code/auth", {})
PROMPT = to("POST", "/session/{session}/prompt", {"prompt": "hi"})
#: By the method of the client, ``gateway.container.client``; ``prompt`` is each dialect's own.
CALLS = {
    "read_facts": Call("GET", "/info", FORGET, ("capabilities", "bootId", "workingDirectory"), World.use_key),
    "agents": Call("GET", "/agents", to("GET", "/agents"), ("agents",)),
    "spawn": Call("POST", "/agents/demo/spawn", to("POST", "/agents/demo/spawn", {})),
    "stop": Call("POST", "/agents/demo/stop", to("POST", "/agents/demo/stop", {})),
    "agent_status": Call("GET", "/agents/demo/status", to("GET", "/agents/demo/status")),
    "renew_credential": Call("POST", "/agents/*/credential", PROMPT, before=World.use_key),
    "withdraw_credential": Call("DELETE", "/agents/*/credential/*", FORGET, before=World.use_key),
    "begin_auth": Call(
        "POST", "/agents/demo/auth/init", to("POST", "/agents/demo/auth/start", {}), ("authUrl", "userCode", "message")
    ),
    "login_state": Call(
        "GET", "/agents/demo/auth/status", to("GET", "/agents/demo/auth/status"), ("authenticated",), World.log_in
    ),
    "give_token": Call("POST", "/agents/demo/auth/token", World.bring_token),
    "create_session": Call("POST", "/session", to("POST", "/session", {"agentId": "demo"}), ("id", "acpSessionId")),
    "listed_sessions": Call("GET", "/sessions", to("GET", "/sessions"), ("sessions",)),
    "end_session": Call("DELETE", "/session/*", World.end_new_session),
    "prompt": Call("POST", "/session/*/prompt", World.prompt_new_session, ("turnId",)),
    "cancel": Call("POST", "/session/*/cancel", World.cancel_new_turn),
    "answer_permission": Call("POST", "/permission/*", World.answer_permission, ("outcome",)),
    "has_session": Call("GET", "/session/*", World.prompt_session_of_another_boot),
    "load_session": Call(
        "POST",
        "/session/*/load",
        World.prompt_new_session,
        ("acpSessionId", "how"),
        also={("POST", "/session/c*"): _unknown},
    ),
}
#: The same call with another reader of its answer; and the stream, which the second test is about.
SAME = {"sessions": "listed_sessions", "session_status": "has_session", "events": ""}

WHOLE = (many_members, many_duplicates, deep_objects, many_escapes, many_small_objects)
EVENTS = (
    *sorted(PASSED_ON),
    *("permission_request", "permission_resolved", "session_end_turn", "gap", "error", "of_its_own"),
)
#: Members of events' data that the gateway reads.
TOLD = {
    "session_update": ("update", "sessionId"),
    "agent_status": ("status", "error"),
    "permission_request": ("toolCall", "options", "requestId"),
    "permission_resolved": ("requestId", "outcome", "reason"),
    "session_end_turn": ("turnId", "stopReason", "error"),
    "auth_required": ("owner", "message"),
    "session_restored": ("acpSessionId", "how"),
    "gap": ("from", "to", "reason"),
}


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    settings = {
        "ACP_GATEWAY_LIMITS_PROJECTS_PER_USER": "0",
        "ACP_GATEWAY_LIMITS_TURNS_PER_USER": "0",
        "ACP_GATEWAY_LIMITS_TURNS_PER_PROJECT": "0",
        "ACP_GATEWAY_CONTAINERS_SHARED": "true",
    }
    async with trial(database_url, tmp_path, settings) as running:
        url = running.container.url
        project = await running.gateway.register(url, containerUrl=url, defaultAgentId="demo")
        yield World(running, project, await project.create_session())


def test_each_call_of_the_client_is_tried() -> None:
    methods = vars(ContainerClient) | {"prompt": AgentHost.prompt}
    named = {name for name, one in methods.items() if inspect.isfunction(one) and not name.startswith("_")}
    assert named == CALLS.keys() | SAME.keys()


def answers(call: Call) -> Iterator[bytes]:
    for member in call.members:
        for shape in MEMBERS:
            yield _told(within({"id": "demo"}, member, shape(LARGE if shape in FEW_VALUES else SMALL)))
    for shape in (many_members, deep_arrays, many_empty_texts):
        yield _told(shape(SMALL))
        yield shape(LARGE)
    yield many_members(HUGE)
    for member, shape in (("error", long_text), ("code", many_members), ("data", many_small_objects)):
        yield within({"success": False}, member, shape(LARGE // 10))


def _told(data: bytes) -> bytes:
    return b'{"success":true,"data":%b}' % data


@pytest.mark.timeout(300)
async def test_no_answer_holds_up_others_or_takes_much_memory(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    tried, wrong = world.trial, []
    container = tried.container
    usual = await baseline(tried)
    for name, call in CALLS.items():
        for answer in answers(call):
            if call.before is not None:
                await call.before(world)
            container.asked.clear()
            container.answers = {(call.method, call.path): answer, **call.also}
            async with tried.measured(f"{name} {answer[:60].decode()} of {len(answer)}", quiet=0.0) as notes:
                notes.append(await call.act(world))
                await eventually(partial(_is_asked, container, call))
                await asyncio.sleep(0.02)
            wrong += [f"{name} {answer[:60]!r}: {note}" for note in notes if note]
            container.answers = {}
    container.answers = {("GET", "/agents"): envelope({"agents": [{"id": f"a{number}"} for number in range(300_000)]})}
    async with tried.measured("300,000 agents"):
        wrong += filter(None, [await world.call("GET", "/agents")])
    check(tried.costs, usual, record_property)
    assert not wrong, "\n".join(wrong)


def _is_asked(container: HostileContainer, call: Call) -> bool:
    return any(method == call.method and fnmatch.fnmatch(path, call.path) for method, path in container.asked)


@pytest.mark.timeout(300)
async def test_no_event_holds_up_others_or_takes_much_memory(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    tried = world.trial
    usual = await baseline(tried)
    async with following(tried, f"{world.project.acp}/events") as follower:
        for kind in EVENTS:
            for member in (None, *TOLD.get(kind, ())):
                for shape in WHOLE if member is None else (many_members, many_small_objects, long_text):
                    data = shape(MOST.get(shape, EVENT))
                    if member is not None:
                        data = within({"requestId": "r"}, member, data)
                    async with tried.measured(f"{kind} {member or 'data'}: {shape.__name__}", quiet=0.0):
                        await tried.container.tell(kind.encode(), data, session="c0")
                        await _reads_to_here(world, follower)
        for shape in (many_empty_texts, many_members, deep_objects):
            for size in (EVENT, HUGE):
                async with tried.measured(f"session_update of {size} bytes: {shape.__name__}"):
                    await tried.container.tell(b"session_update", shape(size), session="c0")
                    await _reads_to_here(world, follower)
        async with tried.measured("50,000 events"):
            await tried.container.say(b'event: of_its_own\ndata: {"data":{}}\n\n' * 50_000)
            await _reads_to_here(world, follower)
    check(tried.costs, usual, record_property)


#: Sessions, and tool calls of each; of each session's so many are told at once.
SESSIONS, TOOL_CALLS, AT_ONCE = 4, 1000, 250


@pytest.mark.timeout(300)
async def test_requests_about_very_many_calls_in_several_sessions_hold_up_nobody_and_take_little_memory(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    tried, container = world.trial, world.trial.container
    usual = await baseline(tried)
    sessions = [f"c{number}" for number in range(SESSIONS)]
    for _ in sessions[1:]:
        await world.project.create_session()
    async with following(tried, f"{world.project.acp}/events") as follower:
        for session in sessions:
            for start in range(0, TOOL_CALLS, AT_ONCE):
                async with tried.measured(f"tool calls of {session} from {start} on", quiet=0.0):
                    await container.say(b"".join(_tool_calls(container, session, start)))
                    await _reads_to_here(world, follower)
        async with tried.measured(f"requests about {SESSIONS} x {TOOL_CALLS} calls"):
            for session in sessions:
                await container.tell(b"permission_request", PERMISSION % session.encode(), session=session)
            await _reads_to_here(world, follower)
    check(tried.costs, usual, record_property)


def _tool_calls(container: HostileContainer, session: str, start: int) -> Iterator[bytes]:
    """Ids as long as they are remembered, and members as long as they are remembered themselves."""
    short = "s" * 250
    members = {"title": short, "rawInput": short, "locations": short, "content": short, "kind": "read"}
    for number in range(start, start + AT_ONCE):
        call_id = f"{number:05}" + "\U0001f600" * 990
        update = {"sessionUpdate": "tool_call", "toolCallId": call_id, **members}
        told = {"sessionId": session, "agentId": "demo", "data": {"update": update}}
        event = json.dumps(told, ensure_ascii=False).encode()
        yield b"id: %b\nevent: session_update\ndata: %b\n\n" % (container.next_id().encode(), event)


async def _reads_to_here(world: World, follower: Follower) -> None:
    await follower.reads(lambda mark: world.trial.container.tell(b"mark", b'"%b"' % mark.encode()))


@pytest.mark.timeout(120)
async def test_no_head_of_an_answer_holds_up_others_or_takes_much_memory(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    """What a container's pages set, on their project's own host and below the gateway's."""
    tried = world.trial
    usual = await baseline(tried)
    heads = {
        "150 Set-Cookie of 10,000 attributes": [("Set-Cookie", "a=b" + ";c" * 10_000)] * 150,
        "150 Set-Cookie of 3,900 attributes": [("Set-Cookie", "a=b" + ";c" * 3_900)] * 150,
        "150 Set-Cookie": [("Set-Cookie", f"a{number}=b; Path=/") for number in range(150)],
        "2,000 fields": [(f"X-Field-{number}", "f" * 20) for number in range(2000)],
        "Content-Type of semicolons": [("Content-Type", "text/html" + ";" * 7900)],
        "Content-Type of brackets": [("Content-Type", "(" * 7900)],
        "lists": [(name, "a;b=c," * 1300) for name in ("Link", "Vary", "Cache-Control", "Connection", "Allow")],
    }
    generous = aiohttp.ClientSession(max_headers=5000, max_field_size=65_536)
    async with generous as http:
        browser = Gateway(tried.gateway.app, tried.gateway.url, http)
        await _take_heads(tried, browser, heads, world)
    check(tried.costs, usual, record_property)


async def _take_heads(tried: Trial, browser: Gateway, heads: Mapping[str, list[tuple[str, str]]], world: World) -> None:
    container, port = tried.container, tried.gateway.url.rpartition(":")[2]
    for name, fields in heads.items():
        container.answers = {("GET", "/page"): lambda fields=fields: web.Response(headers=CIMultiDict(fields))}
        for host, path in (("demo.localhost", "/page"), ("127.0.0.1", f"{world.project.path}/opencode/page")):
            async with tried.measured(f"{name} at {host}") as notes:
                answer = await browser.call("GET", path, headers={"Host": f"{host}:{port}"})
                notes.append(str(answer.status))
            assert ("GET", "/page") in container.asked
            assert answer.status in (200, 502), answer.body
