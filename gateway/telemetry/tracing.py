"""W3C Trace Context: a request's trace context is passed on to the containers, with or without tracing here.

``spans`` has the implementation that exports.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final, Protocol

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
#: Version 00 exactly; of later ones the part in common (Trace Context 3.2.4).
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{0,200})?")
_MAX_STATE: Final = 512
_CARRIED: ContextVar[Mapping[str, str]] = ContextVar("trace context")
_NOTHING: Final[Mapping[str, str]] = {}


class Span(Protocol):
    """A request to us, or one of ours to a container, while it lasts."""

    #: Headers for requests within it.
    headers: Mapping[str, str]

    def end(self, status: int | None, *, route: str | None = None, failure: str | None = None) -> None:
        """It ended: with a status, or failed with a code."""


class Tracing(Protocol):
    """Begins spans; None if there is nothing to record or pass on."""

    def begin_request(self, method: str, headers: Mapping[str, str], *, is_stream: bool) -> Span | None:
        """A request to us. This task's work, and that of its children, is part of it."""

    def begin_call(self, method: str, host: str, port: int) -> Span | None:
        """A request of ours to a container, within the current span."""

    async def close(self) -> None:
        """Send pending spans."""


class _Carried:
    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = headers

    def end(self, status: int | None, *, route: str | None = None, failure: str | None = None) -> None:
        """Nothing was recorded."""


class PassedOn:
    """Records nothing itself."""

    def begin_request(self, method: str, headers: Mapping[str, str], *, is_stream: bool) -> Span | None:
        if TRACEPARENT in headers:
            _CARRIED.set(carried(headers))
        return None

    def begin_call(self, method: str, host: str, port: int) -> Span | None:
        headers = _CARRIED.get(_NOTHING)
        return _Carried(headers) if headers else None

    async def close(self) -> None:
        """Nothing is pending."""


def carried(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The trace context of a request's headers; empty if there is none."""
    parent = headers.get(TRACEPARENT, "").strip()
    if not _TRACEPARENT.fullmatch(parent) or (parent.startswith("00") and len(parent) != 55):
        return _NOTHING
    state = headers.get(TRACESTATE, "")
    fits = state and len(state) <= _MAX_STATE and state.isascii() and state.isprintable()
    return {TRACEPARENT: parent, **({TRACESTATE: state} if fits else {})}
