"""How a stream sends what is not in the log: heartbeats, the client's cursor, resets."""

import math
from collections.abc import Mapping
from typing import Final, Protocol

import attrs

from gateway.wire.events import Cursor, Heartbeat, Reset
from gateway.wire.opencode import EVENT_STREAMS, EventStream


class Telling(Protocol):
    """A block with the client's cursor, and the reconnection time in milliseconds."""

    def __call__(self, cursor: Cursor | None, *, retry: int | None = None) -> bytes: ...


class TellingReset(Protocol):
    def __call__(self, told: Reset, /) -> bytes: ...


@attrs.frozen(kw_only=True)
class Dialect:
    """``begin``: the first block. ``longest_pause``: the seconds between heartbeats.

    ``comes_back_from_an_end``: whether clients reconnect after a clean end; otherwise streams are broken off.
    """

    begin: Telling
    heartbeat: Telling
    reset: TellingReset
    longest_pause: float
    comes_back_from_an_end: bool


OWN: Final = Dialect(
    begin=Heartbeat.frame,
    heartbeat=Heartbeat.frame,
    reset=Reset.frame,
    longest_pause=math.inf,
    comes_back_from_an_end=True,
)


def _of_opencode(stream: EventStream) -> Dialect:
    """OpenCode's SDK gives up after a clean end, and reconnects with ``Last-Event-ID`` after any other."""
    return Dialect(
        begin=stream.connected,
        heartbeat=stream.heartbeat,
        reset=stream.reset,
        longest_pause=stream.heartbeat_seconds,
        comes_back_from_an_end=False,
    )


#: That of each of OpenCode's streams, by its name.
OPENCODE: Final[Mapping[str, Dialect]] = {name: _of_opencode(stream) for name, stream in EVENT_STREAMS.items()}
