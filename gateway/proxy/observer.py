"""What an upstream client reports of its requests."""

from collections.abc import Mapping
from typing import Protocol


class Call(Protocol):
    """A request while it lasts."""

    #: Set on the request, replacing others.
    headers: Mapping[str, str]

    def end(self, status: int | None, *, failure: str | None = None) -> None:
        """It was answered with a status, failed with a code, or was cancelled."""


class Observer(Protocol):
    """Called during requests, so it must be quick."""

    def begin(self, method: str, host: str, port: int) -> Call | None:
        """A request is about to be sent; returns None if its end is of no interest."""

    def phase(self, name: str, seconds: float) -> None:
        """A phase is over: ``connect``, ``headers`` or ``body``; not for waits for a connection."""

    def upstream_failed(self, code: str) -> None:
        """A request failed with this code of an ``UpstreamError``."""
