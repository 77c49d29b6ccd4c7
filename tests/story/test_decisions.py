"""What was asked, who or what decided it and how a turn ended are in every history, in their places."""

import json
from typing import Any

import pytest

from tests.agenthost.hosts import OPTIONS
from tests.story.conftest import Session
from tests.world import data_of

REFUSED, ALLOWED = "Remove the build", "Push to main"


async def ask(session: Session, title: str, option: str) -> None:
    """A turn in which the agent asks without having told of the call before, and is answered."""
    call = {"toolCallId": title, "title": title, "kind": "execute"}
    steps = [["call", "session/request_permission", {"toolCall": call, "options": OPTIONS}]]
    cursor = (await session.project.call("GET", f"/session/{session.id}")).json["cursor"]
    async with session.project.events(session.id, last_event_id=cursor) as stream:
        prompt = json.dumps([["say", "before ", 1], *steps, ["say", " after", 1]])
        await session.project.prompt(session.id, prompt, wait=None)
        request = data_of((await stream.until("permission_request"))[-1])["permissionId"]
        answer = await session.project.call("POST", f"/permission/{request}", {"optionId": option})
        assert answer.status == 200, answer.body
        await stream.until("turn_ended")


async def export(session: Session, form: str) -> str:
    answer = await session.project.call("GET", f"/session/{session.id}/export?format={form}")
    return answer.body.decode()


async def test_a_request_and_its_answer_stand_where_they_were_told(session: Session) -> None:
    await ask(session, REFUSED, "no")
    await ask(session, ALLOWED, "yes")
    told = [event for event in await session.project.all_events(session.id) if event.event.startswith("permission_")]
    messages = await session.project.messages(session.id)
    shown = [one for one in messages if one["role"] == "event"]
    assert [(one["event"], one["data"]) for one in shown] == [(event.event, data_of(event)) for event in told]
    assert [one["data"]["optionId"] for one in shown if one["event"] == "permission_resolved"] == ["no", "yes"]
    roles = [one["role"] for one in messages]
    assert roles == ["user", "assistant", "event", "event", "assistant"] * 2
    snapshot = (await session.project.call("GET", f"/session/{session.id}/snapshot")).json
    assert snapshot["messages"] == messages
    assert [json.loads(line) for line in (await export(session, "jsonl")).splitlines()] == messages
    text = await export(session, "markdown")
    for sentence in (
        f"*The agent asks for permission: {REFUSED}*",
        "*Options: Always, Yes, No.*",
        f"*“No” by local: {REFUSED}*",
        f"*“Yes” by local: {ALLOWED}*",
    ):
        assert sentence in text
    assert text.index(f"“No” by local: {REFUSED}") < text.index(f"permission: {ALLOWED}")


async def test_who_wrote_each_prompt_is_told(session: Session) -> None:
    await session.events_of(["say", "hello", 1])
    [prompt, _] = await session.project.messages(session.id)
    assert (prompt["role"], prompt["author"]) == ("user", "local")
    assert "\n## User local · " in await export(session, "markdown")


@pytest.mark.parametrize(
    ("steps", "outcome", "word"),
    [
        ([["error", {"code": -32603, "message": "No more tokens."}]], "failed", "No more tokens."),
        ([["exit", 3]], "failed", "ended with exit status 3"),
    ],
)
async def test_how_a_turn_ended_that_did_not_complete_is_told(
    session: Session, steps: list[Any], outcome: str, word: str
) -> None:
    await session.events_of(["say", "hello", 1], *steps)
    [end] = [one for one in await session.project.messages(session.id) if one["role"] == "event"]
    assert (end["event"], end["data"]["outcome"]) == ("turn_ended", outcome)
    assert word in end["data"]["message"]
    assert f"The turn ended as {outcome}" in await export(session, "markdown")


async def test_a_message_id_that_is_used_again_is_another_message(session: Session) -> None:
    def chunk(text: str) -> list[Any]:
        content = {"type": "text", "text": text}
        return ["update", {"sessionUpdate": "agent_message_chunk", "messageId": "m1", "content": content}]

    call = {"sessionUpdate": "tool_call", "toolCallId": "c", "title": "between"}
    await session.events_of(chunk("one"), chunk(" and"), ["update", call], chunk("two"))
    await session.events_of(chunk("three"))
    said = [one for one in await session.project.messages(session.id) if one["role"] == "assistant"]
    assert [one["content"][0]["text"] for one in said] == ["one and", "two", "three"]
    assert {one["messageId"] for one in said} == {"m1"}
    text = await export(session, "markdown")
    assert all(f"\n> {words}\n" in text for words in ("one and", "two", "three"))


async def test_a_call_with_the_id_of_one_that_has_ended_is_another_call(session: Session) -> None:
    def call(title: str, output: str) -> list[Any]:
        begun = {"sessionUpdate": "tool_call", "toolCallId": "call_1", "title": title, "status": "in_progress"}
        ended = {
            "sessionUpdate": "tool_call_update",
            "toolCallId": "call_1",
            "status": "completed",
            "rawOutput": output,
        }
        return [["update", begun], ["update", ended]]

    await session.events_of(*call("first", "one"), *call("second", "two"))
    await session.events_of(*call("third", "three"))
    calls = [one["toolCall"] for one in await session.project.messages(session.id) if one["role"] == "tool"]
    assert [(one["title"], one["rawOutput"]) for one in calls] == [
        ("first", "one"),
        ("second", "two"),
        ("third", "three"),
    ]
    text = await export(session, "markdown")
    assert all(f"```\n{output}\n```" in text for output in ("one", "two", "three"))
