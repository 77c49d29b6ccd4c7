"""Time limits of many waits on one timer of the loop; one for each request would cost more than sending it."""

import asyncio
from math import inf
from typing import Protocol

#: The timer fires at most this often, in seconds: a limit is told of so much late at the most.
GRAIN = 0.02


class Limited(Protocol):
    """What waits; ``expire`` is called once, when its time is over."""

    def expire(self) -> None: ...


class Limits:
    """When each of those who wait has waited long enough. Only within a running loop."""

    def __init__(self) -> None:
        self._ends: dict[Limited, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._fires = inf

    def set(self, waiting: Limited, end: float | None) -> None:
        """``waiting`` expires at ``end``, by the loop's clock, in place of what was said before; None: not at all."""
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
        # The timer is not moved when a wait ends or its end is put off: by now most have.
        self._timer, self._fires = None, inf
        now = asyncio.get_running_loop().time()
        for waiting in [waiting for waiting, end in self._ends.items() if end <= now]:
            del self._ends[waiting]
            waiting.expire()
        if self._ends:
            self._arm(max(min(self._ends.values()), now + GRAIN))
