"""What is answered without asking anybody, and what becomes of requests that nobody answers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.config.schema import PermissionsConfig
from tests.fakes.eventually import eventually
from tests.handlers.asking import AskingContainer, answer, requested, state
from tests.handlers.expected import problem
from tests.handlers.policies import OPTIONS, resolved, set_policy
from tests.world import QUICK, EventStream, Gateway, GatewayProcess, Project


@pytest.fixture
async def container() -> AsyncIterator[AskingContainer]:
    async with AskingContainer() as running:
        yield running


@pytest.fixture
async def project(gateway: Gateway, container: AskingContainer) -> Project:
    return await gateway.register(container.url)


@pytest.fixture
async def stream(project: Project) -> AsyncIterator[EventStream]:
    session = await project.create_session()
    async with project.events(session) as opened:
        yield opened


async def test_a_project_asks_about_everything_unless_somebody_says_otherwise(
    project: Project, container: AskingContainer, stream: EventStream
) -> None:
    shown = (await project.gateway.call("GET", f"/api/projects/{project.id}")).json
    policy = {"permissionMode": "ask", "permissionRules": [], "permissionTimeout": None}
    assert {name: shown[name] for name in policy} == policy
    container.ask(requestId="r1", toolCall={"toolCallId": "t", "kind": "edit"}, options=OPTIONS)
    assert (await state(project, await requested(stream)))[0] == "waiting"


async def test_what_a_rule_answers_is_in_the_log_with_the_rule(
    project: Project, container: AskingContainer, stream: EventStream
) -> None:
    rules = [{"kind": "execute", "action": "reject"}, {"kind": "*", "action": "allow"}]
    await set_policy(project, permissionRules=rules)
    for number, kind, option, rule in ((1, "execute", "no", rules[0]), (2, "delete", "once", rules[1])):
        container.ask(requestId=f"r{number}", toolCall={"toolCallId": "t", "kind": kind}, options=OPTIONS)
        request = await requested(stream)
        assert (request["resolvedBy"], request["rule"]) == ("rule", rule)
        told = await resolved(stream)
        assert told == {
            "permissionId": request["permissionId"],
            "outcome": "selected",
            "optionId": option,
            "resolvedBy": "rule",
            "rule": rule,
        }
        assert container.settled[f"r{number}"] == {"outcome": "selected", "optionId": option}
        shown = (await project.call("GET", f"/permission/{request['permissionId']}")).json
        assert (shown["state"], shown["resolvedBy"], shown["rule"]) == ("selected", "rule", rule)
        document = problem(await answer(project, request, optionId="once"), 409, "permission_settled")
        assert document["resolvedBy"] == "rule"
    assert (await project.call("GET", "/permission")).json == {"permissions": [], "next": None}


async def test_a_change_counts_for_what_is_asked_afterwards(
    project: Project, container: AskingContainer, stream: EventStream
) -> None:
    container.ask(requestId="r1", toolCall={"kind": "edit"}, options=OPTIONS)
    before = await requested(stream)
    await set_policy(project, permissionMode="full-auto")
    container.ask(requestId="r2", toolCall={"kind": "edit"}, options=OPTIONS)
    after = await resolved(stream)
    assert (after["optionId"], after["rule"]) == ("once", {"mode": "full-auto"})
    assert (await state(project, before))[0] == "waiting"
    await set_policy(project, permissionMode="accept-edits")
    container.ask(requestId="r3", toolCall={"kind": "delete"}, options=OPTIONS)
    assert (await state(project, await requested(stream)))[0] == "waiting"


async def test_a_rule_answers_once_whoever_follows(database_url: str, container: AskingContainer) -> None:
    processes = GatewayProcess(database_url, QUICK)
    async with processes.run() as gateway, processes.run() as other:
        project = await gateway.register(container.url, permissionMode="full-auto")
        session = await project.create_session()
        async with project.events(session) as stream, Project(other, project.id).events(session) as second:
            for number in range(5):
                container.ask(requestId=f"r{number}", options=OPTIONS)
            told = [await resolved(stream) for _ in range(5)]
            assert told == [await resolved(second) for _ in range(5)]
    assert len({one["permissionId"] for one in told}) == 5
    assert len([call for call in container.requests if call.path.startswith("/permission")]) == 5


async def test_a_rules_answer_reaches_a_container_that_is_away_once_it_is_back(
    project: Project, container: AskingContainer, stream: EventStream
) -> None:
    await set_policy(project, permissionMode="full-auto")
    container.failing = True
    container.ask(requestId="r1", options=OPTIONS)
    request = await requested(stream)
    assert (await state(project, request))[0] == "answering"
    container.failing = False
    assert (await resolved(stream))["resolvedBy"] == "rule"
    assert container.settled == {"r1": {"outcome": "selected", "optionId": "once"}}


def is_told(container: AskingContainer, request_id: str, *, option: str) -> bool:
    calls = container.requests_to("POST", f"/permission/{request_id}")
    return any(json.loads(call.body).get("optionId") == option for call in calls)


async def test_what_a_rule_has_allowed_is_refused_where_that_was_changed_before_the_container_heard_it(
    project: Project, container: AskingContainer, stream: EventStream
) -> None:
    allowed = [{"kind": "edit", "action": "allow"}]
    changes = (
        ({"permissionMode": "full-auto"}, {"permissionMode": "ask"}),
        ({"permissionRules": allowed}, {"permissionRules": []}),
        ({"permissionRules": allowed}, {"permissionRules": [{"kind": "edit", "action": "reject"}, *allowed]}),
    )
    for number, (before, after) in enumerate(changes):
        await set_policy(project, permissionMode="ask", permissionRules=[])
        await set_policy(project, **before)
        container.failing = True
        container.ask(requestId=f"r{number}", toolCall={"toolCallId": "t", "kind": "edit"}, options=OPTIONS)
        request = await requested(stream)
        assert await state(project, request) == ("answering", "once", "rule")
        await set_policy(project, **after)
        # The allowance may be on its way just now. What is sent after it is the refusal.
        await eventually(partial(is_told, container, f"r{number}", option="no"))
        container.failing = False
        told = await resolved(stream)
        assert (told["outcome"], told["optionId"], told["resolvedBy"], told["rule"]) == (
            "selected",
            "no",
            "gateway",
            None,
        )
        assert container.settled[f"r{number}"] == {"outcome": "selected", "optionId": "no"}
        assert await state(project, request) == ("selected", "no", "gateway")
        problem(await answer(project, request, optionId="once"), 409, "permission_settled", says="by 'gateway'")


async def test_what_a_rule_still_allows_is_brought_whatever_else_was_changed(
    project: Project, container: AskingContainer, stream: EventStream
) -> None:
    await set_policy(project, permissionMode="full-auto")
    container.failing = True
    container.ask(requestId="r1", toolCall={"toolCallId": "t", "kind": "edit"}, options=OPTIONS)
    await requested(stream)
    await set_policy(project, permissionMode="accept-edits", permissionRules=[{"kind": "execute", "action": "reject"}])
    container.failing = False
    assert (await resolved(stream))["optionId"] == "once"


async def test_what_a_person_has_allowed_is_brought_whatever_rule_was_written_since(
    project: Project, container: AskingContainer, stream: EventStream
) -> None:
    container.failing = True
    container.ask(requestId="r1", toolCall={"toolCallId": "t", "kind": "edit"}, options=OPTIONS)
    request = await requested(stream)
    await set_policy(project, permissionRules=[{"kind": "*", "action": "reject"}])
    assert (await answer(project, request, optionId="once")).status == 202
    container.failing = False
    assert (await resolved(stream))["resolvedBy"] == "local"
    assert container.settled == {"r1": {"outcome": "selected", "optionId": "once"}}


AMBIGUOUS = {"optionId": "once", "kind": "reject_once"}


@pytest.mark.parametrize("options", [OPTIONS[:2], [AMBIGUOUS, *OPTIONS[:2]], [], None])
async def test_what_a_rule_rejects_is_cancelled_where_the_agent_offers_no_refusal(
    project: Project, container: AskingContainer, stream: EventStream, options: Any
) -> None:
    rule = {"kind": "execute", "action": "reject"}
    await set_policy(project, permissionRules=[rule])
    container.ask(requestId="r1", toolCall={"toolCallId": "t", "kind": "execute"}, options=options)
    told = await resolved(stream)
    assert (told["outcome"], told["optionId"], told["resolvedBy"]) == ("cancelled", None, "rule")
    assert told["rule"] == rule
    assert container.settled == {"r1": {"outcome": "cancelled"}}


async def test_an_edit_is_written_without_asking_and_another_tool_is_not(host_project: Project, tmp_path: Path) -> None:
    await set_policy(host_project, permissionMode="accept-edits")
    session = await host_project.create_session()
    assert (await host_project.call("GET", f"/session/{session}")).json["permissions"] == "accept-edits"
    done = await host_project.prompt(session, "permission")
    assert done["turn"]["state"] == "completed"
    assert (tmp_path / "workspace" / "hello.txt").exists()
    async with host_project.events(session) as stream:
        await host_project.prompt(session, "ask May I?", wait=None)
        request = await requested(stream)
        assert (request["toolCall"]["kind"], request["resolvedBy"]) == ("other", None)
        await answer(host_project, request, granted=False)
        await stream.until("turn_ended")


async def test_a_session_says_who_answers(gateway: Gateway, agent_host: str, base_project: Project) -> None:
    asking = await gateway.register(agent_host, id="asking", defaultAgentId="demo")
    for project, mode, permissions in (
        (asking, "ask", "ask"),
        (asking, "full-auto", "full-auto"),
        (base_project, "ask", "container"),
        (base_project, "full-auto", "container"),
    ):
        await set_policy(project, permissionMode=mode)
        made = (await project.call("POST", "/session", {"agentId": "demo"})).json
        assert made["permissions"] == permissions
        listed = (await project.call("GET", "/session")).json["sessions"]
        assert {one["permissions"] for one in listed} == {permissions}


@pytest.mark.parametrize(
    ("options", "outcome", "sent"),
    [
        (OPTIONS, ("selected", "no", "timeout"), {"outcome": "selected", "optionId": "no"}),
        (OPTIONS[:2], ("cancelled", None, "timeout"), {"outcome": "cancelled"}),
    ],
)
async def test_nobody_answering_in_time_is_a_refusal(
    database_url: str, container: AskingContainer, options: Any, outcome: Any, sent: Any
) -> None:
    config = attrs.evolve(QUICK, permissions=PermissionsConfig(timeout=0.3))
    async with GatewayProcess(database_url, config).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            container.ask(requestId="r1", options=options)
            request = await requested(stream)
            shown = (await project.call("GET", f"/permission/{request['permissionId']}")).json
            assert shown["state"] != "waiting" or shown["expiresAt"] > shown["requestedAt"]
            told = await resolved(stream)
        assert (told["outcome"], told["optionId"], told["resolvedBy"]) == outcome
        document = problem(await answer(project, request, optionId="once"), 409, "permission_settled")
        assert document["resolvedBy"] == "timeout"
    assert container.settled == {"r1": sent}


async def test_a_project_has_a_timeout_of_its_own(
    project: Project, container: AskingContainer, stream: EventStream
) -> None:
    container.ask(requestId="r1", options=OPTIONS)
    first = await requested(stream)
    await set_policy(project, permissionTimeout=1)
    container.ask(requestId="r2", options=OPTIONS)
    second = await requested(stream)
    assert (await resolved(stream))["permissionId"] == second["permissionId"]
    assert (await state(project, first))[0] == "waiting"


async def test_a_timeout_and_an_answer_at_once_are_one_outcome(database_url: str, container: AskingContainer) -> None:
    config = attrs.evolve(QUICK, permissions=PermissionsConfig(timeout=0.5))
    async with AsyncExitStack() as stack:
        gateways = [await stack.enter_async_context(GatewayProcess(database_url, config).run()) for _ in range(2)]
        project = await gateways[0].register(container.url)
        session = await project.create_session()
        stream = await stack.enter_async_context(project.events(session))
        for number in range(8):
            container.ask(requestId=f"r{number}", options=OPTIONS)
        requests = [await requested(stream) for _ in range(8)]

        async def answer_late(number: int, request: Any) -> int:
            await asyncio.sleep(0.4 + number * 0.15)
            return int((await answer(Project(gateways[number % 2], project.id), request, optionId="once")).status)

        statuses = await asyncio.gather(*(answer_late(number, request) for number, request in enumerate(requests)))
        states = [await state(project, request) for request in requests]
    assert set(statuses) <= {200, 409}
    for number, (status, shown) in enumerate(zip(statuses, states, strict=True)):
        assert shown == (("selected", "once", "local") if status == 200 else ("selected", "no", "timeout"))
        assert container.settled[f"r{number}"]["optionId"] == shown[1]


async def test_no_rule_answers_in_a_session_that_has_ended(project: Project, container: AskingContainer) -> None:
    await set_policy(project, permissionMode="full-auto", permissionRules=[{"kind": "*", "action": "allow"}])
    ended, _ = await project.create_session(), await project.create_session()
    known = next(iter(container.sessions))
    container.fail_next(f"/session/{known}", "not now")
    async with project.events(ended) as stream:
        assert (await project.call("DELETE", f"/session/{ended}")).status == 200
        container.ask(known, requestId="r1", options=OPTIONS)
        assert (await state(project, await requested(stream)))[0] == "waiting"
    assert container.settled == {}
