"""Users' credentials in containers: who runs with which, and what becomes of them, seen from the gateway's door."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from gateway.container.room import CONTAINERS
from gateway.credentials import known
from gateway.credentials.room import CREDENTIALS
from gateway.errors import AuthRequired
from gateway.follow.room import FOLLOWERS
from gateway.injection.room import INJECTION
from tests.agenthost.hosts import alive, chunk
from tests.agenthost.processes import environment_of
from tests.db.things import ask
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.sessions.everything import everything
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
)
from tests.world import Gateway, GatewayProcess, Project, data_of, text_of

#: What takes the place of hers.
ANNS_NEXT, ANNS_LAST = "sk-next-of-ann-0123456789abcdef", "sk-last-of-ann-0123456789abcdef"


@pytest.fixture
async def gateway(gateways: GatewayProcess) -> AsyncIterator[Gateway]:
    async with gateways.run() as running:
        yield running


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


@pytest.fixture
async def project(gateway: Gateway, hosts: Hosts) -> AsyncIterator[Project]:
    """Ann's, with Bob as an operator, in front of an agent host."""
    async with hosts.run() as url:
        yield await shared(gateway, url)


@pytest.fixture
async def base_project(gateway: Gateway, base_container: FakeContainer) -> Project:
    """The same in front of a container of the base contract."""
    return await shared(gateway, base_container.url)


# What a container with our agent host is given.


async def test_two_users_of_one_project_never_share_a_process(gateway: Gateway, project: Project) -> None:
    await store(gateway, "ann", ANNS)
    await store(gateway, "bob", BOBS)
    anns, bobs, again = [await session_of(project, user) for user in ("ann", "bob", "ann")]
    pids = [await pid_of(project, session) for session in (anns, bobs, again)]
    assert pids[0] == pids[2] != pids[1]
    assert [environment_of(pid)["A_KEY"] for pid in pids] == [ANNS, BOBS, ANNS]
    shown = (await project.call("GET", f"/session/{bobs}")).json
    assert (shown["createdBy"], shown["credentialUserId"]) == ("bob", "bob")


async def test_session_without_the_credential_that_its_agent_wants_is_not_made(
    gateway: Gateway, project: Project
) -> None:
    await store(gateway, "bob", BOBS)
    for answer in (await create(project, "ann"), await project.call("POST", "/agents/keyed/spawn", {})):
        assert answer.status == 401
        assert answer.json["code"] == "auth_required"
        assert answer.json["authStart"] == "/api/projects/demo/acp/agents/keyed/auth/start"
        assert "WWW-Authenticate" in answer.headers
    assert (await project.call("GET", "/session")).json["sessions"] == []
    assert (await project.call("GET", "/agents/keyed/status")).json["status"] == "stopped"


async def test_spawn_starts_the_caller_s_process(gateway: Gateway, project: Project) -> None:
    await store(gateway, "bob", BOBS)
    assert (await project.as_user("bob").call("POST", "/agents/keyed/spawn", {})).status == 200
    assert environment_of(await pid_of(project, await session_of(project, "bob")))["A_KEY"] == BOBS


async def test_operator_s_own_variables_need_no_credential_and_are_not_stored(project: Project) -> None:
    answer = await project.call("POST", "/agents/keyed/spawn", {"env": {"B_KEY": "the operator's"}})
    assert answer.status == 200, answer.body
    session = await session_of(project, "bob")
    assert environment_of(await pid_of(project, session))["B_KEY"] == "the operator's"
    assert (await project.call("GET", f"/session/{session}")).json["credentialUserId"] is None


async def test_agent_that_needs_no_credential_works_without_and_anybody_prompts_it(project: Project) -> None:
    session = await session_of(project, "ann", "free")
    assert (await run(project, "bob", session, chunk("hello")))["state"] == "completed"


