"""What must come true however long the database is away, because nobody else knows of it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.db.availability import log_failure
from gateway.errors import GatewayError, NotFound

logger = logging.getLogger(__name__)

T = TypeVar("T")

MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.1, 5.0


async def surely(attempt: Callable[[], Awaitable[T]], *, turn_id: str) -> T:
    """The outcome of ``attempt``, which is repeated until it gives one, and so must be harmless to repeat.

    Raises ``NotFound`` where what it is about has been deleted.
    """
    backoff = MIN_BACKOFF_SECONDS
    while True:
        try:
            return await attempt()
        except NotFound:
            raise
        except GatewayError as exc:
            log_failure(logger, "turn waits for the database", exc, turn=turn_id)
        await asyncio.sleep(backoff)
        backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
