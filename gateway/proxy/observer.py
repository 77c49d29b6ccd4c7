"""What a client of upstreams tells of its requests, to whoever wants to know."""

from collections.abc import Mapping
from typing import Protocol


class Call(Protocol):
    """A request while it lasts."""

    #: Set on it, in place of what is there.
    headers: Mapping[str, str]

    def end(self, status: int | None, *, failure: str | None = None) -> None:
        """It was answered with a status, or failed with a code, or was given up."""


class Observer(Protocol):
    """It is told on the way, so it must be quick."""

    def begin(self, method: str, host: str, port: int) -> Call | None:
        """A request is about to be sent; None where nobody wants to know when it ends."""

    def phase(self, name: str, seconds: float) -> None:
        """A phase is over: ``connect``, ``headers`` or ``body``. Those that wait for a turn are not told."""

    def upstream_failed(self, code: str) -> None:
        """A request failed, with this code of an ``UpstreamError``."""
