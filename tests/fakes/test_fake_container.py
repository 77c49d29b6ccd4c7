"""The fake container does what the base contract says, quirks included."""

import asyncio
import json
import subprocess
import sys

import aiohttp
import pytest

from gateway.wire.sse import SSEParser
from tests.fakes.container import OPENCODE_TRAFFIC, FakeContainer
from tests.fakes.eventually import eventually


@pytest.fixture
async def container():
    async with FakeContainer() as container:
        yield container


@pytest.fixture
async def http(container):
    async with aiohttp.ClientSession(container.url) as http:
        yield http


async def call(http, method, path, body=None):
    async with http.request(method, path, json=body) as answer:
        envelope = await answer.json()
        return answer.status, envelope["data"] if envelope["success"] else envelope["error"]


async def create_session(http, agent_id="demo"):
    status, session = await call(http, "POST", "/session", {"agentId": agent_id})
    assert status == 200
    return session["id"]


class Listener:
    """Reads one event stream in the background and keeps what came."""

    def __init__(self, http, path="/events"):
        self.http, self.path = http, path
        self.events, self.raw, self.broken = [], b"", None

    async def __aenter__(self):
        self.answer = await self.http.get(self.path)
        self.task = asyncio.create_task(self.read())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.answer.close()

    async def read(self):
        parser = SSEParser()
        try:
            async for piece in self.answer.content.iter_any():
                self.raw += piece
                self.events += parser.feed(piece)
        except aiohttp.ClientError as exc:
            self.broken = exc

    def text(self):
        updates = [json.loads(e.data)["data"]["update"] for e in self.events if e.event == "session_update"]
        return "".join(u["content"]["text"] for u in updates if u["sessionUpdate"] == "agent_message_chunk")


async def test_prompt_answers_when_its_turn_is_over_and_the_session_stays_processing(container, http):
    async with Listener(http) as listener:
        session_id = await create_session(http)
        status, data = await call(http, "POST", f"/session/{session_id}/prompt", {"prompt": "stream 20", "text": "x"})
        assert (status, data) == (200, {"id": session_id, "status": "processing"})
        await eventually(lambda: listener.text().endswith("tok19 "))
    assert listener.text() == "".join(f"tok{n} " for n in range(20))
    assert {event.id for event in listener.events} == {None}
    assert {event.event for event in listener.events} == {"agent_status", "session_update"}
    assert (await call(http, "GET", f"/session/{session_id}"))[1]["status"] == "processing"


async def test_what_is_emitted_while_nobody_listens_is_gone(container, http):
    session_id = await create_session(http)
    await call(http, "POST", f"/session/{session_id}/prompt", {"prompt": "lost"})
    async with Listener(http) as listener:
        await call(http, "POST", f"/session/{session_id}/prompt", {"prompt": "heard"})
        await eventually(listener.text)
    assert listener.text() == "heard"


async def test_dropped_prompt_request_does_not_stop_the_turn(container, http):
    session_id = await create_session(http)
    async with Listener(http) as listener:
        request = asyncio.create_task(
            call(http, "POST", f"/session/{session_id}/prompt", {"prompt": "slow 0.3\nsay end"})
        )
        await eventually(container.turns_under_way)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        assert container.turns_under_way() == 1
        await eventually(lambda: listener.text() == "done\nend")


async def test_cancel_ends_the_turn_and_makes_the_session_idle(container, http):
    session_id = await create_session(http)
    request = asyncio.create_task(call(http, "POST", f"/session/{session_id}/prompt", {"prompt": "slow 60\nsay end"}))
    await eventually(container.turns_under_way)
    assert await call(http, "POST", f"/session/{session_id}/cancel") == (200, {"id": session_id, "status": "idle"})
    assert (await request)[0] == 200
    assert (await call(http, "GET", f"/session/{session_id}"))[1]["status"] == "idle"


async def test_failed_turn_and_dead_agent_are_500(container, http):
    session_id = await create_session(http)
    assert await call(http, "POST", f"/session/{session_id}/prompt", {"prompt": "fail no luck"}) == (500, "no luck")
    request = asyncio.create_task(call(http, "POST", f"/session/{session_id}/prompt", {"prompt": "slow 60"}))
    await eventually(container.turns_under_way)
    await container.kill_agent("demo")
    assert (await request)[0] == 500
    assert (await call(http, "POST", f"/session/{session_id}/prompt", {"prompt": "hello"}))[0] == 500


async def test_only_spawn_takes_an_environment_and_a_running_agent_keeps_it(container, http):
    await call(http, "POST", "/agents/demo/spawn", {"env": {"KEY": "1"}})
    await call(http, "POST", "/session", {"agentId": "demo", "env": {"KEY": "2"}})
    await call(http, "POST", "/agents/demo/spawn", {"env": {"KEY": "3"}})
    session_id = await create_session(http)
    async with Listener(http) as listener:
        await call(http, "POST", f"/session/{session_id}/prompt", {"prompt": "env KEY"})
        await eventually(lambda: listener.text() == "KEY=1\n")
    assert container.agents["demo"].env == {"KEY": "1"}


