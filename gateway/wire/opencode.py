"""OpenCode's own event stream, as a project's container has it on its other port and the gateway serves it again.

Each block is a line of data, ``{"id", "type", "properties"}``, and no ``event:``; seen with OpenCode 1.18. What the
gateway itself says there has the same form, so that whoever reads all data as OpenCode's events can pass it over:
``gateway.gap`` and ``gateway.reset``. The ids of blocks are the gateway's cursors; OpenCode gives its blocks none.
"""

import secrets
from datetime import datetime
from typing import Any, Final

from gateway.wire.codec import dump_json
from gateway.wire.events import Cursor, Gap, Reset
from gateway.wire.sse import encode_event
from gateway.wire.times import timestamp

#: How often OpenCode says that its stream lives; clients of it may give up after a little more.
HEARTBEAT_SECONDS: Final = 10.0
CONNECTED: Final = "server.connected"
HEARTBEAT: Final = "server.heartbeat"


def connected(cursor: Cursor | None, *, retry: int | None = None) -> bytes:
    """What a client of OpenCode's expects first; without ``cursor`` it keeps the id that it has."""
    return _block(cursor, _event(CONNECTED, {}), retry)


def heartbeat(cursor: Cursor | None, *, retry: int | None = None) -> bytes:
    return _block(cursor, _event(HEARTBEAT, {}), retry)


def reset(told: Reset) -> bytes:
    """To one client: its cursor cannot be continued, and it goes on at the head."""
    properties = {"epoch": told.epoch, "floor": told.floor, "head": told.head, "reason": told.reason}
    return _block(Cursor(told.epoch, told.head), _event("gateway.reset", properties), None)


def gap(what: Gap, *, since: datetime | None = None, until: datetime | None = None) -> bytes:
    """The data of an event that says: here something may be missing, of what OpenCode said in that time."""
    properties = {
        "reason": what.reason,
        "from": None if since is None else timestamp(since),
        "to": None if until is None else timestamp(until),
        "count": what.count,
    }
    return _event("gateway.gap", properties)


def _event(type: str, properties: dict[str, Any]) -> bytes:
    # OpenCode's ids are as long, and begin so.
    return dump_json({"id": f"evt_{secrets.token_hex(13)}", "type": type, "properties": properties})


def _block(cursor: Cursor | None, data: bytes, retry: int | None) -> bytes:
    return encode_event(event=None, id=None if cursor is None else str(cursor), retry=retry, data=data)
