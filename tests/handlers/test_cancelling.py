"""Cancelling: asked, waited for, and brought to an end by stopping the agent, whatever dies meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from gateway.config.schema import EventsConfig, TurnsConfig
from tests.conftest import administer
from tests.fakes.container import FakeContainer
from tests.handlers.prompts import NOT_SENT_YET, events_of, prompts_taken
from tests.replica import replica
from tests.world import QUICK, Gateway, GatewayProcess, Project, data_of, text_of

IMPATIENT = {"ACP_GATEWAY_TURNS_CANCEL_TIMEOUT": "1"}


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    """A gateway that waits but a second for a cancelled turn."""
    config = attrs.evolve(QUICK, events=EventsConfig(lease=1), turns=TurnsConfig(cancel_timeout=1))
    async with GatewayProcess(database_url, config).run() as running:
        yield running


async def cancel(project: Project, session_id: str) -> None:
    answer = await project.call("POST", f"/session/{session_id}/cancel")
    assert answer.status == 202, answer.body


async def test_a_turn_that_hears_no_cancel_ends_with_its_agent_and_the_log_says_so(project: Project) -> None:
    session, other = await project.create_session(), await project.create_session()
    async with project.events() as stream:
        beside = (await project.prompt(other, "say beside\nslow 60", wait=None))["turnId"]
        turn = (await project.prompt(session, "say first\ndeaf 60", wait=None))["turnId"]
        while "first" not in text_of(await stream.until("session_update")):
            continue
        await cancel(project, session)
        asked = (await stream.until("turn_cancelling"))[-1]
        assert data_of(asked) == {"requestedBy": "local"}
        stopping = (await stream.until("agent_stopping"))[-1]
        assert data_of(stopping) == {"agentId": "demo", "reason": "cancel_unanswered", "otherTurns": [beside]}
        ends = [(await stream.until("turn_ended"))[-1] for _ in range(2)]
    outcomes = {event.id: data_of(event)["outcome"] for event in ends}
    assert sorted(outcomes.values()) == ["cancelled", "failed"]
    shown = (await project.call("GET", f"/session/{session}/turns/{turn}")).json
    assert (shown["state"], shown["failure"]) == ("cancelled", None)
    # Both sessions are taken up again.
    for known in (session, other):
        assert (await project.prompt(known, "say again"))["turn"]["state"] == "completed"


async def test_a_turn_that_is_cancelled_before_its_prompt_is_sent_is_never_sent(
    project: Project, database_url: str
) -> None:
    session = await project.create_session()
    administer(database_url, NOT_SENT_YET)
    async with project.events(session) as stream:
        await project.prompt(session, "say never", wait=None)
        await cancel(project, session)
        administer(database_url, "drop function not_yet cascade")
        ended = (await stream.until("turn_ended"))[-1]
    assert data_of(ended)["outcome"] == "cancelled"
    assert await prompts_taken(project) == 0
    assert (await project.prompt(session, "say now"))["turn"]["state"] == "completed"


async def test_a_cancel_reaches_a_container_that_was_away(gateway: Gateway, base_container: FakeContainer) -> None:
    project = await gateway.register(base_container.url, defaultAgentId="demo")
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "say here\nslow 60", wait=None)
        await stream.until("session_update")
        await base_container.refuse()
        await cancel(project, session)
        # The prompt's answer is lost with its connection, and nothing is known until the container is back.
        await asyncio.sleep(1.5)
        assert (await project.call("GET", f"/session/{session}")).json["status"] == "running"
        await base_container.listen()
        ended = (await stream.until("turn_ended"))[-1]
    assert data_of(ended)["outcome"] == "cancelled"
    assert base_container.turns_under_way() == 0


async def test_a_cancel_outlives_the_gateway_that_took_it(project: Project, database_url: str, tmp_path: Path) -> None:
    session = await project.create_session()
    async with project.events(session) as stream:
        async with replica(database_url, tmp_path, IMPATIENT) as victim:
            there = Project(victim.gateway, project.id)
            await there.prompt(session, "say first\ndeaf 60", wait=None)
            await stream.until("session_update")
            await cancel(there, session)
            await victim.kill()
        events = await stream.until("turn_ended")
    assert "agent_stopping" in [event.event for event in events]
    assert data_of(events[-1])["outcome"] == "cancelled"


async def test_many_cancels_are_one(project: Project) -> None:
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "say first\nslow 60", wait=None)
        await stream.until("session_update")
        sent = (project.call("POST", f"/session/{session}/cancel") for _ in range(3))
        statuses = {answer.status for answer in await asyncio.gather(*sent)}
        # The first may have ended the turn before another comes.
        assert 202 in statuses <= {202, 200}
        await stream.until("turn_ended")
    kinds = [event.event for event in await events_of(project, session)]
    assert (kinds.count("turn_cancelling"), kinds.count("turn_ended")) == (1, 1)


async def test_a_turn_that_was_cancelled_and_is_over_is_told_to_be_over(project: Project) -> None:
    session = await project.create_session()
    async with project.events(session) as stream:
        turn = {"turnId": (await project.prompt(session, "say first\nslow 60", wait=None))["turnId"]}
        await stream.until("session_update")
        assert (await project.call("POST", f"/session/{session}/cancel", turn)).status == 202
        await stream.until("turn_ended")
    again = await project.call("POST", f"/session/{session}/cancel", turn)
    assert (again.status, again.json) == (200, {"turnId": None})
