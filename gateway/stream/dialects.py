"""How a stream tells its client what stands in no log: that it lives, where the client is, that it must start anew."""

import math
from typing import Final, Protocol

import attrs

from gateway.wire import opencode
from gateway.wire.events import Cursor, Heartbeat, Reset


class Telling(Protocol):
    """A block with the client's cursor, and after how many milliseconds it is to come back."""

    def __call__(self, cursor: Cursor | None, *, retry: int | None = None) -> bytes: ...


class TellingReset(Protocol):
    def __call__(self, told: Reset, /) -> bytes: ...


@attrs.frozen(kw_only=True)
class Dialect:
    """``begin``: the first block. ``longest_pause``: a heartbeat comes after so many seconds at the latest.

    ``comes_back_from_an_end``: whether clients do; else a stream that they are to come back to is broken off.
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
#: OpenCode's own SDK takes a clean end for the end of all, and comes back, with ``Last-Event-ID``, from any other.
OPENCODE: Final = Dialect(
    begin=opencode.connected,
    heartbeat=opencode.heartbeat,
    reset=opencode.reset,
    longest_pause=opencode.HEARTBEAT_SECONDS,
    comes_back_from_an_end=False,
)
