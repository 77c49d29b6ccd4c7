"""Turns whose gateway is killed: the container gets each prompt once, and each turn ends once, truly."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import attrs
import pytest

from gateway.config.schema import EventsConfig, TurnsConfig
from tests.conftest import administer
from tests.fakes.container import FakeContainer
from tests.handlers.prompts import NOT_SENT_YET, events_of, prompts_taken
from tests.replica import replica
from tests.world import QUICK, Gateway, GatewayProcess, Project, data_of, text_of


@pytest.fixture
async def survivor(database_url: str) -> AsyncIterator[Gateway]:
    """A gateway that lives, and soon notices when another one does not."""
    config = attrs.evolve(QUICK, events=EventsConfig(lease=1), turns=TurnsConfig(lost_after=3))
    async with GatewayProcess(database_url, config).run() as running:
        yield running


@pytest.fixture
async def kept(survivor: Gateway, container_url: str) -> Project:
    """A project of each kind in turn, at the gateway that lives."""
    return await survivor.register(container_url, defaultAgentId="demo")


async def test_a_prompt_that_a_dead_gateway_stored_and_did_not_send_is_sent_by_another(
    kept: Project, database_url: str, tmp_path: Path
) -> None:
    session = await kept.create_session()
    async with kept.events(session) as stream, replica(database_url, tmp_path) as victim:
        administer(database_url, NOT_SENT_YET)
        await Project(victim.gateway, kept.id).prompt(session, "say once", wait=None)
        await stream.until("turn_started")
        assert await prompts_taken(kept) == 0
        await victim.kill()
        administer(database_url, "drop function not_yet cascade")
        events = await stream.until("turn_ended")
    assert (text_of(events), data_of(events[-1])["outcome"]) == ("once", "completed")
    assert await prompts_taken(kept) == 1


async def test_a_turn_whose_gateway_is_killed_goes_on_being_recorded_and_ends_truly(
    kept: Project, container_url: str, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tells_its_end = "agent-host" in request.node.callspec.id
    session = await kept.create_session()
    async with kept.events(session) as stream:
        async with replica(database_url, tmp_path) as victim:
            await Project(victim.gateway, kept.id).prompt(session, "say before\nslow 2\nsay after", wait=None)
            await stream.until("session_update")
            await victim.kill()
        events = await stream.until("turn_ended")
    assert text_of(events).split() == ["done", "after"]
    ended = data_of(events[-1])
    expected = ("completed", None) if tells_its_end else ("lost", "answer_lost")
    assert (ended["outcome"], ended["failure"]) == expected
    assert await prompts_taken(kept) == 1
    assert (await kept.prompt(session, "say next"))["turn"]["state"] == "completed"


async def test_whenever_its_gateway_is_killed_a_prompt_is_taken_once_or_was_never_stored(
    kept: Project, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    knows_a_prompt_again = "agent-host" in request.node.callspec.id
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown where it fails
    chance = random.Random(seed)
    for number in range(4):
        session = await kept.create_session()
        before = await prompts_taken(kept)
        async with replica(database_url, tmp_path) as victim:
            sent = asyncio.create_task(Project(victim.gateway, kept.id).prompt(session, f"say {number}", wait=None))
            await asyncio.sleep(chance.choice((0, 0.003, 0.01, 0.03)) + chance.random() * 0.01)
            await victim.kill()
            with suppress(aiohttp.ClientError):
                await sent
        await until_idle(kept, session)
        events = await events_of(kept, session)
        kinds = [event.event for event in events]
        started = kinds.count("turn_started")
        assert kinds.count("turn_ended") == started <= 1
        taken = await prompts_taken(kept) - before
        if taken < started and not knows_a_prompt_again:
            # It died after it had written down that it sends, and before it did. A container of the base contract knows
            # no prompt again, so it must not be sent twice: what nobody can know is said.
            [ended] = [data_of(event) for event in events if event.event == "turn_ended"]
            assert (ended["outcome"], ended["failure"]) == ("lost", "answer_lost")
        else:
            assert taken == started
        assert text_of(events) == str(number) * taken


async def test_a_gateway_that_was_taken_for_dead_ends_the_turn_whose_answer_it_hears(
    survivor: Gateway, base_container: FakeContainer, database_url: str
) -> None:
    kept = await survivor.register(base_container.url, defaultAgentId="demo")
    session = await kept.create_session()
    async with kept.events(session) as stream:
        await kept.prompt(session, "say here\nslow 6", wait=None)
        await stream.until("session_update")
        administer(database_url, "update turns set gateway_id = 'gateway-other', unanswered_since = now()")
        ended = (await stream.until("turn_ended"))[-1]
    assert data_of(ended)["outcome"] == "completed"
    assert await prompts_taken(kept) == 1


async def until_idle(project: Project, session_id: str) -> None:
    async with asyncio.timeout(20):
        while (await project.call("GET", f"/session/{session_id}")).json["status"] != "idle":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
