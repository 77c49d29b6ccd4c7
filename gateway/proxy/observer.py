"""What a client of upstreams tells of its requests, to whoever wants to know."""

from typing import Protocol


class Observer(Protocol):
    """It is told on the way, so it must be quick."""

    def phase(self, name: str, seconds: float) -> None:
        """A phase is over: ``connect``, ``headers`` or ``body``. Those that wait for a turn are not told."""

    def upstream_failed(self, code: str) -> None:
        """A request failed, with this code of an ``UpstreamError``."""
