"""Each turn ends once, with one of five ends, however many things would end it at the same time."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import attrs
import pytest

from gateway.config import EventsConfig, TurnsConfig
from gateway.keys import PROJECTS, SESSIONS, TURNS
from gateway.sessions.sessions import Session
from gateway.sessions.turns import Started
from tests.fakes.container import FakeContainer
from tests.handlers.test_orphaned_turns import events_of, prompts_taken
from tests.world import QUICK, Answer, Gateway, GatewayProcess, Project, data_of

OUTCOMES = {"completed", "cancelled", "failed", "stalled", "lost"}
ROUNDS = 6

Cause = Callable[[], Awaitable[object]]


@pytest.fixture
async def replicas(database_url: str) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """Two gateways on one database."""
    turns = TurnsConfig(cancel_timeout=2, stall_after=60, lost_after=2)
    config = attrs.evolve(QUICK, events=EventsConfig(lease=1), turns=turns)
    gateways = GatewayProcess(database_url, config)
    async with gateways.run() as one, gateways.run() as other:
        yield one, other


async def test_a_turn_ends_once_whatever_would_end_it(
    replicas: tuple[Gateway, Gateway], container_url: str, request: pytest.FixtureRequest
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown where it fails
    chance = random.Random(seed)
    one, two = (await replicas[0].register(container_url, defaultAgentId="demo"), Project(replicas[1], "demo"))
    base = request.getfixturevalue("base_container") if container_url_is_base(request) else None
    for _ in range(ROUNDS):
        session = await one.create_session()
        turn = (await chance.choice((one, two)).prompt(session, "say x\nslow 0.05", wait=None))["turnId"]
        causes = causes_of_an_end(one, two, session, base)
        chosen = chance.sample(causes, chance.randint(1, len(causes)))
        await asyncio.gather(*(after(chance.random() * 0.1, cause) for cause in chosen))
        ended = await end_of(two, session, turn)
        assert ended["state"] in OUTCOMES
        told = [event for event in await events_of(one, session) if event.event == "turn_ended"]
        assert [(turn in event.data, data_of(event)["outcome"]) for event in told] == [(True, ended["state"])]


def container_url_is_base(request: pytest.FixtureRequest) -> bool:
    return "base-contract" in request.node.callspec.id


def causes_of_an_end(one: Project, two: Project, session: str, base: FakeContainer | None) -> list[Cause]:
    async def restart() -> None:
        assert base is not None
        await base.restart()

    causes: list[Cause] = [
        lambda: one.call("POST", f"/session/{session}/cancel"),
        lambda: two.call("POST", f"/session/{session}/cancel"),
        lambda: one.call("POST", "/agents/demo/stop"),
        lambda: two.call("DELETE", f"/session/{session}"),
    ]
    return [*causes, restart] if base is not None else causes


async def after(seconds: float, cause: Cause) -> None:
    await asyncio.sleep(seconds)
    answer = await cause()
    assert not isinstance(answer, Answer) or answer.status not in (500, 404), answer.body


async def end_of(project: Project, session: str, turn: str) -> dict[str, object]:
    async with asyncio.timeout(30):
        while True:
            shown = (await project.call("GET", f"/session/{session}/turns/{turn}")).json
            if shown["state"] not in ("queued", "running"):
                return dict(shown)
            await asyncio.sleep(0.05)


async def test_a_turn_that_is_started_again_under_its_id_is_that_turn(project: Project) -> None:
    session_id, app = await project.create_session(), project.gateway.app
    owner = await app[PROJECTS].get("local", project.id)
    blocks = [{"type": "text", "text": "say once"}]

    async def start() -> Started:
        session: Session = await app[SESSIONS].get(project.id, session_id)
        begun = await app[TURNS].start(owner, session, "local", blocks, turn_id="trn_reserved")
        assert isinstance(begun, Started)
        return begun

    first = await start()
    assert await start() == first
    await end_of(project, session_id, "trn_reserved")
    assert await start() == first
    kinds = [event.event for event in await events_of(project, session_id)]
    assert kinds.count("turn_started") == kinds.count("turn_ended") == 1
    assert await prompts_taken(project) == 1
