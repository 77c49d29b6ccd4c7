"""What containers say is remembered within bounds, however much it is."""

import json
from typing import cast

from gateway.container.client import ContainerInfo
from gateway.db.pool import Database
from gateway.log.store import Log, NewEvent
from gateway.sessions.translate import Translator
from gateway.wire.sse import SSEEvent


def status(agent_id: str, status: str) -> SSEEvent:
    data = {"type": "agent_status", "agentId": agent_id, "data": {"agentId": agent_id, "status": status}}
    return SSEEvent(event="agent_status", data=json.dumps(data), id=None)


def test_of_agents_without_end_only_the_latest_are_remembered() -> None:
    translator = Translator(cast("Database", None), cast("Log", None), permission_timeout=1)
    translator.connected("demo", ContainerInfo(boot_id=None, capabilities=frozenset()))
    assert isinstance(translator("demo", status("first", "running")), NewEvent)
    assert translator("demo", status("first", "running")) is None
    for number in range(10_000):
        translator("demo", status(f"agent-{number}", "running"))
    assert translator("demo", status("agent-9999", "running")) is None
    # Forgotten meanwhile, so that it is told once more.
    assert isinstance(translator("demo", status("first", "running")), NewEvent)
