"""Limits: one more than there may be is refused with a code of its own, and what was there goes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import attrs
import pytest
from aiohttp import ClientResponse, web

from gateway.config.schema import LimitsConfig
from gateway.stream.room import STREAMS
from gateway.web import bodies
from gateway.web.handlers.requests import MAX_BODY
from gateway.web.keys import SETTINGS
from tests.fakes.eventually import eventually, until
from tests.middleware.conftest import ask_raw
from tests.proxy.peers import serve
from tests.telemetry.scraping import scrape
from tests.world import QUICK, Gateway, GatewayProcess, Project


def limited(database_url: str, **limits: Any) -> GatewayProcess:
    return GatewayProcess(database_url, attrs.evolve(QUICK, limits=LimitsConfig(**limits)))


async def refusals(gateway: Gateway, limit: str) -> float:
    return (await scrape(gateway)).of("acp_gateway_limit_refusals_total", limit=limit)


async def test_requests_that_come_too_fast_are_told_when_to_come_again(database_url: str) -> None:
    async with limited(database_url, requests_per_second=2).run() as gateway:
        answers = [await gateway.call("GET", "/api/projects") for _ in range(30)]
        statuses = [answer.status for answer in answers]
        # Ten seconds' worth at once, and what has come free since.
        assert 20 <= statuses.count(200) < 30
        refused = next(answer for answer in answers if answer.status == 429)
        assert refused.json["code"] == "too_many_requests"
        assert refused.json["limit"] == 2
        await asyncio.sleep(int(refused.headers["Retry-After"]))
        assert (await gateway.call("GET", "/api/projects")).status == 200
        # Nobody's account is asked for here.
        assert all([(await gateway.call("GET", "/healthz")).status == 200 for _ in range(30)])
        assert await refusals(gateway, "requests_per_second") == statuses.count(429)


async def test_a_stream_is_never_answered_429_but_told_to_come_back(database_url: str, agent_host: str) -> None:
    async with limited(database_url, requests_per_second=1).run() as gateway:
        project = await gateway.register(agent_host)
        while (await gateway.call("GET", "/api/projects")).status == 200:
            pass
        answer = await gateway.call("GET", f"{project.acp}/events")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert b"retry: " in answer.body


async def test_running_turns_are_limited_by_project_and_by_user(database_url: str, agent_host: str) -> None:
    for limit, name in (("turns_per_project", "project"), ("turns_per_user", "user")):
        async with limited(database_url, **{limit: 2}).run() as gateway:
            project = await gateway.register(agent_host, id=name, defaultAgentId="demo")
            sessions = [await project.create_session() for _ in range(3)]
            for session in sessions[:2]:
                await project.prompt(session, "slow 600", wait=None)
            refused = await project.call("POST", f"/session/{sessions[2]}/prompt", {"prompt": "say a"})
            assert (refused.status, refused.json["code"], refused.json["limit"]) == (429, "too_many_turns", 2)
            assert f"2 turns of one {name}" in refused.json["detail"]
            assert int(refused.headers["Retry-After"]) > 0
            await end(project, sessions[:2])
            assert (await project.prompt(sessions[2], "say a"))["turn"]["state"] == "completed"
            assert await refusals(gateway, limit) == 1
            await end(project, sessions)


async def test_a_busy_session_is_busy_and_a_prompt_for_it_may_wait_though_no_further_turn_may_run(
    database_url: str, agent_host: str
) -> None:
    async with limited(database_url, turns_per_project=1).run() as gateway:
        project = await gateway.register(agent_host, defaultAgentId="demo")
        session = await project.create_session()
        running = await project.prompt(session, "slow 600", wait=None)
        refused = await project.call("POST", f"/session/{session}/prompt", {"prompt": "say a"})
        assert (refused.status, refused.json["code"]) == (409, "session_busy")
        assert refused.json["turnId"] == running["turnId"]
        waiting = await project.call("POST", f"/session/{session}/prompt", {"prompt": "say a", "queue": True})
        assert (waiting.status, waiting.json["state"]) == (202, "queued")
        assert await refusals(gateway, "turns_per_project") == 0
        await end(project, [session])


@pytest.mark.parametrize("limit", ["turns_per_project", "turns_per_user"])
async def test_prompts_that_may_wait_begin_as_places_come_free_and_never_more_at_once_than_may_run(
    database_url: str, agent_host: str, limit: str
) -> None:
    async with limited(database_url, **{limit: 2}).run() as gateway:
        project = await gateway.register(agent_host, defaultAgentId="demo")
        sessions = [await project.create_session() for _ in range(6)]
        for session in sessions[:2]:
            await project.prompt(session, "slow 600", wait=None)
        for session in sessions[2:]:
            body = {"prompt": "slow 0.2", "queue": True}
            waiting = await project.call("POST", f"/session/{session}/prompt", body)
            assert (waiting.status, waiting.json["state"], waiting.json["position"]) == (202, "queued", 1)
        assert await refusals(gateway, limit) == 0
        for session in sessions[:2]:
            await project.call("POST", f"/session/{session}/cancel", {})
        running, most, ended = 0, 0, 0
        async with asyncio.timeout(60), project.events(query="?from=start") as stream:
            while ended < len(sessions):
                event = await stream.next()
                running += (event.event == "turn_started") - (event.event == "turn_ended")
                most, ended = max(most, running), ended + (event.event == "turn_ended")
        assert most == 2


async def end(project: Project, sessions: list[str]) -> None:
    for session in sessions:
        await project.call("DELETE", f"/session/{session}")


async def test_a_call_that_is_sent_again_is_answered_though_no_place_is_left(
    database_url: str, agent_host: str
) -> None:
    async with limited(database_url, turns_per_project=1, sessions_per_project=1).run() as gateway:
        project = await gateway.register(agent_host, defaultAgentId="demo")
        again = partial(twice, project)
        session = (await again("/session", {}))["id"]
        await again(f"/session/{session}/prompt", {"prompt": "slow 600"})
        await end(project, [session])


async def twice(project: Project, path: str, body: Any) -> Any:
    """The one answer to a call that is sent twice."""
    headers = {"Idempotency-Key": path}
    first, second = [await project.call("POST", path, body, headers=headers) for _ in range(2)]
    assert (first.status, first.json) == (second.status, second.json)
    assert first.status in (201, 202)
    return first.json


async def test_living_sessions_of_a_project_are_limited(database_url: str, agent_host: str) -> None:
    async with limited(database_url, sessions_per_project=2).run() as gateway:
        project = await gateway.register(agent_host, defaultAgentId="demo")
        sessions = [await project.create_session() for _ in range(2)]
        refused = await project.call("POST", "/session", {})
        assert (refused.status, refused.json["code"], refused.json["limit"]) == (409, "too_many_sessions", 2)
        await end(project, sessions[:1])
        assert (await project.call("POST", "/session", {})).status == 201


async def test_a_prompt_that_is_waited_for_leaves_room_for_what_its_user_sends_meanwhile(
    base_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(bodies, "MOST_BYTES", 60)
    session = await base_project.create_session()
    prompting = asyncio.create_task(base_project.prompt(session, f"slow 600{' ' * 50}"))
    path = f"/session/{session}/cancel"

    async def cancelled() -> bool:
        answer = await base_project.call("POST", path, {"turnId": None})
        # Until the prompt has begun there is nothing to cancel.
        assert answer.status in (200, 202), answer.body
        return answer.status == 202

    await until(cancelled)
    assert (await prompting)["turn"]["state"] == "cancelled"


@pytest.mark.parametrize("sent", [b"{}", b"{}" + b" " * (MAX_BODY - 2)], ids=["in chunks", "as large as may be"])
async def test_a_body_takes_the_room_of_what_came_of_it_and_none_takes_none(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """Once it is known: before, one that comes in chunks may have as many bytes as its route takes."""
    monkeypatch.setattr(bodies, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(bodies, "MOST_BYTES", MAX_BODY)
    asked, going_on = asyncio.Event(), asyncio.Event()

    async def container(request: web.Request) -> web.Response:
        if request.path == "/agents":
            asked.set()
            await going_on.wait()
        return web.json_response({"success": True, "data": {}})

    async with serve(container) as upstream:
        project = await gateway.register(f"http://{upstream.host}:{upstream.port}", defaultAgentId="demo")
        headers = {"Content-Type": "application/json"}
        fields = [f"{name}: {value}" for name, value in headers.items()]
        data, body = (pieces(sent), b"{}") if sent == b"{}" else (sent, b"")
        url = f"{gateway.url}{project.acp}/session"
        creating = asyncio.ensure_future(gateway.http.post(url, data=data, headers=headers))
        await asyncio.wait_for(asked.wait(), 3)
        # No length is told of no body.
        answer = await ask_raw(gateway, f"POST {project.acp}/session/unknown/cancel", *fields, body=body)
        going_on.set()
        (await creating).close()
        assert answer.status == 404, answer


async def pieces(raw: bytes) -> AsyncIterator[bytes]:
    yield raw


async def test_streams_of_a_user_are_limited_and_one_that_ends_makes_room(database_url: str, agent_host: str) -> None:
    async with limited(database_url, streams_per_user=2).run() as gateway, AsyncExitStack() as stack:
        project = await gateway.register(agent_host)
        opened = []
        for _ in range(2):
            response: ClientResponse = await gateway.http.get(f"{gateway.url}{project.acp}/events")
            stack.callback(response.close)
            await response.content.readany()
            opened.append(response)
        third = await gateway.call("GET", f"{project.acp}/events")
        assert third.status == 200
        assert b"retry: " in third.body  # and it has ended
        assert len(gateway.app[STREAMS].streams) == 2
        opened[0].close()
        await eventually(lambda: len(gateway.app[STREAMS].streams) == 1)
        async with project.events() as stream:
            assert (await stream.block()).event == "heartbeat"
            assert await refusals(gateway, "streams_per_user") == 1


async def test_a_prompt_that_is_too_large_is_refused_before_anything_is_done(
    database_url: str, agent_host: str
) -> None:
    async with limited(database_url, prompt_bytes=1000).run() as gateway:
        project = await gateway.register(agent_host, defaultAgentId="demo")
        session = await project.create_session()
        refused = await project.call("POST", f"/session/{session}/prompt", {"prompt": "x" * 1000})
        assert (refused.status, refused.json["code"], refused.json["limit"]) == (413, "prompt_too_large", 1000)
        assert await project.messages(session) == []
        assert (await project.prompt(session, "say a"))["turn"]["state"] == "completed"


async def test_a_page_has_as_many_entries_as_it_may_have(database_url: str) -> None:
    async with limited(database_url, page=2).run() as gateway:
        for number in range(3):
            await gateway.register("http://127.0.0.1:1", id=f"p{number}")
        for query in ("", "?limit=3", "?limit=200"):
            page = (await gateway.call("GET", f"/api/projects{query}")).json
            assert [project["id"] for project in page["projects"]] == ["p0", "p1"]
            assert page["next"] == "p1"


async def test_a_limit_of_0_is_none_and_one_that_is_changed_counts_at_once(database_url: str) -> None:
    async with limited(database_url, requests_per_second=0).run() as gateway:
        assert {(await gateway.call("GET", "/api/projects")).status for _ in range(50)} == {200}
        gateway.app[SETTINGS].change({("limits", "requests_per_second"): 0.1})
        assert {(await gateway.call("GET", "/api/projects")).status for _ in range(5)} == {200, 429}


@pytest.mark.parametrize("rate", [0.05, 0.5])
async def test_a_rate_below_one_request_in_ten_seconds_lets_one_in(database_url: str, rate: float) -> None:
    async with limited(database_url, requests_per_second=rate).run() as gateway:
        statuses = [(await gateway.call("GET", "/api/projects")).status for _ in range(8)]
        assert (statuses[0], statuses[-1]) == (200, 429)


async def test_a_page_of_the_audit_has_as_many_entries_as_it_may_have(database_url: str) -> None:
    async with limited(database_url, page=2).run() as gateway:
        project = await gateway.register("http://127.0.0.1:1")
        for number in range(3):
            await gateway.call("PATCH", project.path, {"name": f"n{number}"})
        found, after = [], ""
        while after is not None:
            page = (await gateway.call("GET", f"{project.path}/audit?limit=200{after}")).json
            assert 1 <= len(page["entries"]) <= 2
            found += [entry["id"] for entry in page["entries"]]
            after = page["next"] and f"&after={page['next']}"
        assert len(found) >= 4
        assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(LimitsConfig)])
def test_the_defaults_let_a_person_work(name: str) -> None:
    assert getattr(LimitsConfig(), name) >= 100
