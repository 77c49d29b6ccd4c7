"""What a broken stream has lost, and OpenCode's own history has, stands where it was lost, and is marked."""

import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from tests.fakes.container import FakeContainer
from tests.fakes.opencode import FakeOpenCode
from tests.world import EventStream, Gateway, Project, data_of

pytestmark = pytest.mark.timeout(60)

#: It goes on until the test ends it.
PROMPT = "slow 600"
TOOL = {"type": "tool", "tool": "bash"}


def text(said: str, kind: str = "text") -> dict[str, Any]:
    return {"type": kind, "text": said}


def call(id: str, output: str) -> dict[str, Any]:
    state = {
        "status": "completed",
        "input": {"command": "make"},
        "output": output,
        "title": f"Run {id}",
        "metadata": {},
    }
    return {**TOOL, "callID": id, "state": state}


def chunk(said: str) -> dict[str, Any]:
    return {"sessionUpdate": "agent_message_chunk", "content": text(said)}


@attrs.frozen
class Turn:
    """A turn of a base container's, of which a test says what is told and what is lost."""

    project: Project
    session: str
    container: FakeContainer
    opencode: FakeOpenCode
    stream: EventStream

    async def tells(self, update: dict[str, Any]) -> None:
        [inside] = self.container.sessions.values()
        data = {"sessionId": inside.acp_id, "update": update}
        self.container.emit("session_update", data, session_id=inside.id, agent_id="opencode")
        await self.stream.until("session_update")

    async def breaks(self) -> None:
        self.container.drop_streams()
        await self.stream.until("gap")
        await self.container.wait_for_streams()

    async def ends(self, *parts: dict[str, Any]) -> list[Any]:
        """OpenCode remembers these parts; the events up to what has come of that."""
        [inside] = self.container.sessions.values()
        answer = {"id": "msg_2", "role": "assistant", "finish": "stop", "time": {"completed": 1}}
        self.opencode.histories[inside.acp_id] = [
            {"info": {"id": "msg_1", "role": "user"}, "parts": [text(PROMPT)]},
            {"info": answer, "parts": list(parts)},
        ]
        inside.cancelled.set()
        events = await self.stream.until("container_event")
        assert data_of(events[-1])["data"]["uncertain"] is None
        return events


@pytest.fixture
async def turn(gateway: Gateway, base_container: FakeContainer) -> AsyncIterator[Turn]:
    async with FakeOpenCode() as opencode:
        project = await gateway.register(base_container.url, containerUrl=opencode.url, defaultAgentId="opencode")
        session = await project.create_session(agentId="opencode")
        async with project.events(session) as stream:
            await project.prompt(session, PROMPT, wait=None)
            await stream.until("turn_started")
            yield Turn(project, session, base_container, opencode, stream)


async def export(turn: Turn, format: str) -> str:
    answer = await turn.project.call("GET", f"/session/{turn.session}/export?format={format}")
    return str(answer.body.decode())


async def test_it_stands_between_what_was_said_before_and_after_in_messages_snapshot_and_exports(turn: Turn) -> None:
    await turn.tells(chunk("before "))
    await turn.breaks()
    await turn.tells(chunk("after"))
    lost = [text("hmm", "reasoning"), text("lost "), call("c1", "built"), text("and found ")]
    events = await turn.ends(text("before "), *lost, text("after"))
    filled = [data_of(event) for event in events if event.event == "history_filled"]
    assert [one["source"] for one in filled] == ["opencode"] * 4
    messages = await turn.project.messages(turn.session)
    assert [one.get("event", one["role"]) for one in messages] == [
        *("user", "assistant", "gap", "assistant", "container_event"),
    ]
    gap = messages[2]
    assert {one["gap"] for one in filled} == {int(gap["id"])}
    assert [(one["role"], one.get("content")) for one in gap["filled"]] == [
        ("thought", [text("hmm")]),
        ("assistant", [text("lost ")]),
        ("tool", None),
        ("assistant", [text("and found ")]),
    ]
    assert gap["filled"][2]["toolCall"]["rawOutput"]["output"] == "built"
    snapshot = (await turn.project.call("GET", f"/session/{turn.session}/snapshot")).json
    assert snapshot["messages"] == messages
    shown = await export(turn, "markdown")
    said = ["before", "Something is missing here", "filled in", "hmm", "lost", "Run c1", "built", "and found", "after"]
    places = [shown.index(one) for one in said]
    assert places == sorted(places)
    lines = await export(turn, "jsonl")
    assert [json.loads(line) for line in lines.splitlines()][-len(messages) :] == messages


async def test_a_call_that_had_begun_before_has_its_end_in_its_own_place(turn: Turn) -> None:
    await turn.tells({"sessionUpdate": "tool_call", "toolCallId": "c1", "title": "Run c1", "status": "pending"})
    await turn.breaks()
    await turn.tells(chunk("after"))
    await turn.ends(call("c1", "built"), text("after"))
    messages = await turn.project.messages(turn.session)
    assert [one.get("event", one["role"]) for one in messages] == [
        "user",
        "tool",
        "gap",
        "assistant",
        "container_event",
    ]
    assert messages[1]["toolCall"]["status"] == "completed"
    assert "filled" not in messages[2]


async def test_where_nothing_was_lost_a_gap_has_nothing(turn: Turn) -> None:
    await turn.tells(chunk("before "))
    await turn.breaks()
    await turn.tells(chunk("after"))
    await turn.ends(text("before after"))
    messages = await turn.project.messages(turn.session)
    assert "filled" not in messages[2]
