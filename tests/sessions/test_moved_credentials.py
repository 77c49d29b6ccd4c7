"""A user's credential stays where its user has had it used, and goes to another container only with them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.container.room import CONTAINERS
from gateway.injection.room import INJECTION
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually, until
from tests.sessions.injecting import ANNS, BOBS, create, has_process_with, session_of, shared, store, ways
from tests.sessions.leaving import Gate, gate, hold_up, hosts, move
from tests.world import PROXIED, Gateway, GatewayProcess, Project

NEWER = "bobs-newer-secret-0123456789"


@pytest.fixture
def gateways(database_url: str, tmp_path: Path) -> GatewayProcess:
    return GatewayProcess(database_url, PROXIED).configured(credentials=ways(tmp_path))


@pytest.fixture
async def gateway(gateways: GatewayProcess) -> AsyncIterator[Gateway]:
    async with gateways.run() as running:
        yield running


@pytest.fixture
async def later() -> AsyncIterator[FakeContainer]:
    """A container of somebody's who would like to have Bob's secret."""
    async with FakeContainer() as container:
        yield container


def has(container: FakeContainer, secret: str = BOBS) -> bool:
    """Whether it was ever given the secret."""
    return any(secret.encode() in request.body for request in container.requests)


async def bobs_session(gateway: Gateway, container: FakeContainer) -> tuple[Project, str]:
    """Ann's project, in which Bob has a session that his secret was used for."""
    project = await shared(gateway, container.url)
    await store(gateway, "bob", BOBS, "demo")
    session = await session_of(project, "bob", "demo")
    assert has(container)
    return project, session


async def queue_behind_a_turn(project: Project, session: str) -> str:
    """A turn of Bob's that waits for one of his that runs."""
    bob = project.as_user("bob")
    await bob.prompt(session, "slow 60", wait=None)
    queued = await bob.call("POST", f"/session/{session}/prompt", {"prompt": "say later", "queue": True})
    assert queued.json["state"] == "queued", queued.body
    turn: str = queued.json["turnId"]
    return turn


async def ended(project: Project, session: str, turn: str) -> dict[str, Any]:
    async def is_over() -> bool:
        return (await project.call("GET", f"/session/{session}/turns/{turn}")).json["endedAt"] is not None

    await until(is_over)
    told: dict[str, Any] = (await project.call("GET", f"/session/{session}/turns/{turn}")).json
    return told


async def test_what_waited_in_the_queue_takes_nothing_along(
    gateway: Gateway, base_container: FakeContainer, later: FakeContainer
) -> None:
    project, session = await bobs_session(gateway, base_container)
    turn = await queue_behind_a_turn(project, session)
    await move(project, later.url)
    await project.call("POST", f"/session/{session}/cancel", {})
    told = await ended(project, session, turn)
    assert (told["state"], told["failure"]) == ("failed", "container_moved")
    assert "'bob'" in told["message"]
    assert not has(later)
    # His own next prompt says that he means it.
    assert (await project.as_user("bob").prompt(session, "say yes"))["turn"]["state"] == "completed"
    assert has(later)


async def test_it_is_remembered_by_whoever_comes_after(
    gateways: GatewayProcess, base_container: FakeContainer, later: FakeContainer
) -> None:
    async with gateways.run() as first:
        project, session = await bobs_session(first, base_container)
        turn = await queue_behind_a_turn(project, session)
        await move(project, later.url)
    async with gateways.run() as second:
        project = Project(second.as_user("ann"), "demo")
        await project.call("POST", f"/session/{session}/cancel", {})
        assert (await ended(project, session, turn))["failure"] == "container_moved"
        assert not has(later)


@pytest.mark.parametrize(
    "act",
    [
        lambda bob, session: bob.call("POST", f"/session/{session}/prompt", {"prompt": "say x"}),
        lambda bob, session: bob.call("POST", f"/session/{session}/prompt", {"prompt": "say x", "queue": True}),
        lambda bob, session: create(bob, "bob", "demo"),
        lambda bob, session: bob.call("POST", "/agents/demo/spawn", {}),
    ],
    ids=["prompt", "queued prompt", "session", "spawn"],
)
async def test_what_its_user_does_there_themselves_counts(
    gateway: Gateway,
    base_container: FakeContainer,
    later: FakeContainer,
    act: Callable[[Project, str], Awaitable[Any]],
) -> None:
    project, session = await bobs_session(gateway, base_container)
    await move(project, later.url)
    answer = await act(project.as_user("bob"), session)
    assert answer.status in (200, 201, 202), answer.body
    await eventually(lambda: has(later))


