"""Events to pack."""

from typing import Any

from gateway.log.store import NewEvent


def chunk(n: int, *, session: str | None = "s", **members: Any) -> NewEvent:
    text = f"word{n} and some more "
    data = b'{"update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"%s"}}}' % text.encode()
    return NewEvent(type="session_update", data=data, session_id=session, **members)
