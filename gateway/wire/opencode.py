"""OpenCode's event streams, which a project's container serves on its other port and the gateway serves again.

Blocks are a line of data without ``event:``. Each stream has its own form of the same events (seen with OpenCode 1.18):

    /event          {"id", "type", "properties"}                           of the directory where OpenCode was started
    /global/event   {"directory", "project"?, "workspace"?, "payload"}     of all; the payload is an event as above, or
                                                                           {"id", "type": "sync", "syncEvent"}
    /api/event      {"id", "type", "durable"?, "location"?, "data"}        of all

The gateway's own events have the same forms, so that clients can skip them: ``gateway.gap`` and ``gateway.reset``.
Blocks have the gateway's cursors as ids; OpenCode's have none.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import attrs

from gateway.wire.codec import dump_json
from gateway.wire.events import Cursor, Gap, Reset
from gateway.wire.sse import encode_comment, encode_event
from gateway.wire.times import timestamp

CONNECTED: Final = "server.connected"
HEARTBEAT: Final = "server.heartbeat"
#: A heartbeat where it is a comment.
_BEAT: Final = "heartbeat"

StreamName = Literal["opencode", "opencode_global", "opencode_api"]


@attrs.frozen(kw_only=True)
class EventStream:
    """One of the streams, with its form."""

    #: As its log is called.
    name: StreamName
    path: str
    #: The member of an event that has its content.
    content: str = "properties"
    #: The member that has the event, if it is inside of something.
    wrapper: str | None = None
    #: How often OpenCode sends a heartbeat; its clients may give up a little later.
    heartbeat_seconds: float = 10.0
    #: Whether a heartbeat is a comment, and not an event.
    beats_by_comment: bool = False

    def connected(self, cursor: Cursor | None, *, retry: int | None = None) -> bytes:
        """The first event that OpenCode's clients expect; without ``cursor`` they keep their last id."""
        return _block(cursor, self._event(CONNECTED, {}), retry)

    def heartbeat(self, cursor: Cursor | None, *, retry: int | None = None) -> bytes:
        if self.beats_by_comment:
            return encode_comment(_BEAT, id=None if cursor is None else str(cursor), retry=retry)
        return _block(cursor, self._event(HEARTBEAT, {}), retry)

    def reset(self, told: Reset) -> bytes:
        """To one client: its cursor cannot be continued; the stream goes on at the head."""
        content = {"epoch": told.epoch, "floor": told.floor, "head": told.head, "reason": told.reason}
        return _block(Cursor(told.epoch, told.head), self._event("gateway.reset", content), None)

    def gap(self, what: Gap, *, since: datetime | None = None, until: datetime | None = None) -> bytes:
        """The data of an event that says that OpenCode's events of that time may be missing."""
        content = {
            "reason": what.reason,
            "from": None if since is None else timestamp(since),
            "to": None if until is None else timestamp(until),
            "count": what.count,
        }
        return self._event("gateway.gap", content)

    def is_comment(self, piece: bytes) -> bool:
        """Whether these bytes are a heartbeat that no parser of events shows."""
        return self.beats_by_comment and piece == encode_comment(_BEAT)

    def event_in(self, value: Any) -> dict[str, Any]:
        """What has the type and the content in the value of a block; empty if there is no such thing."""
        event = value.get(self.wrapper) if self.wrapper is not None and isinstance(value, dict) else value
        return event if isinstance(event, dict) else {}

    def _event(self, type: str, content: dict[str, Any]) -> bytes:
        # The form of OpenCode's ids.
        event = {"id": f"evt_{secrets.token_hex(13)}", "type": type, self.content: content}
        return dump_json(event if self.wrapper is None else {self.wrapper: event})


EVENT: Final = EventStream(name="opencode", path="/event")
GLOBAL_EVENT: Final = EventStream(name="opencode_global", path="/global/event", wrapper="payload")
API_EVENT: Final = EventStream(
    name="opencode_api", path="/api/event", content="data", heartbeat_seconds=15.0, beats_by_comment=True
)
#: All of them, as their logs are called.
EVENT_STREAMS: Final[Mapping[str, EventStream]] = {one.name: one for one in (EVENT, GLOBAL_EVENT, API_EVENT)}


def _block(cursor: Cursor | None, data: bytes, retry: int | None) -> bytes:
    return encode_event(event=None, id=None if cursor is None else str(cursor), retry=retry, data=data)
