"""Time limits of many waits on one timer of the loop; one timer each would cost more than sending a request."""

import asyncio
from math import inf
from typing import Protocol

#: The timer fires at most this often, in seconds: limits are late by this much at most.
GRAIN = 0.02


class Limited(Protocol):
    """A wait; ``expire`` is called once, when its time is over."""

    def expire(self) -> None: ...


class Limits:
    """The ends of all waits. Use within a running loop."""

    def __init__(self) -> None:
        self._ends: dict[Limited, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._fires = inf

    def set(self, waiting: Limited, end: float | None) -> None:
        """``waiting`` expires at ``end``, by the loop's clock, instead of earlier settings; None: never."""
        if end is None:
            self._ends.pop(waiting, None)
            return
        self._ends[waiting] = end
        if end < self._fires:
            self._arm(end)

    def close(self) -> None:
        self._ends.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires = when
        self._timer = asyncio.get_running_loop().call_at(when, self._review)

    def _review(self) -> None:
        # The timer is not moved when a wait ends or is prolonged: by now most have been.
        self._timer, self._fires = None, inf
        now = asyncio.get_running_loop().time()
        for waiting in [waiting for waiting, end in self._ends.items() if end <= now]:
            del self._ends[waiting]
            waiting.expire()
        if self._ends:
            self._arm(max(min(self._ends.values()), now + GRAIN))