async def test_session_is_prompted_by_whose_credential_it_runs_with_alone(gateway: Gateway, project: Project) -> None:
    await store(gateway, "ann", ANNS)
    session = await session_of(project, "ann")
    bob = project.as_user("bob")
    for body in ({"prompt": "x"}, {"prompt": "x", "queue": True}):
        refused = await bob.call("POST", f"/session/{session}/prompt", body)
        assert (refused.status, refused.json["code"]) == (403, "not_your_credential")
    options = [{"optionId": "no", "name": "No", "kind": "reject_once"}]
    ask = ["call", "session/request_permission", {"toolCall": {"toolCallId": "t"}, "options": options}]
    async with bob.events(session) as stream:
        steps = json.dumps([ask, ["until-cancel"]])
        await project.call("POST", f"/session/{session}/prompt", {"prompt": steps})
        asked = data_of((await stream.until("permission_request"))[-1])
        answered = await bob.call("POST", f"/permission/{asked['permissionId']}", {"optionId": "no"})
        assert answered.status == 200, answered.body
        await stream.until("session_update")
        assert (await bob.call("POST", f"/session/{session}/cancel", {})).status == 202
        assert data_of((await stream.until("turn_ended"))[-1])["outcome"] == "cancelled"


async def test_renewed_credential_reaches_the_container_at_once_and_the_transcript_shows_it(
    gateway: Gateway, project: Project
) -> None:
    await store(gateway, "ann", ANNS)
    session = await session_of(project, "ann")
    before = await pid_of(project, session)
    await store(gateway, "ann", "renewed-" + ANNS)
    await gateway.app[INJECTION].injecting.renewed("ann", "keyed")
    await eventually(lambda: not alive(before))
    assert (await run(project, "ann", session, ["call", "x", {}]))["state"] == "completed"
    (told,) = await restored(project, session)
    assert (told["how"], told["reason"]) == ("load", "credential_renewed")
    second = await session_of(project, "ann")
    assert environment_of(await pid_of(project, second))["A_KEY"] == "renewed-" + ANNS


async def test_credential_that_was_renewed_unnoticed_is_given_ahead_of_the_next_prompt(
    gateway: Gateway, project: Project
) -> None:
    await store(gateway, "ann", ANNS)
    session = await session_of(project, "ann")
    before = await pid_of(project, session)
    await store(gateway, "ann", "renewed-" + ANNS)
    await run(project, "ann", session, chunk("x"))
    assert not alive(before)
    assert [told["reason"] for told in await restored(project, session)] == ["credential_renewed"]


