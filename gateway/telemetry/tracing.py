"""W3C Trace Context: what a request says of the trace that it is part of goes on to the containers that it reaches.

Whether or not this gateway traces. Where it does, ``spans`` has a tracing of its own.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final, Protocol

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
#: Version 00, as it is; of later ones what they have in common with it (Trace Context 3.2.4).
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{0,200})?")
_MAX_STATE: Final = 512
_CARRIED: ContextVar[Mapping[str, str]] = ContextVar("trace context")
_NOTHING: Final[Mapping[str, str]] = {}


class Span(Protocol):
    """A request to us, or one of ours to a container, while it lasts."""

    #: What its own requests carry.
    headers: Mapping[str, str]

    def end(self, status: int | None, *, route: str | None = None, failure: str | None = None) -> None:
        """It is over: answered with a status, or failed with a code."""


class Tracing(Protocol):
    """Begins spans; None where there is nothing to note and nothing to pass on."""

    def begin_request(self, method: str, headers: Mapping[str, str], *, is_stream: bool) -> Span | None:
        """Somebody's request to us. What this task and those that it starts do is part of it."""

    def begin_call(self, method: str, host: str, port: int) -> Span | None:
        """A request of ours to a container, as part of what this task is part of."""

    async def close(self) -> None:
        """Hand in what has been noted."""


class _Carried:
    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = headers

    def end(self, status: int | None, *, route: str | None = None, failure: str | None = None) -> None:
        """Nothing has been noted."""


class PassedOn:
    """Notes nothing itself."""

    def begin_request(self, method: str, headers: Mapping[str, str], *, is_stream: bool) -> Span | None:
        if TRACEPARENT in headers:
            _CARRIED.set(carried(headers))
        return None

    def begin_call(self, method: str, host: str, port: int) -> Span | None:
        headers = _CARRIED.get(_NOTHING)
        return _Carried(headers) if headers else None

    async def close(self) -> None:
        """There is nothing to hand in."""


def carried(headers: Mapping[str, str]) -> Mapping[str, str]:
    """What of a request's headers is a trace context; nothing where it is none."""
    parent = headers.get(TRACEPARENT, "").strip()
    if not _TRACEPARENT.fullmatch(parent) or (parent.startswith("00") and len(parent) != 55):
        return _NOTHING
    state = headers.get(TRACESTATE, "")
    fits = state and len(state) <= _MAX_STATE and state.isascii() and state.isprintable()
    return {TRACEPARENT: parent, **({TRACESTATE: state} if fits else {})}