async def test_unknown_agent_is_stopped_or_404_or_400(container, http):
    assert (await call(http, "GET", "/agents/nobody/status"))[1]["status"] == "stopped"
    assert (await call(http, "POST", "/agents/nobody/spawn"))[0] == 404
    assert (await call(http, "POST", "/session", {"agentId": "nobody"}))[0] == 400
    assert (await call(http, "POST", "/agents/nobody/stop"))[0] == 500


async def test_permission_answers_to_any_id_are_200(container, http):
    assert await call(http, "POST", "/permission/x", {"granted": False}) == (200, {"id": "x", "granted": False})
    assert container.requests_to("POST", "/permission/x")[0].json == {"granted": False}


async def test_agent_status_comes_twice_to_session_streams_too(container, http):
    async with Listener(http, "/events/some-session") as listener:
        await call(http, "POST", "/agents/demo/spawn")
        session_id = await create_session(http)
        await call(http, "POST", f"/session/{session_id}/prompt", {"prompt": "not for that stream"})
        await call(http, "POST", "/agents/demo/stop")
        await eventually(lambda: len(listener.events) == 4)
    assert {event.event for event in listener.events} == {"agent_status"}


async def test_agent_that_needs_a_login_runs_after_it(container, http):
    assert (await call(http, "POST", "/agents/locked/spawn"))[1]["status"] == "auth_required"
    assert (await call(http, "POST", "/session", {"agentId": "locked"}))[0] == 500
    await call(http, "POST", "/agents/locked/auth/init")
    assert await call(http, "POST", "/agents/locked/auth/token", {"token": "t"}) == (200, {"authenticated": True})
    assert (await call(http, "POST", "/agents/locked/spawn"))[1]["status"] == "running"


async def test_forgotten_session_is_404_and_a_restart_forgets_all(container, http):
    first, second = await create_session(http), await create_session(http)
    container.forget(first)
    assert (await call(http, "GET", f"/session/{first}"))[0] == 404
    address = container.url
    async with Listener(http) as listener:
        await container.restart()
        await eventually(lambda: listener.broken)
    assert container.url == address
    assert (await call(http, "POST", f"/session/{second}/prompt", {"prompt": "hello"}))[0] == 404


async def test_bad_input_is_500(container, http):
    async with http.post("/session", data=b"{") as answer:
        assert answer.status == 500
    container.fail_next("/agents", "disk full")
    assert await call(http, "GET", "/agents") == (500, "disk full")


async def test_recorded_traffic_is_replayed_byte_for_byte(container, http):
    async with Listener(http) as listener:
        await container.wait_for_streams()
        assert container.replay_opencode_traffic() == OPENCODE_TRAFFIC.read_bytes()
        await eventually(lambda: listener.raw == OPENCODE_TRAFFIC.read_bytes())
    assert len(listener.events) == 38


async def test_pings_are_not_json():
    async with FakeContainer(ping_every=0.01) as container, aiohttp.ClientSession(container.url) as http:
        async with Listener(http) as listener:
            await eventually(lambda: listener.events)
    assert (listener.events[0].event, listener.events[0].data) == ("ping", "ping")


async def test_dropped_stream_is_broken_in_the_middle_of_an_event(container, http):
    async with Listener(http) as listener:
        await container.wait_for_streams()
        container.drop_streams(after=b"event: x\ndata: half")
        await eventually(lambda: listener.broken)
    assert (listener.raw, listener.events) == (b"event: x\ndata: half", [])


async def test_answer_can_break_off_in_the_middle(container, http):
    container.die_in_next_answer()
    with pytest.raises(aiohttp.ClientError):
        await call(http, "GET", "/agents")
    assert (await call(http, "GET", "/agents"))[0] == 200


async def test_frozen_container_answers_when_it_thaws(container, http):
    container.freeze()
    request = asyncio.create_task(call(http, "GET", "/health"))
    await eventually(lambda: container.requests)
    assert not request.done()
    container.thaw()
    assert (await request)[0] == 200


async def test_refusing_container_refuses_connections(container, http):
    await container.refuse()
    with pytest.raises(aiohttp.ClientConnectorError):
        await call(http, "GET", "/health")
    await container.listen()
    assert (await call(http, "GET", "/health"))[0] == 200


async def test_it_runs_as_a_program():
    with subprocess.Popen(  # noqa: ASYNC220 - its first line comes at once
        [sys.executable, "-m", "tests.fakes.container", "--port", "0"], stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            url = await asyncio.to_thread(program.stdout.readline)
            async with aiohttp.ClientSession(url.strip()) as http:
                assert (await call(http, "GET", "/health"))[1]["status"] == "healthy"
        finally:
            program.terminate()


async def test_crashed_agent_fails_its_turn_and_runs_again_when_spawned(container, http):
    session_id = await create_session(http)
    assert await call(http, "POST", f"/session/{session_id}/prompt", {"prompt": "crash"}) == (
        500,
        "Agent process exited",
    )
    assert (await call(http, "GET", "/agents/demo/status"))[1]["status"] == "error"
    assert (await call(http, "POST", "/agents/demo/spawn"))[1]["status"] == "running"
