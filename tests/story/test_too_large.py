"""What is too large to be kept as a whole still has its effect."""

import json
from typing import Any

import pytest

from tests.agenthost.hosts import OPTIONS
from tests.story.conftest import Session
from tests.world import data_of

LARGE = "$LARGE"
#: More options than a person can be shown, and ones with names without end.
MANY = [*OPTIONS, *({"optionId": f"o{number}", "name": "n" * 100, "kind": "other"} for number in range(2000))]
LONG = [{**option, "name": "n" * 50_000} for option in OPTIONS]
VALUES = "$MANY"


@pytest.mark.parametrize(
    "asked",
    [
        {"toolCall": {"toolCallId": "c", "rawInput": {"command": LARGE}, "title": "Run it"}, "options": OPTIONS},
        {"toolCall": {"toolCallId": "c", "rawInput": VALUES, "title": "Run it"}, "options": OPTIONS},
        {"toolCall": {"toolCallId": "c", "title": "Run it"}, "options": MANY},
        {"toolCall": {"toolCallId": "c", "title": "Run it"}, "options": LONG},
        {"_meta": {"more": LARGE}, "toolCall": {"toolCallId": "c", "title": "Run it"}, "options": OPTIONS},
    ],
    ids=["text", "values", "many options", "long options", "meta"],
)
async def test_a_request_that_is_too_large_is_asked_and_answered(session: Session, asked: dict[str, Any]) -> None:
    async with session.project.events(session.id) as stream:
        steps = [["call", "session/request_permission", asked]]
        await session.project.prompt(session.id, json.dumps(steps), wait=None)
        request = data_of((await stream.until("permission_request"))[-1])
        assert request["toolCall"]["_meta"]["acp-gateway/cut"] is True
        assert len(json.dumps(request)) < 600_000
        answer = await session.project.call("POST", f"/permission/{request['permissionId']}", {"granted": True})
        assert answer.status == 200, answer.body
        told = await stream.until("turn_ended")
    [said] = [data_of(event)["update"]["content"]["text"] for event in told if event.event == "session_update"]
    assert json.loads(said) == {"outcome": {"outcome": "selected", "optionId": "yes"}}
    shown = [one["data"] for one in await session.project.messages(session.id) if one["role"] == "event"]
    assert [one["permissionId"] for one in shown] == [request["permissionId"]] * 2
    export = (await session.project.call("GET", f"/session/{session.id}/export?format=markdown")).body.decode()
    assert "*The agent asks for permission: Run it*" in export
    assert "*It was too large to be kept as a whole.*" in export


async def test_a_request_that_was_cut_is_allowed_by_no_rule_for_some_kind(session: Session) -> None:
    rules = {"permissionRules": [{"kind": "read", "action": "allow"}]}
    assert (await session.project.gateway.call("PATCH", f"/api/projects/{session.project.id}", rules)).status == 200
    call = {"toolCallId": "c", "kind": "read", "content": [LARGE]}
    async with session.project.events(session.id) as stream:
        steps = [["call", "session/request_permission", {"toolCall": call, "options": OPTIONS}]]
        await session.project.prompt(session.id, json.dumps(steps), wait=None)
        request = data_of((await stream.until("permission_request"))[-1])
        assert request["resolvedBy"] is None
        await session.project.call("POST", f"/permission/{request['permissionId']}", {"granted": False})
        await stream.until("turn_ended")


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (["error", {"code": -32603, "message": f"No: {LARGE}"}], "failed"),
        (["error", {"code": -32603, "message": "No: more", "data": {"details": LARGE}}], "failed"),
        (["answer", {"stopReason": "end_turn", "_meta": {"more": LARGE}}], "completed"),
        (["answer", {"_meta": {"more": VALUES}, "stopReason": "end_turn"}], "completed"),
    ],
    ids=["message", "details", "meta", "values"],
)
async def test_a_turn_ends_with_an_answer_that_is_too_large(session: Session, end: list[Any], state: str) -> None:
    turn = (await session.project.prompt(session.id, json.dumps([end])))["turn"]
    assert turn["state"] == state
    if state == "failed":
        assert "No: " in turn["message"]
        assert len(turn["message"]) <= 1000
        assert turn["message"].endswith("…")


async def test_what_has_no_effect_and_is_too_large_is_a_gap(session: Session) -> None:
    update = {"sessionUpdate": "tool_call", "toolCallId": "c", "rawOutput": LARGE}
    events = await session.events_of(["update", update])
    [gap] = [data_of(event) for event in events if event.event == "gap"]
    assert gap["reason"] == "oversized"
