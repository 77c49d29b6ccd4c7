"""Permission is given by an explicit answer; everything else is a refusal, and all of it is told."""

import json
from typing import Any

from tests.agenthost.conftest import OpenHost
from tests.agenthost.hosts import OPTIONS, Events, Host, Told, chunk, text_in

ASKED = {"toolCall": {"toolCallId": "c1", "title": "rm -rf", "rawInput": {"x": 1}}, "options": OPTIONS}
ALLOWED = {"outcome": "selected", "optionId": "yes"}
CANCELLED = {"outcome": "cancelled"}


async def ask(host: Host, events: Events, asked: dict[str, Any] | None = None) -> tuple[str, Told]:
    """A session whose turn waits for a permission, and the request as it was told."""
    session = await host.session()
    await host.begin(session, ["call", "session/request_permission", ASKED if asked is None else asked])
    return session, (await events.until("permission_request"))[-1]


def outcome_for_agent(told: list[Told]) -> Any:
    return json.loads(text_in(told))["outcome"]


async def test_request_is_told_with_all_its_members(host: Host) -> None:
    async with host.events() as events:
        session, request = await ask(host, events, {**ASKED, "_meta": {"why": "because"}})
    assert request.envelope["sessionId"] == session
    assert request.data == {"requestId": request.data["requestId"], **ASKED, "_meta": {"why": "because"}}


async def test_an_agent_cannot_give_its_request_another_ones_id(host: Host) -> None:
    async with host.events() as events:
        _, request = await ask(host, events, {**ASKED, "requestId": "another"})
        assert request.data["requestId"] != "another"
        assert (await host.post("/permission/another", {"optionId": "yes"})).status == 404
        assert (await host.post(f"/permission/{request.data['requestId']}", {"optionId": "no"})).status == 200


async def test_answer_by_option_reaches_the_agent(host: Host) -> None:
    async with host.events() as events:
        _, request = await ask(host, events)
        request_id = request.data["requestId"]
        answer = await host.post(f"/permission/{request_id}", {"optionId": "yes"})
        told = await events.until("session_end_turn")
    assert answer.body == {"id": request_id, "outcome": ALLOWED}
    assert outcome_for_agent(told) == ALLOWED
    assert [one.data for one in told if one.type == "permission_resolved"] == [
        {"requestId": request_id, "outcome": ALLOWED, "reason": "answered"}
    ]


async def test_granted_is_the_option_for_this_once_wherever_it_stands(host: Host) -> None:
    for granted, option in ((True, "yes"), (False, "no")):
        async with host.events() as events:
            _, request = await ask(host, events)
            answer = await host.post(f"/permission/{request.data['requestId']}", {"granted": granted})
            told = await events.until("session_end_turn")
        assert answer.body["granted"] is granted
        assert outcome_for_agent(told) == {"outcome": "selected", "optionId": option}


async def test_granted_is_refused_where_only_more_than_once_can_be_allowed(host: Host) -> None:
    async with host.events() as events:
        _, request = await ask(host, events, {**ASKED, "options": OPTIONS[:1]})
        request_id = request.data["requestId"]
        assert (await host.post(f"/permission/{request_id}", {"granted": True})).status == 400
        assert (await host.post(f"/permission/{request_id}", {"granted": False})).status == 200
        assert outcome_for_agent(await events.until("session_end_turn")) == CANCELLED


async def test_an_id_that_stands_for_yes_and_for_no_is_neither(host: Host) -> None:
    options = [
        {"optionId": "x", "name": "No", "kind": "reject_once"},
        {"optionId": "x", "name": "Yes", "kind": "allow_once"},
    ]
    async with host.events() as events:
        _, request = await ask(host, events, {**ASKED, "options": options})
        path = f"/permission/{request.data['requestId']}"
        for body in ({"optionId": "x"}, {"granted": True}):
            assert (await host.post(path, body)).status == 400
        assert (await host.post(path, {"granted": False})).status == 200
        assert outcome_for_agent(await events.until("session_end_turn")) == CANCELLED


async def test_request_can_be_cancelled(host: Host) -> None:
    async with host.events() as events:
        _, request = await ask(host, events)
        await host.post(f"/permission/{request.data['requestId']}", {"cancelled": True})
        assert outcome_for_agent(await events.until("session_end_turn")) == CANCELLED


