"""Turns to be read back."""

import json
from collections.abc import Iterator
from typing import Any

from gateway.log.store import NewEvent


def update(session: str, kind: str, turn: str | None, **members: Any) -> NewEvent:
    data = {"sessionId": "x", "update": {"sessionUpdate": kind, **members}}
    return NewEvent(type="session_update", data=json.dumps(data).encode(), session_id=session, turn_id=turn)


def said(session: str, turn: str | None, text: str, kind: str = "agent_message_chunk") -> NewEvent:
    return update(session, kind, turn, content={"type": "text", "text": text})


def turn_of(session: str, turn: str, number: int) -> Iterator[NewEvent]:
    """What a turn leaves in the log."""
    prompt = json.dumps({"prompt": [{"type": "text", "text": f"prompt {number}"}], "startedBy": "local"}).encode()
    yield NewEvent(type="turn_started", data=prompt, session_id=session, turn_id=turn, key=f"started:{turn}")
    for n in range(5):
        yield said(session, turn, f"thinking {n} ", "agent_thought_chunk")
    yield update(session, "plan", turn, entries=[{"content": "a", "status": "pending"}])
    for n in range(20):
        yield said(session, turn, f"word {number}.{n} ")
    yield update(session, "tool_call", turn, toolCallId=f"c{number}", title="Read", status="pending")
    yield said(session, turn, "meanwhile ")
    yield update(session, "tool_call_update", turn, toolCallId=f"c{number}", status="completed")
    yield update(session, "tool_call_update", turn, toolCallId=f"c{number - 1}", title=f"late {number}")
    yield update(session, "plan", turn, entries=[{"content": "a", "status": "completed"}])
    for n in range(5):
        yield said(session, turn, f"end {n} ")
    end = b'{"outcome":"completed"}'
    yield NewEvent(type="turn_ended", data=end, session_id=session, turn_id=turn, key=f"ended:{turn}")
