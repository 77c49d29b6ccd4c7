"""Storing what only this process knows: again and again while the database is away."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from gateway.db.availability import log_failure
from gateway.db.errors import OutcomeUnknown
from gateway.errors import DatabaseUnavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE_SECONDS: Final = 0.1
MAX_PAUSE_SECONDS: Final = 2.0


async def retry_until_stored(store: Callable[[], Awaitable[T]], *, seconds: float = math.inf) -> T:
    """The result of ``store``, which is called again while the database is away, so repeating it must be harmless.

    Raises its last error once ``seconds`` have passed, and at once any error that is not the database's being away.
    """
    loop = asyncio.get_running_loop()
    give_up_at, pause = loop.time() + seconds, FIRST_PAUSE_SECONDS
    while True:
        try:
            return await store()
        except (DatabaseUnavailable, OutcomeUnknown) as exc:
            if loop.time() >= give_up_at:
                raise
            log_failure(logger, "not stored yet", exc)
        await asyncio.sleep(pause)
        pause = min(pause * 2, MAX_PAUSE_SECONDS)
