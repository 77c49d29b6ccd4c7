"""Turns of which nothing is heard: warned of, asked about, ended as what they are."""

import asyncio
from collections.abc import AsyncIterator

import attrs
import pytest

from gateway.config.schema import EventsConfig, TurnsConfig
from tests.fakes.container import FakeContainer
from tests.world import QUICK, Gateway, GatewayProcess, Project, data_of


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    """A gateway that soon takes silence for a stall."""
    turns = TurnsConfig(stall_after=3, lost_after=60, cancel_timeout=1)
    config = attrs.evolve(QUICK, events=EventsConfig(lease=1), turns=turns)
    async with GatewayProcess(database_url, config).run() as running:
        yield running


async def test_a_silent_turn_is_warned_of_and_ends_as_stalled(project: Project) -> None:
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "say last words\nslow 60", wait=None)
        warned = (await stream.until("turn_stalling"))[-1]
        assert data_of(warned)["endsAfter"] == 3
        assert data_of(warned)["silentFor"] >= 1.5
        events = await stream.until("turn_ended")
    assert [event.event for event in events] == ["turn_ended"]
    assert (data_of(events[-1])["outcome"], data_of(events[-1])["failure"]) == ("stalled", "silent")
    # What ran there was cancelled, and is not in the way.
    assert (await project.prompt(session, "say again"))["turn"]["state"] == "completed"


async def test_a_turn_that_says_something_now_and_then_does_not_stall(project: Project) -> None:
    session = await project.create_session()
    done = await project.prompt(session, "\n".join(["slow 1", "say more"] * 5))
    assert done["turn"]["state"] == "completed"
    assert done["turn"]["startedAt"] < done["turn"]["endedAt"]


async def test_a_turn_that_waits_for_people_does_not_stall(gateway: Gateway, agent_host: str) -> None:
    project = await gateway.register(agent_host, defaultAgentId="demo")
    session = await project.create_session()
    async with project.events(session) as stream:
        turn = await project.prompt(session, "permission", wait=None)
        asked = data_of((await stream.until("permission_request"))[-1])
        await asyncio.sleep(4)
        shown = (await project.call("GET", f"/session/{session}/turns/{turn['turnId']}")).json
        assert shown["state"] == "running"
        await project.call("POST", f"/permission/{asked['permissionId']}", {"granted": True})
        ended = (await stream.until("turn_ended"))[-1]
    assert data_of(ended)["outcome"] == "completed"


async def test_a_turn_of_a_container_that_restarted_with_no_ids_is_ended_as_what_became_of_it(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url, defaultAgentId="demo")
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "say here\nslow 60", wait=None)
        await stream.until("session_update")
        await base_container.restart()
        ended = data_of((await stream.until("turn_ended"))[-1])
    assert (ended["outcome"], ended["failure"]) == ("failed", "session_lost")
    assert (await project.prompt(session, "say again"))["turn"]["state"] == "completed"


async def test_a_turn_whose_answer_was_cut_off_goes_on_until_its_container_tells_more(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url, defaultAgentId="demo")
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "say here\nslow 2\nsay there", wait=None)
        await stream.until("session_update")
        await base_container.refuse()
        await base_container.listen()
        await base_container.wait_for_streams()
        kinds = [event.event for event in await stream.until("session_update")]
        assert "turn_ended" not in kinds
        await base_container.kill_agent("demo")
        ended = data_of((await stream.until("turn_ended"))[-1])
    assert (ended["outcome"], ended["failure"]) == ("failed", "agent_died")
