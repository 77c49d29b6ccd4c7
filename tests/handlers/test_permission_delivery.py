"""Answers on their way to a container that is away, forgets, or counts anew; and gateways that stop meanwhile."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.config.schema import EventsConfig, PermissionsConfig, TurnsConfig
from gateway.wire.sse import encode_event
from tests.db.relay import Relay
from tests.handlers.asking import OPTIONS, AskingContainer, answer, requested, state
from tests.handlers.expected import problem
from tests.replica import replica
from tests.world import QUICK, GatewayProcess, Project, data_of


@pytest.fixture
async def container() -> AsyncIterator[AskingContainer]:
    async with AskingContainer() as running:
        yield running


def frame(kind: str, data: Any, session_id: str) -> bytes:
    envelope = {"type": kind, "sessionId": session_id, "agentId": "demo", "data": data}
    return encode_event(event=kind, data=json.dumps(envelope))


async def test_an_answer_is_brought_to_the_container_by_the_next_gateway(
    database_url: str, container: AskingContainer
) -> None:
    container.failing = True
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            container.ask(requestId="r1")
            request = await requested(stream)
        answered = await answer(project, request, optionId="yes")
        assert (answered.status, answered.json["state"]) == (202, "answering")
    container.failing = False
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = Project(gateway, project.id)
        async with project.events(query="?from=start") as stream:
            await stream.until("permission_resolved")
        assert await state(project, request) == ("selected", "yes", "local")
    assert container.settled == {"r1": {"outcome": "selected", "optionId": "yes"}}


async def test_an_answer_that_the_database_could_not_take_is_brought_to_its_end(
    database_url: str, container: AskingContainer
) -> None:
    async with Relay(database_url) as relay, GatewayProcess(relay.url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            container.ask(requestId="r1")
            request = await requested(stream)
            relay.cut_before(b"from append_events(")
            problem(await answer(project, request, optionId="yes"), 503)
            await stream.until("permission_resolved")
        assert await state(project, request) == ("selected", "yes", "local")


async def test_an_answer_given_to_a_container_that_was_not_heard_is_the_answerers(
    database_url: str, container: AskingContainer
) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            container.ask(requestId="r1")
            request = await requested(stream)
            container.deaf_once = True
            assert (await answer(project, request, optionId="yes")).status == 202
            told = data_of((await stream.until("permission_resolved"))[-1])
        assert (told["outcome"], told["optionId"], told["resolvedBy"]) == ("selected", "yes", "local")


@pytest.mark.parametrize(
    ("there", "shown"),
    [
        ({"outcome": "cancelled"}, ("cancelled", None, "container")),
        ({"outcome": "selected", "optionId": "other"}, ("selected", "other", "container")),
    ],
)
async def test_what_the_container_has_settled_otherwise_is_told_as_it_is_there(
    database_url: str, container: AskingContainer, there: Any, shown: Any
) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            container.ask(requestId="r1")
            request = await requested(stream)
            container.settled["r1"] = there
            document = problem(await answer(project, request, optionId="yes"), 409, "permission_settled")
        assert await state(project, request) == shown
        assert (document["state"], document["optionId"], document["resolvedBy"]) == shown


async def test_a_refusal_is_the_answerers_even_if_the_containers_event_comes_first(
    database_url: str, container: AskingContainer
) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            container.ask(requestId="r1")
            request = await requested(stream)
            container.hears_first = stream
            await answer(project, request, granted=False)
        assert await state(project, request) == ("cancelled", None, "local")


async def test_a_request_that_is_settled_in_the_same_read_does_not_wait(
    database_url: str, container: AskingContainer
) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            known = next(iter(container.sessions))
            asked = {"requestId": "r1", "toolCall": {"toolCallId": "t"}, "options": OPTIONS}
            told = {"requestId": "r1", "outcome": {"outcome": "selected", "optionId": "yes"}}
            both = (("permission_request", asked), ("permission_resolved", told))
            container.emit_bytes(b"".join(frame(kind, data, known) for kind, data in both))
            request = await requested(stream)
            resolved = data_of((await stream.until("permission_resolved"))[-1])
        assert resolved["permissionId"] == request["permissionId"]
        assert await state(project, request) == ("selected", "yes", "container")
        assert (await project.call("GET", "/permission")).json == {"permissions": [], "next": None}


async def test_of_answers_on_two_gateways_at_once_one_counts_and_the_others_are_told(
    database_url: str, container: AskingContainer
) -> None:
    processes = GatewayProcess(database_url, QUICK)
    async with processes.run() as gateway, processes.run() as other:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            container.ask(requestId="r1", options=[*OPTIONS, {"optionId": "no", "kind": "reject_once"}])
            request = await requested(stream)
            calls = [
                answer(Project(one, project.id), request, optionId=option)
                for one, option in ((gateway, "yes"), (other, "no"), (gateway, "no"), (other, "yes"))
            ]
            answers = await asyncio.gather(*calls)
            told = data_of((await stream.until("permission_resolved"))[-1])
        assert sorted(one.status for one in answers) == [200, 409, 409, 409]
        winner = next(one.json["optionId"] for one in answers if one.status == 200)
        for one in answers:
            assert one.json["optionId"] == told["optionId"] == winner
            assert one.json["resolvedBy"] == "local"
    assert container.settled == {"r1": {"outcome": "selected", "optionId": winner}}


@pytest.mark.parametrize("follows", [True, False])
async def test_an_answer_that_a_dead_gateway_took_is_brought_once_the_container_is_back(
    database_url: str, container: AskingContainer, tmp_path: Path, follows: bool
) -> None:
    """Whether the one that dies follows the container, or the one that lives."""
    survivor = GatewayProcess(database_url, attrs.evolve(QUICK, events=EventsConfig(lease=1)))
    async with AsyncExitStack() as stack:
        if follows:
            victim = await stack.enter_async_context(replica(database_url, tmp_path))
            project = await victim.gateway.register(container.url)
            session = await project.create_session()
            gateway = await stack.enter_async_context(survivor.run())
        else:
            gateway = await stack.enter_async_context(survivor.run())
            project = await gateway.register(container.url)
            session = await project.create_session()
            victim = await stack.enter_async_context(replica(database_url, tmp_path))
        project = Project(gateway, project.id)
        events = await stack.enter_async_context(project.events(session))
        container.ask(requestId="r1")
        request = await requested(events)
        await container.refuse()
        answered = await answer(Project(victim.gateway, project.id), request, optionId="yes")
        assert (answered.status, answered.json["state"]) == (202, "answering")
        await victim.kill()
        await container.listen()
        told = data_of((await events.until("permission_resolved"))[-1])
        assert (told["outcome"], told["optionId"], told["resolvedBy"]) == ("selected", "yes", "local")
    assert len(container.requests_to("POST", "/permission/r1")) == 1


async def test_what_a_container_asked_before_it_restarted_is_taken_back(
    database_url: str, container: AskingContainer
) -> None:
    container.boot_id = "first"
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            container.ask(requestId="r1")
            request = await requested(stream)
            container.boot_id = "second"
            container.drop_streams()
            told = data_of((await stream.until("permission_resolved"))[-1])
        assert (told["outcome"], told["resolvedBy"]) == ("cancelled", "gateway")
        problem(await answer(project, request, optionId="yes"), 410, "permission_gone")
        assert not container.settled


async def test_a_session_that_ends_between_turns_takes_its_requests_back(
    database_url: str, container: AskingContainer
) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            container.ask(requestId="r1")
            request = await requested(stream)
            await project.call("DELETE", f"/session/{session}")
            assert [event.event for event in await stream.until("session_ended")][-2:] == [
                "permission_resolved",
                "session_ended",
            ]
        problem(await answer(project, request, granted=False), 410, "permission_gone")


async def test_ids_that_begin_anew_with_another_boot_are_other_requests(
    database_url: str, container: AskingContainer
) -> None:
    container.boot_id = "first"
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        known = next(iter(container.sessions))
        async with project.events(session) as stream:
            container.ask(known, requestId=1)
            first = await requested(stream)
            container.boot_id = "second"
            container.drop_streams()
            await container.wait_for_streams()
            container.ask(known, requestId=1)
            second = await requested(stream)
        assert first["permissionId"] != second["permissionId"]
        # The first one's id is the second's by now: an answer to the first must not allow the second.
        problem(await answer(project, first, optionId="yes"), 410, "permission_gone", says="its container restarted")
        assert await state(project, first) == ("cancelled", None, "gateway")
        assert container.settled == {}
        assert (await state(project, second))[0] == "waiting"
        await answer(project, second, optionId="yes")
        assert await state(project, second) == ("selected", "yes", "local")


async def test_an_id_that_is_used_again_after_its_answer_is_another_request(
    database_url: str, container: AskingContainer
) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        asked = []
        async with project.events(session) as stream:
            for number in range(3):
                container.ask(requestId="r1", toolCall={"toolCallId": "t", "title": f"Call {number}"})
                # Told twice while it waits, it is one.
                container.ask(requestId="r1")
                asked.append(await requested(stream))
                await answer(project, asked[-1], optionId="yes")
                assert container.settled.pop("r1") == {"outcome": "selected", "optionId": "yes"}
                await stream.until("permission_resolved")
        assert len({one["permissionId"] for one in asked}) == 3
        assert [await state(project, one) for one in asked] == [("selected", "yes", "local")] * 3
        shown = [one["data"] for one in await project.messages(session) if one["role"] == "event"]
        assert [one["toolCall"]["title"] for one in shown if "toolCall" in one] == ["Call 0", "Call 1", "Call 2"]
        assert [one["permissionId"] for one in shown] == [one["permissionId"] for one in asked for _ in range(2)]
        export = (await project.call("GET", f"/session/{session}/export?format=markdown")).body.decode()
        assert [export.count(f"“Yes” by local: Call {number}") for number in range(3)] == [1, 1, 1]


async def test_an_id_that_is_used_again_in_another_turn_is_another_request(
    database_url: str, container: AskingContainer
) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            container.ask(requestId="r1")
            former = await requested(stream)
            await project.prompt(session, "slow 60", wait=None)
            await stream.until("turn_started")
            container.ask(requestId="r1")
            latter = await requested(stream)
        assert former["permissionId"] != latter["permissionId"]
        # An answer to the former would be taken for one to the latter.
        problem(await answer(project, former, optionId="yes"), 410, "permission_gone")
        assert container.settled == {}
        await answer(project, latter, optionId="yes")
        assert await state(project, latter) == ("selected", "yes", "local")


async def test_the_same_id_in_two_sessions_is_two_requests(database_url: str, container: AskingContainer) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        for _ in range(2):
            await project.create_session()
        async with project.events() as stream:
            for known in container.sessions:
                container.ask(known, requestId="r1")
            asked = [await requested(stream) for _ in container.sessions]
        waiting = (await project.call("GET", "/permission")).json["permissions"]
        assert {one["id"] for one in waiting} == {one["permissionId"] for one in asked}
        assert len({one["sessionId"] for one in waiting}) == 2


async def test_requests_without_an_id_are_all_listed(database_url: str, container: AskingContainer) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            for odd in ({}, {}, {"requestId": None}, {"requestId": ""}, {"requestId": ["a"]}):
                container.ask(**odd)
            asked = [await requested(stream) for _ in range(5)]
        waiting = (await project.call("GET", "/permission")).json["permissions"]
        assert {one["id"] for one in waiting} == {one["permissionId"] for one in asked}
        assert len(waiting) == 5


async def test_an_id_of_any_length_names_its_request_once(database_url: str, container: AskingContainer) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            # Nothing that PostgreSQL could compress until it fits into an index.
            long = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(200))
            for request_id in (long, long, 0, 0, "last"):
                container.ask(requestId=request_id)
            asked = [await requested(stream) for _ in range(3)]
        waiting = (await project.call("GET", "/permission")).json["permissions"]
        assert {one["id"] for one in waiting} == {one["permissionId"] for one in asked}


@pytest.mark.parametrize("gone", [True, False])
async def test_a_turn_ends_though_the_answer_to_its_request_never_arrives(
    database_url: str, container: AskingContainer, gone: bool
) -> None:
    """Its container is away for good, or takes no answer."""
    turns = TurnsConfig(stall_after=2, lost_after=2, cancel_timeout=1)
    config = attrs.evolve(QUICK, permissions=PermissionsConfig(timeout=1), turns=turns)
    async with GatewayProcess(database_url, config).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream, asyncio.timeout(30):
            await project.prompt(session, "say here\nslow 600", wait=None)
            await stream.until("session_update")
            container.ask(requestId="r1")
            request = await requested(stream)
            container.failing = True
            if gone:
                await container.refuse()
            ended = data_of((await stream.until("turn_ended"))[-1])
        expected = ("lost", "answer_lost") if gone else ("stalled", "silent")
        assert (ended["outcome"], ended["failure"]) == expected
        assert (await state(project, request))[0] == "cancelled"


@pytest.mark.parametrize("options", [5, True, "yes", {"optionId": "yes"}, ["yes"]])
async def test_an_answer_to_a_request_whose_options_are_none_is_refused(
    database_url: str, container: AskingContainer, options: Any
) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            container.ask(requestId="r1", options=options)
            request = await requested(stream)
        problem(await answer(project, request, optionId="yes"), 400, "invalid_body", says="known here: none")
        problem(await answer(project, request, granted=True), 400, "invalid_body")
        assert (await answer(project, request, granted=False)).status == 200
        assert container.settled == {"r1": {"outcome": "cancelled"}}


@pytest.mark.parametrize(
    ("number", "size", "listed", "in_snapshot"), [(200, 10, 200, 200), (6, 2**20, 3, 2)], ids=["many", "large"]
)
async def test_of_requests_without_end_the_oldest_are_listed(
    database_url: str, container: AskingContainer, number: int, size: int, listed: int, in_snapshot: int
) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(container.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            for request_id in range(number):
                container.ask(requestId=request_id, toolCall={"toolCallId": "t", "title": "x" * size})
            asked = [await requested(stream) for _ in range(number)]
        oldest = [one["permissionId"] for one in asked]
        for path, shown in (("/permission?limit=200", listed), (f"/session/{session}/snapshot", in_snapshot)):
            answered = (await project.call("GET", path)).json["permissions"]
            assert [one["id"] for one in answered] == oldest[:shown]