async def test_credential_that_has_run_out_is_asked_for_with_the_next_prompt(
    gateway: Gateway, project: Project
) -> None:
    await store(gateway, "ann", ANNS)
    session = await session_of(project, "ann")
    await store(gateway, "ann", ANNS, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    answer = await project.call("POST", f"/session/{session}/prompt", {"prompt": "[]"})
    assert (answer.status, answer.json["code"]) == (401, "auth_required")
    assert (await project.call("GET", f"/session/{session}")).json["status"] == "idle"


async def test_queued_prompt_whose_credential_has_gone_ends_as_failed_and_says_why(
    gateway: Gateway, project: Project
) -> None:
    await store(gateway, "ann", ANNS)
    session = await session_of(project, "ann")
    async with project.events(session) as stream:
        await project.call("POST", f"/session/{session}/prompt", {"prompt": '[["until-cancel"]]'})
        await stream.until("turn_started")
        await project.call("POST", f"/session/{session}/prompt", {"prompt": "[]", "queue": True})
        await gateway.app[CREDENTIALS].store.delete_agent_auth_token("ann", "keyed")
        await project.call("POST", f"/session/{session}/cancel", {})
        ends = [data_of((await stream.until("turn_ended"))[-1]) for _ in range(2)]
    assert [end["outcome"] for end in ends] == ["cancelled", "failed"]
    assert ends[1]["failure"] == "auth_required"


async def test_credential_that_is_taken_back_ends_what_runs_with_it(gateway: Gateway, project: Project) -> None:
    await store(gateway, "ann", ANNS)
    await store(gateway, "bob", BOBS)
    session, bobs = [await session_of(project, user) for user in ("ann", "bob")]
    pid = await pid_of(project, session)
    async with project.events(session) as stream:
        await project.call("POST", f"/session/{session}/prompt", {"prompt": '[["until-cancel"]]'})
        await stream.until("turn_started")
        await eventually(lambda: alive(pid))
        disconnected = await project.call("DELETE", "/agents/keyed/auth")
        assert disconnected.status == 200, disconnected.body
        assert data_of((await stream.until("turn_ended"))[-1])["outcome"] == "failed"
    assert not alive(pid)
    assert alive(await pid_of(project, bobs))
    answer = await project.call("POST", f"/session/{session}/prompt", {"prompt": "[]"})
    assert (answer.status, answer.json["code"]) == (401, "auth_required")


async def test_session_that_the_container_lost_is_taken_up_with_its_owner_s_credential(
    gateway: Gateway, hosts: Hosts
) -> None:
    await store(gateway, "ann", ANNS)
    async with hosts.run() as url:
        project = await shared(gateway, url)
        session = await session_of(project, "ann")
    async with hosts.run():
        await run(project, "ann", session, chunk("x"))
        second = await session_of(project, "ann")
        assert environment_of(await pid_of(project, second))["A_KEY"] == ANNS
    assert [told["how"] for told in await restored(project, session)] == ["load"]


async def test_agent_that_refuses_a_credential_is_told_of_with_the_user_s_name(
    gateway: Gateway, project: Project
) -> None:
    await store(gateway, "ann", ANNS)
    session = await session_of(project, "ann")
    turn = await run(project, "ann", session, ["error", {"code": -32000, "message": f"Invalid key {ANNS}"}])
    assert (turn["state"], turn["failure"]) == ("failed", "auth_required")
    assert ANNS not in json.dumps(turn)
    async with project.events(query="?from=start") as stream:
        told = data_of((await stream.until("auth_required"))[-1])
    assert told["userId"] == "ann"
    assert "owner" not in told


async def test_nobody_but_the_gateway_gives_a_container_credentials(gateway: Gateway, project: Project) -> None:
    for method, path in (("POST", "credential"), ("DELETE", "credential/x"), ("POST", "cr%65dential")):
        answer = await project.call(method, f"/agents/keyed/{path}", {} if method == "POST" else None)
        assert (answer.status, answer.json["code"]) == (403, "forbidden")


async def test_kind_of_credential_that_nothing_is_known_of_is_said_to_be_so(gateway: Gateway, project: Project) -> None:
    await store(gateway, "ann", ANNS, token_type="token")
    answer = await create(project, "ann")
    assert (answer.status, answer.json["code"]) == (409, "credential_unusable")
    assert "kind token" in answer.json["detail"]


# A container of the base contract.


async def test_process_is_given_exactly_its_user_s_variables(
    gateway: Gateway, base_project: Project, base_container: FakeContainer
) -> None:
    await store(gateway, "ann", ANNS, "demo")
    await session_of(base_project, "ann", "demo")
    assert base_container.agents["demo"].env == {"A_KEY": ANNS, "B_KEY": ""}


async def test_process_of_one_person_is_not_another_s_until_an_operator_stops_it(
    gateway: Gateway, base_project: Project, base_container: FakeContainer
) -> None:
    await store(gateway, "ann", ANNS, "demo")
    await store(gateway, "bob", BOBS, "demo")
    anns = await session_of(base_project, "ann", "demo")
    bob = base_project.as_user("bob")
    for refused in (await create(base_project, "bob", "demo"), await bob.call("POST", "/agents/demo/spawn", {})):
        assert (refused.status, refused.json["code"]) == (409, "agent_in_use")
        assert "ann's credential" in refused.json["detail"]
        assert "/agents/demo/stop" in refused.json["detail"]
    assert base_container.agents["demo"].env["A_KEY"] == ANNS
    assert (await bob.call("POST", "/agents/demo/stop", {})).status == 200
    await session_of(base_project, "bob", "demo")
    assert base_container.agents["demo"].env["A_KEY"] == BOBS
    late = await base_project.call("POST", f"/session/{anns}/prompt", {"prompt": "x"})
    assert (late.status, late.json["code"]) == (409, "agent_in_use")


async def test_process_without_a_credential_is_nobody_s_and_not_taken_for_one_s_own(
    gateway: Gateway, base_project: Project, base_container: FakeContainer
) -> None:
    await session_of(base_project, "bob", "demo")
    await store(gateway, "ann", ANNS, "demo")
    refused = await create(base_project, "ann", "demo")
    assert (refused.status, refused.json["code"]) == (409, "agent_in_use")
    assert base_container.agents["demo"].env == {}


async def test_of_two_who_start_an_agent_at_once_one_has_it(
    gateway: Gateway, base_project: Project, base_container: FakeContainer
) -> None:
    await store(gateway, "ann", ANNS, "demo")
    await store(gateway, "bob", BOBS, "demo")
    users = ["ann", "bob"] * 3
    answers = await asyncio.gather(*(create(base_project, user, "demo") for user in users))
    has = {user for user, answer in zip(users, answers, strict=True) if answer.status == 201}
    assert {answer.status for answer in answers} == {201, 409}
    assert len(has) == 1
    assert base_container.agents["demo"].env["A_KEY"] == {"ann": ANNS, "bob": BOBS}[has.pop()]


async def test_process_with_an_old_credential_is_replaced_between_turns_and_the_transcript_shows_it(
    gateway: Gateway, base_project: Project, base_container: FakeContainer
) -> None:
    await store(gateway, "ann", ANNS, "demo")
    session, other = [await session_of(base_project, "ann", "demo") for _ in range(2)]
    await store(gateway, "ann", "renewed-" + ANNS, "demo")
    for one in (session, other):
        assert (await base_project.prompt(one, "say again"))["turn"]["state"] == "completed"
        assert len(await restored(base_project, one)) == 1
    assert base_container.agents["demo"].env["A_KEY"] == "renewed-" + ANNS
    assert [told["reason"] for told in await restored(base_project, session)] == ["credential_renewed"]


async def test_turn_that_runs_keeps_the_process_with_the_old_credential(
    gateway: Gateway, base_project: Project, base_container: FakeContainer
) -> None:
    await store(gateway, "ann", ANNS, "demo")
    session, other = [await session_of(base_project, "ann", "demo") for _ in range(2)]
    async with base_project.events(session) as stream:
        await base_project.prompt(session, "slow 60", wait=None)
        await stream.until("turn_started")
        await store(gateway, "ann", "renewed-" + ANNS, "demo")
        await base_project.prompt(other, "say x")
        assert base_container.agents["demo"].env["A_KEY"] == ANNS
        await base_project.call("POST", f"/session/{session}/cancel", {})
        await stream.until("turn_ended")
    await base_project.prompt(other, "say x")
    assert base_container.agents["demo"].env["A_KEY"] == "renewed-" + ANNS


async def test_credential_that_needs_a_call_does_not_fit_a_container_of_variables(
    gateway: Gateway, base_project: Project, base_container: FakeContainer
) -> None:
    base_container.agents["keyed"] = attrs.evolve(base_container.agents["demo"], id="keyed", requires_auth=True)
    await store(gateway, "ann", ANNS, token_type="oauth")
    answer = await create(base_project, "ann")
    assert (answer.status, answer.json["code"]) == (409, "credential_unusable")
    assert "variables only" in answer.json["detail"]
    assert not base_container.agents["keyed"].running


# Nothing of it comes back.


async def test_secret_that_an_agent_tells_is_masked_before_it_is_stored(
    gateway: Gateway, base_project: Project, base_container: FakeContainer
) -> None:
    await store(gateway, "ann", ANNS, "demo")
    session = await session_of(base_project, "ann", "demo")
    await base_project.prompt(session, f"env A_KEY\nsay {ANNS[:11]}\nsay {ANNS[11:]}")
    events = await everything(base_project, session)
    assert text_of(events) == f"A_KEY=***\n{ANNS[:8]}***"
    assert ANNS not in "".join(event.data for event in events if event.event != "turn_started")
    turn = (await base_project.prompt(session, f"fail key {ANNS}"))["turn"]
    assert turn["state"] == "failed"
    assert turn["message"].endswith("key ***")


async def test_of_a_secret_that_a_running_tool_prints_its_first_characters_are_stored_at_most(
    gateway: Gateway, base_project: Project
) -> None:
    await store(gateway, "ann", ANNS, "demo")
    session = await session_of(base_project, "ann", "demo")
    await base_project.prompt(session, f"output A_KEY={ANNS[:-1]}\noutput A_KEY={ANNS}")
    told = [event.data for event in await everything(base_project, session) if event.event == "session_update"]
    outputs = [data for data in told if "rawOutput" in data]
    assert f'"A_KEY={ANNS[:8]}***"' in outputs[0]
    assert '"A_KEY=***"' in outputs[1]


@pytest.mark.parametrize("word", ["sessionId", "sessionUpdate"])
async def test_secret_that_is_a_common_word_garbles_texts_and_breaks_nothing(
    gateway: Gateway, project: Project, base_container: FakeContainer, word: str
) -> None:
    """With our agent host, and with a container of the base contract."""
    base = await gateway.as_user("ann").register(base_container.url, id="base")
    for agent, where, script in (
        ("keyed", project, json.dumps([chunk(f"a {word} b"), chunk(" and more")])),
        ("demo", base, f"say a {word} b\nsay  and more"),
    ):
        await store(gateway, "ann", word, agent)
        session = await session_of(where, "ann", agent)
        assert (await where.prompt(session, script))["turn"]["state"] == "completed"
        told = [event for event in await everything(where, session) if event.event == "session_update"]
        assert text_of(told) == "a *** b and more"


async def test_secret_is_masked_by_the_gateway_that_follows_whoever_has_given_it(
    gateways: GatewayProcess, base_container: FakeContainer
) -> None:
    gateways = gateways.with_long_leases()
    async with gateways.run() as follows:
        await shared(follows, base_container.url)
        # With a session of somebody's it is followed, before there is any secret.
        await session_of(Project(follows.as_user("ann"), "demo"), "bob", "opencode")
        async with gateways.run() as gives:
            assert follows.app[FOLLOWERS].held() == ["demo"]
            project = Project(gives.as_user("ann"), "demo")
            await store(gives, "ann", ANNS, "demo")
            session = await session_of(project, "ann", "demo")
            await project.prompt(session, "env A_KEY")
            assert follows.app[FOLLOWERS].held() == ["demo"]
            assert text_of(await everything(project, session)) == "A_KEY=***\n"
            await store(gives, "ann", "renewed-" + ANNS, "demo")
            await project.prompt(session, f"env A_KEY\nsay {ANNS}")
            assert text_of(await everything(project, session)).endswith("A_KEY=***\n***")


async def test_former_secret_is_masked_after_a_renewal_and_a_restart(
    gateways: GatewayProcess, base_container: FakeContainer
) -> None:
    async with gateways.run() as gateway:
        project = await shared(gateway, base_container.url)
        await store(gateway, "ann", ANNS, "demo")
        session = await session_of(project, "ann", "demo")
        await store(gateway, "ann", ANNS_NEXT, "demo")
        await project.prompt(session, "say renewed")
        await store(gateway, "ann", ANNS_LAST, "demo")
    async with gateways.run() as gateway:
        project = Project(gateway.as_user("ann"), "demo")
        await project.prompt(session, f" {ANNS} {ANNS_NEXT} {ANNS_LAST}".replace(" ", "\nsay "))
        assert text_of(await everything(project, session)) == "renewed*********"
        assert (await project.call("DELETE", "/agents/demo/auth")).status == 200
    async with gateways.run() as gateway:
        project = Project(gateway.as_user("ann"), "demo")
        bobs = await session_of(project, "bob", "opencode")
        await Project(gateway.as_user("bob"), "demo").prompt(bobs, f"say {ANNS}\nsay {ANNS_LAST}")
        assert text_of(await everything(project, bobs)) == "******"


async def test_secret_is_known_as_given_though_another_has_taken_its_place_meanwhile(
    gateways: GatewayProcess, base_container: FakeContainer, database_url: str
) -> None:
    gateways = gateways.with_long_leases()
    async with gateways.run() as follows:
        await shared(follows, base_container.url)
        bob = Project(follows.as_user("bob"), "demo")
        session = await session_of(bob, "bob", "opencode")
        async with gateways.run() as gives:
            assert follows.app[FOLLOWERS].held() == ["demo"]
            await store(gives, "ann", ANNS, "demo")
            injecting, containers = gives.app[INJECTION].injecting, gives.app[CONTAINERS]
            found = await containers.project("demo")
            await injecting.agree(found, "demo", "ann")
            given = await injecting.for_session(found, "demo", "ann")
            assert given is not None
            container = await containers.identify(found)

            async def give() -> None:
                async with injecting.lend(given, container, container.for_process) as lent:
                    assert lent.members["env"]["A_KEY"] == ANNS

            giving = asyncio.create_task(give())
            await eventually(lambda: ask(database_url, "select 1 from given_credentials where user_id = 'ann'"))
            await store(gives, "ann", ANNS_NEXT, "demo")
            # Whoever follows says now that it masks what the container is about to be given.
            await giving
            await bob.prompt(session, f"say {ANNS}")
            assert text_of(await everything(bob, session)) == "***"


async def test_credential_that_was_replaced_on_its_way_is_read_again(gateway: Gateway, project: Project) -> None:
    await store(gateway, "ann", ANNS)
    session = await session_of(project, "ann")
    containers = gateway.app[CONTAINERS]
    found = await containers.project(project.id)
    given = await gateway.app[INJECTION].injecting.for_session(found, "keyed", "ann")
    await store(gateway, "ann", ANNS_NEXT)
    await gateway.app[INJECTION].injecting.hand_over(given, await containers.identify(found))
    assert (await run(project, "ann", session, chunk("x")))["state"] == "completed"
    second = await session_of(project, "ann")
    assert environment_of(await pid_of(project, second))["A_KEY"] == ANNS_NEXT


@pytest.mark.parametrize("runs", [False, True])
async def test_former_secret_is_forgotten_once_nothing_can_run_with_it(
    gateways: GatewayProcess,
    base_container: FakeContainer,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    runs: bool,
) -> None:
    monkeypatch.setattr(known, "FORGET_SECONDS", 0.1)
    monkeypatch.setattr(known, "UNWRITTEN_SECONDS", 0.1)
    kept = "select count(*) from given_secrets where user_id = 'ann'"
    async with gateways.run() as gateway:
        project = await shared(gateway, base_container.url)
        await store(gateway, "ann", ANNS, "demo")
        session = await session_of(project, "ann", "demo")
        bobs = await session_of(project, "bob", "opencode")
        if not runs:
            await project.call("DELETE", f"/session/{session}")
            await project.call("POST", "/agents/demo/stop", {})
        await store(gateway, "ann", ANNS_NEXT, "demo")
        await eventually(lambda: ask(database_url, "select 1 from given_secrets where replaced_at is not null"))
        assert ask(database_url, kept) == [(1,)]
        ask(database_url, "update given_secrets set replaced_at = now() - interval '7 hours' returning 1")
        if not runs:
            await eventually(lambda: ask(database_url, kept) == [(0,)])
        await asyncio.sleep(0.3)
        bob = Project(gateway.as_user("bob"), "demo")
        await bob.prompt(bobs, f"say {ANNS}")
        assert text_of(await everything(bob, bobs)) == ("***" if runs else ANNS)


async def test_who_is_no_member_any_more_pays_for_nothing_there(gateway: Gateway, project: Project) -> None:
    await store(gateway, "bob", BOBS)
    session = await session_of(project, "bob")
    process = await pid_of(project, session)
    async with project.events(session) as stream:
        await project.as_user("bob").call("POST", f"/session/{session}/prompt", {"prompt": '[["until-cancel"]]'})
        await stream.until("turn_started")
        queued = {"prompt": "[]", "queue": True}
        await project.as_user("bob").call("POST", f"/session/{session}/prompt", queued)
        removed = await project.gateway.as_user("ann").call("DELETE", f"{project.path}/members/bob")
        assert removed.status == 204
        ends = [data_of((await stream.until("turn_ended"))[-1]) for _ in range(2)]
    assert (ends[1]["outcome"], ends[1]["failure"]) == ("failed", "not_your_credential")
    await eventually(lambda: not alive(process))
    # A renewal gives it to nobody either.
    await store(gateway, "bob", "renewed-" + BOBS)
    await gateway.app[INJECTION].injecting.renewed("bob", "keyed")
    assert not has_process_with("renewed-" + BOBS)


async def test_a_credential_that_was_taken_back_meanwhile_is_given_to_nobody(
    gateway: Gateway, project: Project
) -> None:
    await store(gateway, "ann", ANNS)
    await session_of(project, "ann")
    containers = gateway.app[CONTAINERS]
    found = await containers.project(project.id)
    given = await gateway.app[INJECTION].injecting.for_session(found, "keyed", "ann")
    assert (await project.call("DELETE", "/agents/keyed/auth")).status == 200
    with pytest.raises(AuthRequired):
        await gateway.app[INJECTION].injecting.hand_over(given, await containers.identify(found))


async def test_a_deleted_projects_agents_end_with_the_credentials_they_have(gateway: Gateway, project: Project) -> None:
    await store(gateway, "bob", BOBS)
    process = await pid_of(project, await session_of(project, "bob"))
    assert (await project.gateway.as_user("ann").call("DELETE", project.path)).status == 204
    await eventually(lambda: not alive(process))
