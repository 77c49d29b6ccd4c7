"""One loop for work that must be done whichever process began it: what is due stands in the database.

A review finds what is due and starts a step for each. Two rules decide which gateway does it:

- Work of a project (turns, answers to permission requests) is done by the gateway that holds the project's lease.
- Other work (logins, renewals, revocations, credentials to be taken back) is claimed: the claim says when the work is
  due again, which is later than the step can take.

So a gateway that dies has only delayed its work, and another one goes on. A step that fails is due again, too.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from gateway.db.availability import log_failure
from gateway.errors import GatewayError, NotFound
from gateway.tasks import Tasks

logger = logging.getLogger(__name__)

REVIEW_SECONDS: Final = 1.0
#: A step that is due at a certain time is not waited for until the next review; nor are reviews closer than this.
MIN_PAUSE_SECONDS: Final = 0.05

#: Starts what is due; returns in how many seconds something more is, if that is known.
Review = Callable[[], Awaitable[float | None]]


class Driver:
    """Runs reviews, and the steps that they start. Its owner runs ``run`` in a task; ``close`` ends the steps."""

    def __init__(self) -> None:
        self._tasks = Tasks()
        self._busy: set[str] = set()

    def do(self, key: str, step: Callable[[], Coroutine[Any, Any, object]]) -> asyncio.Task[None] | None:
        """Take a step in a task of its own; None if one under the same key is being taken."""
        if key in self._busy:
            return None
        self._busy.add(key)
        task = self._tasks.start(self._logged(key, step), name=key)
        task.add_done_callback(lambda _: self._busy.discard(key))
        return task

    def is_doing(self, key: str) -> bool:
        return key in self._busy

    def free(self, at_once: int) -> int:
        """How many more steps may begin if no more than ``at_once`` may run."""
        return max(0, at_once - len(self._busy))

    async def run(self, reviews: Mapping[str, Review], *, seconds: float = REVIEW_SECONDS) -> None:
        """Run the reviews at least every ``seconds`` until cancelled. ``reviews``: by what they look after."""
        while True:
            pauses = [await self._review(name, review) for name, review in reviews.items()]
            pause = min((pause for pause in pauses if pause is not None), default=seconds)
            await asyncio.sleep(max(MIN_PAUSE_SECONDS, min(pause, seconds)))

    async def close(self, *, grace: float = 0.0) -> None:
        """Let steps end by themselves for ``grace`` seconds, then cancel them."""
        await self._tasks.close(grace=grace)

    async def _review(self, name: str, review: Review) -> float | None:
        """One that fails keeps the others from nothing, even if it is a fault that nobody foresaw."""
        try:
            return await review()
        except GatewayError as exc:
            log_failure(logger, f"{name} maintenance failed", exc)
        except Exception:  # a bug in one review must not end the others
            logger.exception(f"{name} maintenance failed")
        return None

    async def _logged(self, key: str, step: Callable[[], Coroutine[Any, Any, object]]) -> None:
        try:
            await step()
        except NotFound:
            return  # deleted with its project
        except GatewayError as exc:
            log_failure(logger, "step failed and will be repeated", exc, level=logging.INFO, step=key)


@asynccontextmanager
async def open_driver() -> AsyncIterator[Driver]:
    driver = Driver()
    try:
        yield driver
    finally:
        await driver.close()