async def test_what_others_do_there_does_not(
    gateway: Gateway, base_container: FakeContainer, later: FakeContainer
) -> None:
    project, session = await bobs_session(gateway, base_container)
    await move(project, later.url)
    await store(gateway, "ann", ANNS, "opencode")
    assert (await create(project, "ann", "opencode")).status == 201
    for method, path, body in (
        ("POST", f"/session/{session}/cancel", {}),
        ("POST", f"/session/{session}/prompt", {"prompt": "say x"}),
        ("POST", "/agents/demo/stop", {}),
        ("POST", "/agents/demo/spawn", {}),
        ("GET", f"/session/{session}/snapshot", None),
        ("DELETE", f"/session/{session}", None),
    ):
        await project.call(method, path, body)
    # Nor does what he only looks at.
    await project.as_user("bob").call("GET", f"/session/{session}/messages")
    assert not has(later)


async def test_back_where_it_was_used_it_is_used_as_before(
    gateway: Gateway, base_container: FakeContainer, later: FakeContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The turn that runs there goes on meanwhile.
    hold_up(monkeypatch)
    project, session = await bobs_session(gateway, base_container)
    turn = await queue_behind_a_turn(project, session)
    await move(project, later.url)
    await move(project, base_container.url)
    await project.call("POST", f"/session/{session}/cancel", {})
    told = await ended(project, session, turn)
    assert told["state"] == "completed", told


async def test_each_users_and_each_agents_is_bound_for_itself(
    gateway: Gateway, base_container: FakeContainer, later: FakeContainer
) -> None:
    project, session = await bobs_session(gateway, base_container)
    await store(gateway, "bob", NEWER, "opencode")
    await session_of(project, "bob", "opencode")
    turn = await queue_behind_a_turn(project, session)
    await move(project, later.url)
    assert (await create(project, "bob", "opencode")).status == 201
    await project.call("POST", f"/session/{session}/cancel", {})
    assert (await ended(project, session, turn))["failure"] == "container_moved"
    assert has(later, NEWER)
    assert not has(later)


async def test_a_renewal_stays_away_from_the_new_address(gateway: Gateway, tmp_path: Path) -> None:
    """With agent hosts, which are given renewed credentials without a prompt."""
    former, evil = hosts(tmp_path, "former"), hosts(tmp_path, "evil")
    given = [gate(where, "POST", "/agents/keyed/credential") for where in (former, evil)]
    async with former.run() as there, evil.run() as here:
        project = await shared(gateway, there)
        await store(gateway, "bob", BOBS)
        session = await session_of(project, "bob")
        await store(gateway, "bob", NEWER)
        await gateway.app[INJECTION].injecting.renewed("bob", "keyed")
        assert answered(given[0])
        await move(project, here)
        await store(gateway, "bob", BOBS + "again")
        await gateway.app[INJECTION].injecting.renewed("bob", "keyed")
        assert not answered(given[1])
        assert not has_process_with(BOBS + "again")
        assert (await project.as_user("bob").call("POST", f"/session/{session}/prompt", {"prompt": "[]"})).status == 202
        await eventually(lambda: has_process_with(BOBS + "again"))


def answered(gate: Gate) -> bool:
    return "POST /agents/keyed/credential" in gate.answered


async def test_somebody_who_took_the_lease_over_is_no_more_free_than_the_first(
    gateways: GatewayProcess, base_container: FakeContainer, later: FakeContainer
) -> None:
    """Both live: the one that did not hear of the move begins what waits."""
    async with gateways.run() as one, gateways.run() as other:
        project, session = await bobs_session(one, base_container)
        turn = await queue_behind_a_turn(project, session)
        await move(Project(other, "demo"), later.url)
        await asyncio.gather(
            *(
                Project(each.as_user("ann"), "demo").call("POST", f"/session/{session}/cancel", {})
                for each in (one, other)
            )
        )
        assert (await ended(project, session, turn))["failure"] == "container_moved"
        assert not has(later)
        assert (await one.app[CONTAINERS].project("demo")).acp_url == later.url
