"""Each turn ends once, with one of five ends, however many things would end it at the same time."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import pytest
from aiohttp import web

from gateway.config.schema import EventsConfig, TurnsConfig
from gateway.projects.room import PROJECTS
from gateway.sessions.room import SESSIONS
from gateway.sessions.sessions import Session
from gateway.turns.room import TURNS
from gateway.turns.turns import Started
from tests.fakes.container import FakeContainer
from tests.handlers.prompts import events_of, prompts_taken
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
    owner = await app[PROJECTS].store.get("local", project.id)
    blocks = [{"type": "text", "text": "say once"}]

    async def start() -> Started:
        session: Session = await app[SESSIONS].sessions.get(project.id, session_id)
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


class TellingContainer(FakeContainer):
    """Takes a prompt and says so at once; the end of its turn is the test's to tell."""

    def __init__(self, *capabilities: str) -> None:
        super().__init__()
        self.capabilities = ["end-turn", *capabilities]

    async def info(self, request: web.Request) -> Any:
        return {**(await super().info(request)), "capabilities": self.capabilities}

    async def prompt(self, request: web.Request) -> Any:
        return {"turnId": (await request.json())["turnId"]}

    def end_turn(self, turn_id: str) -> None:
        told = {"turnId": turn_id, "stopReason": "end_turn"}
        self.emit("session_end_turn", told, session_id=next(iter(self.sessions)), agent_id="demo")


async def test_the_end_of_a_turn_that_is_not_ours_ends_none_of_ours(gateway: Gateway) -> None:
    async with TellingContainer("turn-ids") as container:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            begun = await project.prompt(session, "say here", wait=None)
            container.end_turn("of-another-client")
            container.end_turn(begun["turnId"])
            events = [event for event in await stream.until("turn_ended") if event.event != "session_created"]
        assert [event.event for event in events] == ["turn_started", "container_event", "turn_ended"]


async def test_a_prompt_that_the_container_has_taken_is_not_sent_again(gateway: Gateway) -> None:
    """Whoever comes with its id while it is being stored finds it taken; the container would run it twice."""
    async with TellingContainer() as container:
        project = await gateway.register(container.url)
        session_id, app = await project.create_session(), gateway.app
        owner = await app[PROJECTS].store.get("local", project.id)
        session = await app[SESSIONS].sessions.get(project.id, session_id)
        blocks = [{"type": "text", "text": "say once"}]
        starts = [app[TURNS].start(owner, session, "local", blocks, turn_id="trn_reserved") for _ in range(10)]
        async with project.events(session_id) as stream:
            first, *others = await asyncio.gather(*starts)
            assert others == [first] * 9
            container.end_turn("trn_reserved")
            await stream.until("turn_ended")
        sent = [request for request in container.requests if request.path.endswith("/prompt")]
        assert len(sent) == 1
