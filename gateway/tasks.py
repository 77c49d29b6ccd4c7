"""Work that shares one event loop: tasks that outlive a request and have an owner, waiting, long work in slices."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: How long anything works in one go, where it can be cut. A request needs some five turns of the loop.
SLICE_SECONDS: Final = 0.002
#: How often somebody looks for what they wait for: often at first.
MIN_PAUSE_SECONDS: Final = 0.02
MAX_PAUSE_SECONDS: Final = 0.25


class Tasks:
    """Holds tasks until they end, logs what none awaited, cancels the rest when it closes."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def complete(self, work: Coroutine[Any, Any, T], *, name: str) -> T:
        """The outcome of `work`, which goes on to its end even if the caller is cancelled."""
        task = self.start(work, name=name)
        # The caller hears of a failure itself; a caller who has gone need not.
        task.remove_done_callback(self._ended)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return await asyncio.shield(task)

    async def close(self, *, grace: float = 0.0) -> None:
        """Let what still runs end by itself for ``grace`` seconds, then cancel it and wait for it."""
        if self._running and grace > 0:
            await asyncio.wait(set(self._running), timeout=grace)
        while self._running:
            for task in self._running:
                task.cancel()
            await asyncio.wait(set(self._running))

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("a task failed", extra={"task": task.get_name()}, exc_info=exc)


@asynccontextmanager
async def running(works: Mapping[str, Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Each of ``works`` in a task of its name for as long as this is open. One that ends before is a fault, logged."""
    tasks = [asyncio.create_task(work, name=name) for name, work in works.items()]
    for task in tasks:
        task.add_done_callback(_log_end)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _log_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("task died", exc_info=task.exception(), extra={"task": task.get_name()})


async def wait_for(
    look: Callable[[], Awaitable[T]],
    *,
    seconds: float,
    until: Callable[[T], object] = bool,
    wake: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> T:
    """What ``look`` returns once ``until`` holds for it, or what it returned last when ``seconds`` have passed.

    It looks again when ``wake(pause)`` returns, which is cancelled at the end. The pauses become longer.
    """
    loop = asyncio.get_running_loop()
    end, pause = loop.time() + seconds, MIN_PAUSE_SECONDS
    while True:
        found = await look()
        left = end - loop.time()
        if left <= 0 or until(found):
            return found
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await wake(pause)
        pause = min(1.5 * pause, MAX_PAUSE_SECONDS)


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
