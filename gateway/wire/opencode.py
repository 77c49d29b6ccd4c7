"""OpenCode's own event stream, which a project's container serves on its other port and the gateway serves again.

Each block is a line of data, ``{"id", "type", "properties"}``, without ``event:``; seen with OpenCode 1.18. The
gateway's own events have the same form, so that clients can skip them: ``gateway.gap`` and ``gateway.reset``. Blocks
have the gateway's cursors as ids; OpenCode's have none.
"""

import secrets
from datetime import datetime
from typing import Any, Final

from gateway.wire.codec import dump_json
from gateway.wire.events import Cursor, Gap, Reset
from gateway.wire.sse import encode_event
from gateway.wire.times import timestamp

#: How often OpenCode sends a heartbeat; its clients may give up a little later.
HEARTBEAT_SECONDS: Final = 10.0
CONNECTED: Final = "server.connected"
HEARTBEAT: Final = "server.heartbeat"


def connected(cursor: Cursor | None, *, retry: int | None = None) -> bytes:
    """The first event that OpenCode's clients expect; without ``cursor`` they keep their last id."""
    return _block(cursor, _event(CONNECTED, {}), retry)


def heartbeat(cursor: Cursor | None, *, retry: int | None = None) -> bytes:
    return _block(cursor, _event(HEARTBEAT, {}), retry)


def reset(told: Reset) -> bytes:
    """To one client: its cursor cannot be continued; the stream goes on at the head."""
    properties = {"epoch": told.epoch, "floor": told.floor, "head": told.head, "reason": told.reason}
    return _block(Cursor(told.epoch, told.head), _event("gateway.reset", properties), None)


def gap(what: Gap, *, since: datetime | None = None, until: datetime | None = None) -> bytes:
    """The data of an event that says that OpenCode's events of that time may be missing."""
    properties = {
        "reason": what.reason,
        "from": None if since is None else timestamp(since),
        "to": None if until is None else timestamp(until),
        "count": what.count,
    }
    return _event("gateway.gap", properties)


def _event(type: str, properties: dict[str, Any]) -> bytes:
    # The form of OpenCode's ids.
    return dump_json({"id": f"evt_{secrets.token_hex(13)}", "type": type, "properties": properties})


def _block(cursor: Cursor | None, data: bytes, retry: int | None) -> bytes:
    return encode_event(event=None, id=None if cursor is None else str(cursor), retry=retry, data=data)
