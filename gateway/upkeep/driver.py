"""One loop for what must come to its end whatever process began it: turns, answers to permission requests.

Everything it acts on is stored in the database, so the gateway that takes a project's lease over goes on where the last
one stopped. A step that fails is not lost: the next review finds it again.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from gateway.db.availability import log_failure
from gateway.errors import GatewayError, NotFound
from gateway.tasks import Tasks

logger = logging.getLogger(__name__)

REVIEW_SECONDS: Final = 1.0
#: A step that is due at a certain time is not waited for until the next review; nor are reviews closer than this.
MIN_PAUSE_SECONDS: Final = 0.05

#: Starts what is due for the given projects, whose leases are held here; returns in how many seconds something more is.
Review = Callable[[Sequence[str]], Awaitable[float]]


class Driver:
    """Runs reviews, and the steps that they start. ``run`` is a task of whoever owns this; ``close`` ends the steps."""

    def __init__(self, held: Callable[[], Sequence[str]]) -> None:
        """``held``: the projects whose lease this process holds now."""
        self._held = held
        self._tasks = Tasks()
        self._busy: set[str] = set()

    def do(self, key: str, step: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Take a step in a task of its own, unless one under the same key is being taken."""
        if key not in self._busy:
            self._busy.add(key)
            task = self._tasks.start(self._logged(key, step), name=key)
            task.add_done_callback(lambda _: self._busy.discard(key))

    def is_doing(self, key: str) -> bool:
        return key in self._busy

    async def run(self, reviews: Mapping[str, Review]) -> None:
        """Run the reviews every second until cancelled. ``reviews``: by the name of what they look after."""
        while True:
            pauses = [await self._review(name, review) for name, review in reviews.items()]
            await asyncio.sleep(max(MIN_PAUSE_SECONDS, min(REVIEW_SECONDS, *pauses)))

    async def close(self) -> None:
        await self._tasks.close()

    async def _review(self, name: str, review: Review) -> float:
        """One that fails keeps the others from nothing, even if it is a fault that nobody foresaw."""
        try:
            return await review(self._held())
        except GatewayError as exc:
            log_failure(logger, f"{name} maintenance failed", exc)
        except Exception:
            logger.exception(f"{name} maintenance failed")
        return math.inf

    async def _logged(self, key: str, step: Callable[[], Coroutine[Any, Any, object]]) -> None:
        try:
            await step()
        except NotFound:
            return  # deleted with its project
        except GatewayError as exc:
            log_failure(logger, "step failed and will be repeated", exc, level=logging.INFO, step=key)


@asynccontextmanager
async def open_driver(held: Callable[[], Sequence[str]]) -> AsyncIterator[Driver]:
    driver = Driver(held)
    try:
        yield driver
    finally:
        await driver.close()
