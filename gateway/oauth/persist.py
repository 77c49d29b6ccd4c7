"""What must be stored although the database may be away: a provider gives its tokens once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.db.availability import log_failure
from gateway.db.errors import OutcomeUnknown
from gateway.errors import DatabaseUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: How long a gateway holds what it could not store, and how often it tries.
PERSIST_SECONDS, PAUSE_SECONDS = 60.0, 0.5


async def persistently(attempt: Callable[[], Awaitable[T]]) -> T:
    """The outcome of ``attempt``, which is repeated while the database is away, and so must be harmless to repeat.

    Raises what it raised last once that takes too long.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + PERSIST_SECONDS
    while True:
        try:
            return await attempt()
        except (DatabaseUnavailable, OutcomeUnknown) as exc:
            if loop.time() > until:
                raise
            log_failure(logger, "a credential waits for the database", exc)
        await asyncio.sleep(PAUSE_SECONDS)
