"""Prompts that wait: in order, each begun once, whoever dies, and never after they were cancelled."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from gateway.config.schema import EventsConfig, TurnsConfig
from tests.fakes.container import FakeContainer
from tests.handlers.expected import problem
from tests.handlers.prompts import events_of, prompts_taken
from tests.replica import replica
from tests.world import QUICK, Answer, Gateway, GatewayProcess, Project, data_of, text_of


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    """A gateway that lets three prompts wait."""
    config = attrs.evolve(QUICK, events=EventsConfig(lease=1), turns=TurnsConfig(max_queued=3))
    async with GatewayProcess(database_url, config).run() as running:
        yield running


async def queue(project: Project, session_id: str, prompt: str, **headers: str) -> Answer:
    body = {"prompt": prompt, "queue": True}
    return await project.call("POST", f"/session/{session_id}/prompt", body, headers=headers)


async def test_queued_prompts_begin_in_order_when_the_turn_before_ends(project: Project) -> None:
    session = await project.create_session()
    async with project.events(session) as stream:
        first = (await queue(project, session, "say 0\nslow 60")).json
        assert set(first) == {"turnId", "cursor"}, "nothing was in its way"
        await stream.until("session_update")
        answers = [await queue(project, session, f"say {number}") for number in (1, 2, 3)]
        assert [(answer.status, answer.json["state"], answer.json["position"]) for answer in answers] == [
            (202, "queued", 1),
            (202, "queued", 2),
            (202, "queued", 3),
        ]
        waiting = [answer.json["turnId"] for answer in answers]
        shown = (await project.call("GET", f"/session/{session}")).json
        assert (shown["status"], shown["turn"]["id"], shown["queue"]) == ("running", first["turnId"], waiting)
        turn = (await project.call("GET", f"/session/{session}/turns/{waiting[0]}")).json
        assert (turn["state"], turn["startedAt"], turn["prompt"]) == (
            "queued",
            None,
            [{"type": "text", "text": "say 1"}],
        )
        await project.call("POST", f"/session/{session}/cancel")
        for turn_id in waiting:
            begun = (await stream.until("turn_started"))[-1]
            assert turn_id in begun.data
        await stream.until("turn_ended")
    events = await events_of(project, session)
    assert text_of(events).replace("done", "") == "0123"
    kinds = [event.event for event in events if event.event in ("turn_started", "turn_ended")]
    assert kinds == ["turn_started", "turn_ended"] * 4
    assert [data_of(event)["outcome"] for event in events if event.event == "turn_ended"] == [
        "cancelled",
        *["completed"] * 3,
    ]
    messages = await project.messages(session)
    assert [m["content"][0]["text"] for m in messages if m["role"] == "user"][1:] == ["say 1", "say 2", "say 3"]


async def test_a_full_queue_is_told_and_a_prompt_that_does_not_wait_jumps_no_queue(project: Project) -> None:
    session = await project.create_session()
    async with project.events(session) as stream:
        await queue(project, session, "say 0\nslow 60")
        await stream.until("session_update")
        answers = await asyncio.gather(*(queue(project, session, f"say {number}") for number in range(6)))
        assert sorted(answer.status for answer in answers) == [202] * 3 + [409] * 3
        refused = next(answer for answer in answers if answer.status == 409)
        problem(refused, 409, "queue_full", says="max_queued")
        plain = await project.call("POST", f"/session/{session}/prompt", {"prompt": "say no"})
        problem(plain, 409, "session_busy", says="")
        await project.call("POST", f"/session/{session}/cancel")
        for _ in range(4):
            await stream.until("turn_ended")
    assert await prompts_taken(project) == 4


async def test_one_waits_for_the_end_of_a_turn_that_waits_itself(project: Project) -> None:
    session = await project.create_session()
    await project.prompt(session, "slow 1", wait=None)
    done = await queue(project, session, "say after", Prefer="wait=30")
    assert (done.status, done.json["turn"]["state"]) == (200, "completed")
    assert done.json["turn"]["prompt"] is None


async def test_a_queued_turn_that_is_cancelled_never_begins(project: Project) -> None:
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "say 0\nslow 60", wait=None)
        await stream.until("session_update")
        one, two = [(await queue(project, session, f"say {n}")).json["turnId"] for n in (1, 2)]
        cancelled = await project.call("POST", f"/session/{session}/cancel", {"turnId": one})
        assert (cancelled.status, cancelled.json) == (202, {"turnId": one})
        ended = (await stream.until("turn_ended"))[-1]
        assert one in ended.data
        assert data_of(ended)["outcome"] == "cancelled"
        assert (await project.call("GET", f"/session/{session}")).json["queue"] == [two]
        again = await project.call("POST", f"/session/{session}/cancel", {"turnId": one})
        assert (again.status, again.json) == (200, {"turnId": None})
        unknown = await project.call("POST", f"/session/{session}/cancel", {"turnId": "trn_none"})
        problem(unknown, 404, "turn_not_found", says="trn_none")
        await project.call("POST", f"/session/{session}/cancel")
        await stream.until("turn_ended")
        await stream.until("turn_ended")
    assert "1" not in text_of(await events_of(project, session))


async def test_a_queue_ends_with_its_session(project: Project) -> None:
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "say 0\nslow 60", wait=None)
        await stream.until("session_update")
        waiting = [(await queue(project, session, f"say {n}")).json["turnId"] for n in (1, 2)]
        await project.call("DELETE", f"/session/{session}")
        await stream.until("session_ended")
    events = await events_of(project, session)
    kinds = [event.event for event in events]
    assert (kinds.count("turn_started"), kinds.count("turn_ended"), kinds[-1]) == (1, 3, "session_ended")
    for turn_id in waiting:
        assert (await project.call("GET", f"/session/{session}/turns/{turn_id}")).json["state"] == "cancelled"
    problem(await queue(project, session, "say late"), 409, "session_ended", says="")


async def test_a_session_that_ends_while_prompts_are_queued_is_left_with_none(project: Project) -> None:
    for _ in range(3):
        session = await project.create_session()
        prompts = [queue(project, session, "slow 30") for _ in range(4)]
        *sent, ended = await asyncio.gather(*prompts, project.call("DELETE", f"/session/{session}"))
        assert ended.status == 200
        assert {answer.status for answer in sent} <= {202, 409}
        shown = (await project.call("GET", f"/session/{session}")).json
        assert (shown["status"], shown["turn"], shown["queue"]) == ("ended", None, [])
        events = await events_of(project, session)
        assert [event.event for event in events].count("turn_ended") == sum(answer.status == 202 for answer in sent)


async def test_a_queue_goes_on_when_the_gateway_that_kept_it_is_killed(
    project: Project, database_url: str, tmp_path: Path
) -> None:
    session = await project.create_session()
    async with project.events(session) as stream:
        async with replica(database_url, tmp_path) as victim:
            there = Project(victim.gateway, project.id)
            await there.prompt(session, "say 0\nslow 60", wait=None)
            await stream.until("session_update")
            for number in (1, 2):
                assert (await queue(there, session, f"say {number}")).status == 202
            await victim.kill()
        await project.call("POST", f"/session/{session}/cancel")
        for _ in range(3):
            await stream.until("turn_ended")
    events = await events_of(project, session)
    assert text_of(events).replace("done", "") == "012"
    # A turn that has to be ended with its agent takes its session along, and what that was asked.
    ended_with_agent = [event.event for event in events].count("agent_stopping")
    assert await prompts_taken(project) == 3 - ended_with_agent


async def test_a_queue_outlives_its_containers_restart(gateway: Gateway, base_container: FakeContainer) -> None:
    project = await gateway.register(base_container.url, defaultAgentId="demo")
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "say 0\nslow 60", wait=None)
        await stream.until("session_update")
        await queue(project, session, "say 1")
        await base_container.restart()
        assert data_of((await stream.until("turn_ended"))[-1])["failure"] == "session_lost"
        events = await stream.until("turn_ended")
    assert (text_of(events), data_of(events[-1])["outcome"]) == ("1", "completed")


async def test_a_queued_prompt_that_the_container_will_not_have_ends_as_failed(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url, defaultAgentId="demo")
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "say 0\nslow 60", wait=None)
        await stream.until("session_update")
        waiting = (await queue(project, session, "say 1")).json["turnId"]
        base_container.fail_next("/session", "no more sessions", 500)
        base_container.forget(next(iter(base_container.sessions)))
        await project.call("POST", f"/session/{session}/cancel")
        await stream.until("turn_ended")
        ended = (await stream.until("turn_ended"))[-1]
    assert waiting in ended.data
    assert (data_of(ended)["outcome"], data_of(ended)["failure"]) == ("failed", "agent_failed")
    assert (await project.prompt(session, "say again"))["turn"]["state"] == "completed"
