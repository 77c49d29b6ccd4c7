"""Containers that answer an event stream with its first event and close a silent one, as Bun's server does."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.follow.follower import SOUND_SECONDS
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.world import Gateway, Project, data_of, text_of

IDLE_SECONDS = 2.5


@pytest.fixture
async def container(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeContainer]:
    # Bun waits for ten seconds.
    monkeypatch.setattr("gateway.proxy.exchange.DROPPED_SECONDS", 1.0)
    monkeypatch.setattr("gateway.follow.follower.SILENT_SECONDS", 2.0)
    monkeypatch.setattr("gateway.container.client.UNANSWERED_SECONDS", 1.0)
    async with FakeContainer(idle_timeout=IDLE_SECONDS) as container:
        yield container


async def closes_in_silence(container: FakeContainer, times: int = 1) -> None:
    opened = container.streams_opened
    await eventually(lambda: container.streams_opened >= opened + times, within=(times + 2) * (IDLE_SECONDS + 1))


async def gaps_of(project: Project, session_id: str) -> list[str]:
    events = await project.all_events(session_id)
    return [data_of(event)["reason"] for event in events if event.event == "gap"]


async def test_a_session_is_created_before_the_container_has_answered_the_stream(
    gateway: Gateway, container: FakeContainer
) -> None:
    project = await gateway.register(container.url)
    # No event comes before the session is there.
    container.agents["demo"].status = "running"
    session = await project.create_session()
    assert (await project.prompt(session, "say here"))["turn"]["state"] == "completed"
    assert text_of(await project.all_events(session)) == "here"


async def test_a_session_is_created_in_a_container_that_does_not_count_its_streams(
    gateway: Gateway, container: FakeContainer
) -> None:
    container.counts_streams = False
    project = await gateway.register(container.url)
    container.agents["demo"].status = "running"
    session = await project.create_session()
    assert (await project.prompt(session, "say here"))["turn"]["state"] == "completed"


async def test_a_stream_that_is_closed_while_nothing_can_be_said_leaves_no_gap(
    gateway: Gateway, container: FakeContainer
) -> None:
    project = await gateway.register(container.url)
    session = await project.create_session()
    await project.prompt(session, "say one")
    await closes_in_silence(container)
    before = await gaps_of(project, session)
    await closes_in_silence(container, times=2)
    await project.prompt(session, "say two")
    assert (before, await gaps_of(project, session)) == ([], [])
    assert text_of(await project.all_events(session)) == "onetwo"


async def test_a_stream_that_is_closed_during_a_turn_leaves_a_gap(gateway: Gateway, container: FakeContainer) -> None:
    project = await gateway.register(container.url)
    session = await project.create_session()
    started = await project.prompt(session, "say on\nslow 60", wait=None)
    async with project.events(session, last_event_id=started["cursor"]) as stream:
        gap = (await stream.until("gap"))[-1]
    assert data_of(gap)["reason"] == "stream_interrupted"
    await project.call("POST", f"/session/{session}/cancel")


async def test_a_prompt_whose_connection_is_closed_in_silence_is_not_sent_again_and_its_turn_goes_on(
    gateway: Gateway, container: FakeContainer
) -> None:
    project = await gateway.register(container.url)
    session = await project.create_session()
    turn = await project.prompt(session, f"say before\nslow {IDLE_SECONDS + 1}\nsay after", wait=None)
    async with project.events(session, last_event_id=turn["cursor"]) as stream:
        events = await stream.until("session_update")
        events += await stream.until("session_update")
        shown = (await project.call("GET", f"/session/{session}/turns/{turn['turnId']}")).json
        assert shown["state"] == "running"
        [inside] = container.sessions
        container.emit("session_end_turn", {"stopReason": "end_turn"}, session_id=inside)
        events += await stream.until("turn_ended")
    assert text_of(events) == "beforedone\nafter"
    assert data_of(events[-1])["outcome"] == "completed"
    assert len(container.requests_to("POST", f"/session/{inside}/prompt")) == 1
    assert (await project.prompt(session, "say again"))["turn"]["state"] == "completed"


async def test_a_container_that_comes_back_later_leaves_a_gap(gateway: Gateway, container: FakeContainer) -> None:
    project = await gateway.register(container.url)
    session = await project.create_session()
    await closes_in_silence(container)
    await asyncio.sleep(SOUND_SECONDS + 0.2)
    async with project.events(session) as stream:
        await container.refuse()
        await asyncio.sleep(0.5)  # nothing sees that a closed port was tried
        await container.listen()
        gap = (await stream.until("gap"))[-1]
    assert data_of(gap)["reason"] == "stream_interrupted"
