"""The events of a turn, one by one."""

import json
from typing import Any

from gateway.log.store import NewEvent


def event(type: str, data: Any, turn: str | None) -> NewEvent:
    return NewEvent(type=type, data=json.dumps(data).encode(), session_id="s", turn_id=turn)


def started(turn: str) -> NewEvent:
    return event("turn_started", {"prompt": [{"type": "text", "text": f"prompt of {turn}"}]}, turn)


def chunks(turn: str | None, number: int) -> list[NewEvent]:
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "word "}}
    return [event("session_update", {"update": update}, turn)] * number


def ended(turn: str) -> NewEvent:
    return event("turn_ended", {"outcome": "completed"}, turn)
