"""Permission requests: what waits, who may answer, once, and what an answer does."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.wire.sse import SSEEvent
from tests.fakes.container import FakeContainer
from tests.handlers.expected import problem
from tests.world import EventStream, Gateway, Project, data_of

MEMBERS = {
    "id",
    "sessionId",
    "turnId",
    "agentId",
    "toolCall",
    "options",
    "state",
    "optionId",
    "resolvedBy",
    "rule",
    "requestedAt",
    "expiresAt",
    "resolvedAt",
}


@asynccontextmanager
async def asked(project: Project, prompt: str = "permission") -> AsyncIterator[tuple[str, Any, EventStream]]:
    """A session whose turn waits for a permission: the session, the request as its event tells it, the stream."""
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, prompt, wait=None)
        request = data_of((await stream.until("permission_request"))[-1])
        yield session, request, stream


async def answer(project: Project, request: Any, **body: Any) -> Any:
    return await project.call("POST", f"/permission/{request['permissionId']}", body)


def resolved(events: list[SSEEvent]) -> list[Any]:
    return [data_of(event) for event in events if event.event == "permission_resolved"]


async def test_what_waits_is_listed_until_it_is_answered(host_project: Project) -> None:
    assert (await host_project.call("GET", "/permission")).json == {"permissions": [], "next": None}
    async with asked(host_project) as (session, request, stream):
        [waiting] = (await host_project.call("GET", "/permission")).json["permissions"]
        assert set(waiting) == MEMBERS
        assert (waiting["id"], waiting["sessionId"], waiting["state"]) == (request["permissionId"], session, "waiting")
        assert (waiting["agentId"], waiting["optionId"], waiting["resolvedBy"]) == ("demo", None, None)
        assert waiting["turnId"] == (await host_project.call("GET", f"/session/{session}")).json["turn"]["id"]
        assert waiting["toolCall"] == request["toolCall"]
        assert request["resolvedBy"] is None
        assert [option["optionId"] for option in waiting["options"]] == ["allow", "always", "reject"]
        assert (await host_project.call("GET", f"/permission/{waiting['id']}")).json == waiting
        await answer(host_project, request, optionId="reject")
        await stream.until("turn_ended")
    assert (await host_project.call("GET", "/permission")).json == {"permissions": [], "next": None}
    settled = (await host_project.call("GET", f"/permission/{waiting['id']}")).json
    assert (settled["state"], settled["optionId"], settled["resolvedBy"]) == ("selected", "reject", "local")
    assert settled["resolvedAt"] > settled["requestedAt"]


async def test_a_file_is_written_once_it_is_allowed(host_project: Project, tmp_path: Path) -> None:
    file = tmp_path / "workspace" / "hello.txt"
    async with asked(host_project) as (_, request, stream):
        assert not file.exists()
        allowed = await answer(host_project, request, optionId="allow")
        assert (allowed.status, allowed.json["state"], allowed.json["optionId"]) == (200, "selected", "allow")
        events = await stream.until("turn_ended")
    assert file.exists()
    [told] = resolved(events)
    assert told == {
        "permissionId": request["permissionId"],
        "outcome": "selected",
        "optionId": "allow",
        "resolvedBy": "local",
        "rule": None,
    }


async def test_granted_is_for_this_once(host_project: Project, tmp_path: Path) -> None:
    async with asked(host_project) as (_, request, stream):
        assert (await answer(host_project, request, granted=True)).json["optionId"] == "allow"
        await stream.until("turn_ended")
    assert (tmp_path / "workspace" / "hello.txt").exists()


async def test_not_granted_is_the_option_that_rejects(host_project: Project, tmp_path: Path) -> None:
    async with asked(host_project) as (_, request, stream):
        assert (await answer(host_project, request, granted=False)).json["optionId"] == "reject"
        await stream.until("turn_ended")
    assert not (tmp_path / "workspace" / "hello.txt").exists()


async def test_an_answer_that_is_none_of_the_options_is_refused_and_the_request_waits_on(
    host_project: Project, tmp_path: Path
) -> None:
    async with asked(host_project) as (_, request, stream):
        for option in ("", "nobody", "Allow", "allow_once", "0"):
            refused = await answer(host_project, request, optionId=option)
            problem(refused, 400, "invalid_body", says="$.optionId: there is no option")
        for body in ({}, {"optionId": "allow", "granted": True}, {"optionId": None, "granted": None}):
            problem(await answer(host_project, request, **body), 400, "invalid_body", says="either optionId or granted")
        [waiting] = (await host_project.call("GET", "/permission")).json["permissions"]
        assert waiting["state"] == "waiting"
        await answer(host_project, request, granted=False)
        await stream.until("turn_ended")
    assert not (tmp_path / "workspace" / "hello.txt").exists()


async def test_the_first_answer_stays_and_the_second_is_told_whose_it_is(host_project: Project, tmp_path: Path) -> None:
    async with asked(host_project) as (_, request, stream):
        await answer(host_project, request, optionId="reject")
        for body in ({"optionId": "allow"}, {"optionId": "reject"}, {"granted": True}):
            answered = await answer(host_project, request, **body)
            document = problem(answered, 409, "permission_settled", says="answered by 'local' at 20")
            assert document["resolvedBy"] == "local"
            assert (document["state"], document["optionId"]) == ("selected", "reject")
            shown = (await host_project.call("GET", f"/permission/{request['permissionId']}")).json
            assert document["resolvedAt"] == shown["resolvedAt"]
        assert len(resolved(await stream.until("turn_ended"))) == 1
    assert not (tmp_path / "workspace" / "hello.txt").exists()


async def test_of_many_answers_at_once_one_counts(host_project: Project, tmp_path: Path) -> None:
    async with asked(host_project) as (_, request, stream):
        bodies = [{"optionId": option} for option in ("allow", "reject") for _ in range(5)]
        answers = await asyncio.gather(*(answer(host_project, request, **body) for body in bodies))
        assert sorted(one.status for one in answers) == [200] + [409] * 9
        [winner] = [body["optionId"] for one, body in zip(answers, bodies, strict=True) if one.status == 200]
        [told] = resolved(await stream.until("turn_ended"))
    assert told["optionId"] == winner
    assert (tmp_path / "workspace" / "hello.txt").exists() == (winner == "allow")


async def test_cancelling_the_turn_settles_its_request(host_project: Project, tmp_path: Path) -> None:
    async with asked(host_project) as (session, request, stream):
        await host_project.call("POST", f"/session/{session}/cancel")
        events = await stream.until("turn_ended")
    [told] = resolved(events)
    assert (told["outcome"], told["optionId"]) == ("cancelled", None)
    assert data_of(events[-1])["outcome"] == "cancelled"
    assert (await host_project.call("GET", "/permission")).json == {"permissions": [], "next": None}
    problem(await answer(host_project, request, optionId="allow"), 410, "permission_gone", says="its turn or session")
    assert not (tmp_path / "workspace" / "hello.txt").exists()


async def test_ending_the_session_settles_its_request(host_project: Project, tmp_path: Path) -> None:
    async with asked(host_project) as (session, request, stream):
        await host_project.call("DELETE", f"/session/{session}")
        events = await stream.until("session_ended")
    assert [told["outcome"] for told in resolved(events)] == ["cancelled"]
    problem(await answer(host_project, request, optionId="allow"), 410, "permission_gone")
    assert not (tmp_path / "workspace" / "hello.txt").exists()


async def test_a_container_that_does_not_ask_has_allowed_it_and_nothing_waits(
    base_project: Project, base_container: FakeContainer
) -> None:
    session = await base_project.create_session()
    [known] = base_container.sessions
    options = [{"optionId": "reject", "kind": "reject_once"}, {"optionId": "ok", "kind": "allow_once"}]
    async with base_project.events(session) as stream:
        told = {"requestId": "r1", "toolCall": {"toolCallId": "t"}, "options": options}
        base_container.emit("permission_request", told, session_id=known)
        request = data_of((await stream.until("permission_request"))[-1])
    assert request["resolvedBy"] == "container"
    assert (await base_project.call("GET", "/permission")).json == {"permissions": [], "next": None}
    shown = (await base_project.call("GET", f"/permission/{request['permissionId']}")).json
    assert (shown["state"], shown["resolvedBy"], shown["options"]) == ("selected", "container", options)
    for body in ({"optionId": "ok"}, {"granted": False}):
        answered = await answer(base_project, request, **body)
        document = problem(answered, 409, "permission_settled", says="Its container allowed it by itself at 20")
        assert document["resolvedBy"] == "container"
    assert not [call for call in base_container.requests if call.path.startswith("/permission")]


ODD_OPTIONS = [
    # What the agent offers, and what yes, no and its first option come to: the option that is chosen, or None.
    ([{"optionId": "always", "kind": "allow_always"}, {"optionId": "no", "kind": "reject_once"}], None, "no", "always"),
    ([{"optionId": "x", "kind": "allow"}, {"optionId": "y", "kind": "Allow_once"}], None, None, "x"),
    ([{"optionId": "x"}, {"optionId": "y", "kind": 5}], None, None, "x"),
    ([{"optionId": "x", "kind": "allow_once"}, {"optionId": "x", "kind": "allow_always"}], None, None, None),
    ([{"optionId": "x", "kind": "reject_once"}, {"optionId": "x", "kind": "allow_once"}], None, None, None),
    ([{"optionId": "x", "kind": "allow_once"}, {"optionId": "x", "kind": "allow_once"}], "x", None, "x"),
]


async def test_yes_is_the_option_that_allows_it_once_and_no_other_whatever_the_agent_offers(
    gateway: Gateway, scripted_host: str
) -> None:
    project = await gateway.register(scripted_host, defaultAgentId="scripted")
    for options, yes, no, first in ODD_OPTIONS:
        for body, chosen in (
            ({"granted": True}, yes),
            ({"granted": False}, no),
            ({"optionId": options[0]["optionId"]}, first),
        ):
            asked = {"toolCall": {"toolCallId": "t"}, "options": [one | {"name": "Do it"} for one in options]}
            session = await project.create_session(agentId="scripted")
            async with project.events(session) as stream:
                steps = [["call", "session/request_permission", asked]]
                await project.prompt(session, json.dumps(steps), wait=None)
                request = data_of((await stream.until("permission_request"))[-1])
                answered = await answer(project, request, **body)
                if chosen is None and body != {"granted": False}:
                    problem(answered, 400, "invalid_body", says="granted" if "granted" in body else "several kinds")
                    await answer(project, request, granted=False)
                    chosen = no
                [told] = resolved(await stream.until("turn_ended"))
            assert told["optionId"] == chosen, (options, body)
            assert told["outcome"] == ("cancelled" if chosen is None else "selected")
