"""The upkeep of all logs: what makes them smaller, and what a gateway that died left undone.

Each gateway does it for any project; whoever is first holds a row's lock, and the others leave that project alone.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.db.availability import log_failure
from gateway.db.every import every
from gateway.db.pool import Row
from gateway.errors import GatewayError

logger = logging.getLogger(__name__)

REVIEW_SECONDS: Final = 2.0

Review = Callable[[], Awaitable[None]]


async def keep_up(reviews: Sequence[Review]) -> None:
    """Run each review every few seconds, until cancelled; one that fails is tried again the next time."""

    async def run_all() -> None:
        for review in reviews:
            try:
                await review()
            except Exception as exc:  # the others are run all the same
                _log("logs not kept up", exc, review=review.__qualname__)

    await every(REVIEW_SECONDS, run_all, failed="logs not kept up")


async def of_each(rows: Sequence[Row], work: Callable[[Row], Awaitable[object]]) -> None:
    """Do ``work`` for the project of each row; where it fails, the others have theirs all the same."""
    for row in rows:
        try:
            await work(row)
        except Exception as exc:  # the others have theirs all the same
            _log("log not kept up", exc, project=row["project_id"])


def _log(message: str, exc: Exception, **extra: str) -> None:
    if isinstance(exc, GatewayError):
        log_failure(logger, message, exc, level=logging.WARNING, **extra)
    else:
        # A fault of ours.
        logger.error(message, exc_info=exc, extra={**extra, "error": str(exc)})
