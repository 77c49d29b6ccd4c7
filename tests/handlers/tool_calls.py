"""Permissions for tool calls that were told before."""

from typing import Any

from tests.fakes.container import FakeContainer

#: As Mistral Vibe tells of a command, and asks leave for it.
COMMAND = {
    "sessionUpdate": "tool_call",
    "toolCallId": "v1",
    "title": "bash: touch made-by-vibe",
    "kind": "execute",
    "rawInput": {"command": "touch made-by-vibe"},
    "content": [{"type": "content", "content": {"type": "text", "text": "Creates a file"}}],
    "locations": [{"path": "/workspace"}],
}


def tell(container: FakeContainer, *updates: dict[str, Any]) -> None:
    """What an agent says of its calls in the container's newest session, in the order given."""
    known = list(container.sessions)[-1]
    for update in updates:
        data = {"sessionId": container.sessions[known].acp_id, "update": update}
        container.emit("session_update", data, session_id=known)
