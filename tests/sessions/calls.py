"""Updates of tool calls."""

import json
from datetime import UTC, datetime
from typing import Any

from gateway.wire.events import Cursor, Event


def event(seq: int, type: str, data: Any) -> Event:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return Event(
        cursor=Cursor(1, seq), type=type, session_id="s", turn_id="t", agent_id="a", at=datetime.now(UTC), data=raw
    )


def call(**members: Any) -> tuple[str, Any]:
    return "session_update", {"update": {"sessionUpdate": "tool_call", "toolCallId": "c", **members}}


def update(**members: Any) -> tuple[str, Any]:
    return "session_update", {"update": {"sessionUpdate": "tool_call_update", "toolCallId": "c", **members}}
