"""Long work on the event loop, cut into slices: after each, whatever else is ready has its turn."""

import asyncio
import time
from collections.abc import Generator
from typing import Final, TypeVar

T = TypeVar("T")

#: How long anything works in one go, where it can be cut. A request needs some five turns of the loop.
SLICE_SECONDS: Final = 0.002


class Slice:
    """How long somebody has been working without a pause."""

    def __init__(self) -> None:
        self._end = time.perf_counter() + SLICE_SECONDS

    @property
    def is_over(self) -> bool:
        return time.perf_counter() >= self._end

    async def give_way(self) -> None:
        """Let everybody else have a turn, and begin anew."""
        await asyncio.sleep(0)
        self._end = time.perf_counter() + SLICE_SECONDS


async def in_slices(steps: Generator[None, None, T]) -> T:
    """What comes of work in steps (``wire.steps``)."""
    piece = Slice()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        if piece.is_over:
            await piece.give_way()
