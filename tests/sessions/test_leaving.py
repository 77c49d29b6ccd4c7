"""A project that goes to another container leaves nothing in the former one that its users' agents were given."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from gateway.container.room import CONTAINERS
from gateway.errors import AuthRequired
from gateway.injection import withdrawals
from gateway.injection.room import INJECTION
from gateway.projects.room import PROJECTS
from tests.agenthost.hosts import alive, chunk
from tests.db.things import ask
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually, until
from tests.replica import replica
from tests.sessions.injecting import (
    ANNS,
    BOBS,
    Hosts,
    create,
    has_process_with,
    pid_of,
    restored,
    run,
    session_of,
    shared,
    store,
    ways,
)
from tests.sessions.leaving import gate, hold_up, hosts, move
from tests.world import PROXIED, Gateway, GatewayProcess, Project


@pytest.fixture
async def gateway(database_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with GatewayProcess(database_url, PROXIED).configured(credentials=ways(tmp_path)).run() as running:
        yield running


@pytest.fixture
def former(tmp_path: Path) -> Hosts:
    return hosts(tmp_path, "former")


@pytest.fixture
def later(tmp_path: Path) -> Hosts:
    return hosts(tmp_path, "later")


KEPT = "select count(*) from withdrawals"


async def test_what_runs_with_users_credentials_in_the_former_container_ends(
    gateway: Gateway, former: Hosts, later: Hosts
) -> None:
    async with former.run() as there, later.run() as here:
        project = await shared(gateway, there)
        await store(gateway, "ann", ANNS)
        await store(gateway, "bob", BOBS)
        session = await session_of(project, "ann")
        processes = [await pid_of(project, session), await pid_of(project, await session_of(project, "bob"))]
        nobodys = await pid_of(project, await session_of(project, "bob", "free"))
        await move(project, here)
        await eventually(lambda: not any(map(alive, processes)))
        assert not has_process_with(ANNS)
        assert alive(nobodys)
        # And where the project is now, its session is taken up with its owner's credential.
        assert (await run(project, "ann", session, chunk("x")))["state"] == "completed"
        assert has_process_with(ANNS)


async def test_an_agent_of_the_base_contract_is_stopped_in_the_former_container_where_it_was_somebodys(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await shared(gateway, base_container.url)
    await store(gateway, "ann", ANNS, "demo")
    session = await session_of(project, "ann", "demo")
    await session_of(project, "ann", "opencode")
    async with FakeContainer() as later:
        await move(project, later.url)
        await eventually(lambda: not base_container.agents["demo"].running)
        assert base_container.agents["opencode"].running
        # The process there is no process here: it is whoever's asks first.
        await store(gateway, "bob", BOBS, "demo")
        assert (await create(project, "bob", "demo")).status == 201
        assert later.agents["demo"].env["A_KEY"] == BOBS
        refused = await project.call("POST", f"/session/{session}/prompt", {"prompt": "x"})
        assert (refused.status, refused.json["code"]) == (409, "agent_in_use")


async def test_another_name_for_a_container_of_the_base_contract_gives_nobody_anothers_process(
    gateway: Gateway, base_container: FakeContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The stop there comes later than whoever is next.
    hold_up(monkeypatch)
    project = await shared(gateway, base_container.url)
    await store(gateway, "ann", ANNS, "demo")
    session = await session_of(project, "ann", "demo")
    await move(project, base_container.url.replace("127.0.0.1", "localhost"))
    bobs = await session_of(project, "bob", "demo")
    assert (await project.as_user("bob").prompt(bobs, "say x"))["turn"]["state"] == "completed"
    assert base_container.agents["demo"].env == {}
    refused = await project.call("POST", f"/session/{session}/prompt", {"prompt": "x"})
    assert (refused.status, refused.json["code"]) == (409, "agent_in_use")


async def test_a_project_that_comes_back_before_the_stop_gives_nobody_anothers_process(
    gateway: Gateway, base_container: FakeContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_up(monkeypatch)
    project = await shared(gateway, base_container.url)
    await store(gateway, "ann", ANNS, "demo")
    await store(gateway, "bob", BOBS, "demo")
    session = await session_of(project, "ann", "demo")
    async with FakeContainer() as later:
        await move(project, later.url)
        await move(project, base_container.url)
    assert base_container.agents["demo"].env["A_KEY"] == ANNS
    # She goes on with hers, in a process that is known to be so.
    assert (await project.prompt(session, "say x"))["turn"]["state"] == "completed"
    assert [told["reason"] for told in await restored(project, session)] == ["agent_restarted"]
    assert (await create(project, "bob", "demo")).status == 409


async def test_a_process_that_nobody_knows_of_ends_no_turn_for_another(
    gateway: Gateway, base_container: FakeContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_up(monkeypatch)
    project = await shared(gateway, base_container.url)
    await store(gateway, "ann", ANNS, "demo")
    session = await session_of(project, "ann", "demo")
    async with project.events(session) as stream:
        await project.prompt(session, "slow 60", wait=None)
        await stream.until("turn_started")
        await move(project, base_container.url.replace("127.0.0.1", "localhost"))
        refused = await create(project, "bob", "demo")
        assert (refused.status, refused.json["code"]) == (409, "agent_in_use")
        assert "works on a turn" in refused.json["detail"]
        assert base_container.agents["demo"].env["A_KEY"] == ANNS


async def test_an_agent_that_was_started_by_hand_is_started_anew_where_it_may_have_a_credential(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    plain = base_container.agents["plain"] = attrs.evolve(base_container.agents["demo"], id="plain")
    for agent in (base_container.agents["demo"], plain):
        agent.status, agent.env = "running", {"A_KEY": "by hand"}
    project = await shared(gateway, base_container.url)
    await session_of(project, "bob", "demo")
    await session_of(project, "bob", "plain")
    assert base_container.agents["demo"].env == {}
    assert plain.env == {"A_KEY": "by hand"}


async def test_what_a_gateway_was_taking_back_when_it_was_killed_is_taken_back_by_another(
    database_url: str, tmp_path: Path, former: Hosts, later: Hosts
) -> None:
    gateways = GatewayProcess(database_url, PROXIED).configured(credentials=ways(tmp_path))
    settings = {
        "ACP_GATEWAY_VAULT_KEYS": PROXIED.vault.keys,
        "ACP_GATEWAY_IDENTITY_MODES": "proxy,local",
        "ACP_GATEWAY_IDENTITY_PROXY_ADDRESSES": "127.0.0.0/8",
    }
    silent = gate(former, "GET", "/info")
    async with former.run() as there, later.run() as here:
        async with gateways.run() as gateway:
            project = await shared(gateway, there)
            await store(gateway, "ann", ANNS)
            process = await pid_of(project, await session_of(project, "ann"))
        async with replica(database_url, tmp_path, settings) as victim:
            silent.is_closed = True
            await move(Project(victim.gateway, project.id), here)
            # It is being asked, and dies before the container has answered.
            await eventually(lambda: silent.waiting and ask(database_url, f"{KEPT} where attempts = 1") == [(1,)])
            await victim.kill()
        silent.is_closed = False
        assert alive(process)
        ask(database_url, "update withdrawals set next_at = now() returning 1")
        async with gateways.run():
            await eventually(lambda: not alive(process))
            await eventually(lambda: ask(database_url, KEPT) == [(0,)])


async def test_a_former_container_that_does_not_answer_keeps_nobody_waiting_and_is_asked_again(
    gateway: Gateway, former: Hosts, later: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(withdrawals, "TRY_SECONDS", 0.5)
    monkeypatch.setattr(withdrawals, "PAUSES", (0.1, *(0.5,) * 20))
    silent = gate(former, "GET", "/info")
    async with former.run() as there, later.run() as here:
        project = await shared(gateway, there)
        await store(gateway, "ann", ANNS)
        process = await pid_of(project, await session_of(project, "ann"))
        silent.is_closed = True
        await move(project, here)
        # It was answered while the container said nothing; later that says something again.
        await eventually(lambda: silent.waiting >= 2)
        assert alive(process)
        silent.is_closed = False
        silent.open.set()
        await eventually(lambda: not alive(process))


async def test_a_former_container_that_stays_away_is_given_up_and_the_log_says_so(
    gateway: Gateway, former: Hosts, later: Hosts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(withdrawals, "PAUSES", (0.1,))
    async with later.run() as here:
        async with former.run() as there:
            project = await shared(gateway, there)
            await store(gateway, "ann", ANNS)
            await session_of(project, "ann")
        await move(project, here)
        await eventually(lambda: "credentials not taken back from a container" in caplog.messages)


async def test_a_late_try_takes_nothing_back_that_was_given_again_meanwhile(
    gateway: Gateway, former: Hosts, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(withdrawals, "TRY_SECONDS", 0.5)
    monkeypatch.setattr(withdrawals, "PAUSES", (3600.0,))
    silent = gate(former, "GET", "/info")
    async with former.run() as url:
        project = await shared(gateway, url)
        await store(gateway, "ann", ANNS)
        await session_of(project, "ann")
        silent.is_closed = True
        answer = await project.call("DELETE", "/agents/keyed/auth")
        assert answer.json["deleted"], answer.body
        await eventually(lambda: ask(database_url, f"{KEPT} where next_at > now() + interval '50 minutes'") == [(1,)])
        silent.is_closed = False
        silent.open.set()
        await store(gateway, "ann", ANNS)
        process = await pid_of(project, await session_of(project, "ann"))
        ask(database_url, "update withdrawals set next_at = now() returning 1")
        await eventually(lambda: ask(database_url, KEPT) == [(0,)])
        assert alive(process)


async def test_a_container_that_only_has_another_name_loses_nothing(gateway: Gateway, former: Hosts) -> None:
    async with former.run() as url:
        project = await shared(gateway, url)
        await store(gateway, "ann", ANNS)
        session = await session_of(project, "ann")
        process = await pid_of(project, session)
        for other in (url.replace("127.0.0.1", "localhost"), url + "/"):
            await move(project, other)
            assert (await run(project, "ann", session, chunk("x")))["state"] == "completed"
        assert await pid_of(project, session) == process
        assert alive(process)


async def test_a_client_that_does_not_wait_for_the_answer_keeps_nothing_from_being_taken_back(
    gateway: Gateway, former: Hosts, later: Hosts
) -> None:
    async with former.run() as there, later.run() as here:
        project = await shared(gateway, there)
        await store(gateway, "ann", ANNS)
        process = await pid_of(project, await session_of(project, "ann"))
        asking = asyncio.create_task(move(project, here))

        async def has_moved() -> bool:
            return (await gateway.app[PROJECTS].store.get_for_follower("demo")).acp_url == here

        await until(has_moved)
        asking.cancel()
        await eventually(lambda: not alive(process))


@pytest.mark.parametrize(
    ("user", "method", "path", "body"),
    [
        ("ann", "PATCH", "", {"acpUrl": "http://127.0.0.1:1"}),
        ("ann", "DELETE", "", None),
        ("ann", "DELETE", "/members/bob", None),
        ("ann", "PUT", "/members/bob", {"role": "viewer"}),
        ("bob", "DELETE", "/acp/agents/keyed/auth", None),
    ],
)
async def test_a_credential_that_was_on_its_way_when_it_was_taken_back_is_taken_back_all_the_same(
    gateway: Gateway, former: Hosts, user: str, method: str, path: str, body: Any
) -> None:
    making = gate(former, "POST", "/session")
    async with former.run() as there:
        project = await shared(gateway, there)
        await store(gateway, "bob", BOBS)
        making.is_closed = True
        created = asyncio.create_task(create(project, "bob"))
        await eventually(lambda: making.waiting)
        answer = await gateway.as_user(user).call(method, project.path + path, body)
        assert answer.status < 300, answer.body
        # The container has nothing of it to give back yet.
        await eventually(lambda: any(told.startswith("DELETE /agents/keyed/credential/") for told in making.answered))
        making.open.set()
        with suppress(aiohttp.ClientError):
            await created
        await eventually(lambda: "POST /session" in making.answered)
        await eventually(lambda: not has_process_with(BOBS))


async def test_a_credential_is_not_given_to_a_container_that_the_project_has_left(
    gateway: Gateway, former: Hosts, later: Hosts
) -> None:
    async with former.run() as there, later.run() as here:
        project = await shared(gateway, there)
        await store(gateway, "ann", ANNS)
        await session_of(project, "ann")
        containers, injecting = gateway.app[CONTAINERS], gateway.app[INJECTION].injecting
        before = await containers.project("demo")
        await move(project, here)
        await eventually(lambda: not has_process_with(ANNS))
        # As somebody does it who has looked the project up just before it was moved.
        given = await injecting.for_session(before, "keyed", "ann")
        with pytest.raises(AuthRequired, match="the project moved"):
            await injecting.hand_over(given, await containers.identify(before))