async def test_option_that_was_not_offered_settles_nothing(host: Host) -> None:
    async with host.events() as events:
        _, request = await ask(host, events)
        path = f"/permission/{request.data['requestId']}"
        assert (await host.post(path, {"optionId": "sudo"})).status == 400
        assert (await host.post(path, {"optionId": "no"})).status == 200


async def test_unknown_request_is_404(host: Host) -> None:
    answer = await host.post("/permission/unknown", {"optionId": "yes"})
    assert (answer.status, answer.body["code"]) == (404, "permission_not_found")


async def test_second_answer_is_told_the_outcome_of_the_first(host: Host) -> None:
    async with host.events() as events:
        _, request = await ask(host, events)
        request_id = request.data["requestId"]
        await host.post(f"/permission/{request_id}", {"optionId": "yes"})
        again = await host.post(f"/permission/{request_id}", {"optionId": "no"})
    assert again.status == 409
    assert again.body["data"] == {"id": request_id, "outcome": ALLOWED}


async def test_nobody_answering_in_time_is_cancelled(open_host: OpenHost) -> None:
    async with open_host(permission_timeout=0.1) as host, host.events() as events:
        _, request = await ask(host, events)
        told = await events.until("session_end_turn")
        assert outcome_for_agent(told) == CANCELLED
        assert [one.data["reason"] for one in told if one.type == "permission_resolved"] == ["timeout"]
        late = await host.post(f"/permission/{request.data['requestId']}", {"optionId": "yes"})
        assert late.status == 409


async def test_cancelled_turn_settles_its_requests_before_it_ends(host: Host) -> None:
    async with host.events() as events:
        session, _ = await ask(host, events)
        await host.post(f"/session/{session}/cancel")
        told = await events.until("session_end_turn")
    assert outcome_for_agent(told) == CANCELLED
    assert [one.data["reason"] for one in told if one.type == "permission_resolved"] == ["turn_cancelled"]


async def test_request_of_a_cancelled_turn_is_refused_at_once(host: Host) -> None:
    session = await host.session()
    async with host.events() as events:
        await host.begin(session, chunk(""), ["until-cancel"], ["call", "session/request_permission", ASKED])
        await events.until("session_update")
        await host.post(f"/session/{session}/cancel")
        told = await events.until("session_end_turn")
    assert outcome_for_agent(told) == CANCELLED


async def test_request_that_its_turn_s_end_leaves_behind_is_cancelled(host: Host) -> None:
    session = await host.session()
    async with host.events() as events:
        await host.begin(session, ["ask", ASKED])
        told = await events.until("session_end_turn")
    assert [one.type for one in told] == ["permission_request", "permission_resolved", "session_end_turn"]


async def test_request_stands_in_its_place_among_what_the_agent_tells(host: Host) -> None:
    session = await host.session()
    async with host.events() as events:
        await host.begin(session, chunk("before"), ["ask", ASKED], chunk("after"))
        told = await events.until("session_end_turn")
    assert [one.type for one in told][:3] == ["session_update", "permission_request", "session_update"]


async def test_dead_agent_s_requests_are_cancelled(host: Host) -> None:
    session = await host.session()
    async with host.events() as events:
        await host.begin(session, ["ask", ASKED], ["exit", 1])
        told = await events.until("session_end_turn")
    assert [one.data["reason"] for one in told if one.type == "permission_resolved"] == ["agent_died"]


async def test_request_that_is_not_in_order_is_an_error_to_the_agent(host: Host) -> None:
    session = await host.session()
    for params in ({}, {"options": "all"}, {"options": [{"name": "x"}]}):
        refused = await host.answer_of(session, "session/request_permission", params)
        assert refused["error"]["code"] == -32602
    assert not [one for one in await host.everything() if one.type == "permission_request"]


async def test_two_requests_at_once_are_answered_each_by_its_own(host: Host) -> None:
    async with host.events() as events:
        first, request_of_first = await ask(host, events)
        second, request_of_second = await ask(host, events)
        await host.post(f"/permission/{request_of_second.data['requestId']}", {"optionId": "no"})
        await host.post(f"/permission/{request_of_first.data['requestId']}", {"optionId": "yes"})
        told = [*await events.until("session_end_turn"), *await events.until("session_end_turn")]
    for session, option in ((first, "yes"), (second, "no")):
        mine = [one for one in told if one.envelope["sessionId"] == session]
        assert outcome_for_agent(mine) == {"outcome": "selected", "optionId": option}
