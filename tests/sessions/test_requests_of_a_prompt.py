"""What a prompt asks of its container: one request of an agent host, two of a container of the base contract."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.db.pool import Database
from gateway.follow.room import FOLLOWERS
from tests.agenthost.hosts import chunk
from tests.db.things import ask
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.fakes.hostile import CAPABILITIES, HostileContainer, envelope
from tests.sessions.everything import everything
from tests.sessions.injecting import ANNS, Hosts, restored, run, session_of, shared, store
from tests.world import Gateway, GatewayProcess, Project, text_of

PROMPT = "POST /session/c0/prompt"


@pytest.fixture
async def gateway(gateways: GatewayProcess) -> AsyncIterator[Gateway]:
    async with gateways.run() as running:
        yield running


@pytest.fixture
def asked() -> list[str]:
    """What the hosts have been asked."""
    return []


@pytest.fixture
def hosts(tmp_path: Path, asked: list[str]) -> Hosts:
    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked.append(f"{request.method} {request.path}")
        return await handler(request)

    return Hosts(tmp_path, middlewares=[note])


def requests_of(container: HostileContainer) -> list[str]:
    """What it was asked since this was last called, but for its stream."""
    asked = [f"{method} {path}" for method, path in container.asked if path != "/events"]
    container.asked.clear()
    return asked


def another_boot(container: HostileContainer, boot: str = "another") -> None:
    """It is another one from now on, at the same address, and whoever follows the former one has not noticed."""
    container.answers[("GET", "/info")] = envelope({"bootId": boot, "capabilities": CAPABILITIES})
    container.answers[("POST", "/session/c0/prompt")] = partial(
        web.json_response, {"success": False, "error": "there is no session c0"}, status=404
    )


async def is_followed(database_url: str, boot: str) -> None:
    """Once the stream of this boot is read."""
    followed = "select 1 from container_facts join follower_leases using (project_id, fence) where connected"
    await eventually(lambda: ask(database_url, f"{followed} and boot_id = '{boot}'"))


async def turn_of(database: Database, project: Project, turn_id: str) -> tuple[str, str]:
    row = await database.fetch_one("get_turn", project_id=project.id, id=turn_id)
    assert row is not None
    return row["container_boot_id"], row["container_session_id"]


@pytest.mark.parametrize("agent", ["free", "keyed"])
async def test_a_prompt_is_one_request_to_an_agent_host(
    gateway: Gateway, hosts: Hosts, asked: list[str], agent: str
) -> None:
    async with hosts.run() as url:
        project = await shared(gateway, url)
        await store(gateway, "ann", ANNS)
        session = await session_of(project, "ann", agent)
        for _ in range(3):
            asked.clear()
            assert (await run(project, "ann", session, chunk("x")))["state"] == "completed"
            assert [one.rpartition("/")[2] for one in asked] == ["prompt"]


@pytest.mark.parametrize("key", [None, ANNS])
async def test_a_prompt_is_two_requests_to_a_base_container(
    gateway: Gateway, base_container: FakeContainer, key: str | None
) -> None:
    project = await shared(gateway, base_container.url)
    if key is not None:
        await store(gateway, "ann", key, "demo")
    session = await session_of(project, "ann", "demo")
    for _ in range(3):
        base_container.requests.clear()
        assert (await project.as_user("ann").prompt(session, "say x"))["turn"]["state"] == "completed"
        asked = [f"{request.method} {request.path.rpartition('/')[2]}" for request in base_container.requests]
        assert asked == ["GET agents", "POST prompt"]


async def test_a_gateway_that_does_not_follow_the_container_knows_what_it_is_all_the_same(
    gateways: GatewayProcess, hosts: Hosts, asked: list[str]
) -> None:
    gateways = gateways.with_long_leases()
    async with hosts.run() as url, gateways.run() as follows:
        session = await session_of(await shared(follows, url), "ann", "free")
        async with gateways.run() as other:
            assert follows.app[FOLLOWERS].held() == ["demo"]
            asked.clear()
            assert (await run(Project(other, "demo"), "ann", session, chunk("x")))["state"] == "completed"
            assert [one.rpartition("/")[2] for one in asked] == ["prompt"]


async def test_another_boot_is_noticed_and_asked_who_it_is_once(
    gateway: Gateway, hosts: Hosts, asked: list[str], database: Database
) -> None:
    async with hosts.run() as url:
        project = await shared(gateway, url)
        await store(gateway, "ann", ANNS)
        session = await session_of(project, "ann")
        first = await run(project, "ann", session, chunk("x"))
    async with hosts.run():
        second = await run(project, "ann", session, chunk("y"))
        assert second["state"] == "completed"
        (told,) = await restored(project, session)
        assert (told["how"], told["reason"]) == ("load", "container_restarted")
        before, after = [(await turn_of(database, project, turn["id"]))[0] for turn in (first, second)]
        assert before != after
        asked.clear()
        third = await run(project, "ann", session, chunk("z"))
        assert [one.rpartition("/")[2] for one in asked] == ["prompt"]
        assert (await turn_of(database, project, third["id"]))[0] == after
    assert text_of(await everything(project, session)) == "xyz"


async def test_a_session_that_an_agent_host_has_forgotten_is_taken_up_once_it_refuses_the_prompt(
    gateway: Gateway, hosts: Hosts
) -> None:
    async with hosts.run() as url:
        project = await shared(gateway, url)
        await store(gateway, "ann", ANNS)
        session = await session_of(project, "ann")
        async with gateway.http.get(f"{url}/sessions") as listed:
            (known,) = (await listed.json())["data"]["sessions"]
        (await gateway.http.delete(f"{url}/session/{known['id']}")).close()
        assert (await run(project, "ann", session, chunk("x")))["state"] == "completed"
        (told,) = await restored(project, session)
        assert (told["how"], told["reason"]) == ("load", "container_forgot")
    kinds = [event.event for event in await everything(project, session)]
    assert kinds.count("turn_started") == kinds.count("turn_ended") == 1
    assert text_of(await everything(project, session)) == "x"


async def test_a_container_that_nobody_knows_to_be_another_one_runs_the_prompt_once_and_keeps_its_turn(
    gateway: Gateway, database: Database, database_url: str
) -> None:
    async with HostileContainer() as container:
        project = await gateway.as_user("ann").register(container.url)
        session = await project.create_session()
        requests_of(container)
        another_boot(container)
        turn = (await project.prompt(session, "hi", wait=None))["turnId"]
        await eventually(lambda: sum(path.endswith("/prompt") for _, path in container.asked) == 2)
        asked = requests_of(container)
        assert (asked[0], asked[1]) == (PROMPT, "GET /info")
        boot, container_session = await turn_of(database, project, turn)
        prompts = [one for one in asked if one.endswith("/prompt")]
        assert (boot, prompts) == ("another", [PROMPT, f"POST /session/{container_session}/prompt"])
        # Whoever follows finds the new boot now, and that the turn is of it.
        await container.cut()
        await is_followed(database_url, "another")
        assert (await project.call("GET", f"/session/{session}/turns/{turn}")).json["state"] == "running"


async def test_a_prompt_that_no_session_takes_fails_its_turn_after_one_more_try(gateway: Gateway) -> None:
    async with HostileContainer() as container:
        project = await gateway.as_user("ann").register(container.url)
        session = await project.create_session()
        requests_of(container)
        unknown = partial(web.json_response, {"success": False, "error": "there is no such session"}, status=404)
        container.answers[("POST", "/session/*")] = unknown
        turn = (await project.prompt(session, "hi"))["turn"]
        assert (turn["state"], turn["failure"]) == ("failed", "session_lost")
        assert sum(one.endswith("/prompt") for one in requests_of(container)) == 2


async def test_a_session_that_the_new_boot_knows_is_not_taken_up(
    gateway: Gateway, database: Database, database_url: str
) -> None:
    async with HostileContainer() as container:
        project = await gateway.as_user("ann").register(container.url)
        session = await project.create_session()
        container.answers[("GET", "/info")] = envelope({"bootId": "another", "capabilities": CAPABILITIES})
        await container.cut()
        await is_followed(database_url, "another")
        requests_of(container)
        turn = (await project.prompt(session, "hi", wait=None))["turnId"]
        await eventually(lambda: ("POST", "/session/c0/prompt") in container.asked)
        assert "GET /session/c0" in requests_of(container)
        assert await turn_of(database, project, turn) == ("another", "c0")
