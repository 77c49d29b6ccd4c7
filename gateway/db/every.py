"""Work that is done again and again for as long as a gateway runs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from gateway.db.availability import log_failure
from gateway.errors import GatewayError

logger = logging.getLogger(__name__)


async def every(
    seconds: float, work: Callable[[], Awaitable[object]], *, failed: str, woken: asyncio.Event | None = None
) -> None:
    """Do ``work``, wait ``seconds`` or until ``woken``, and begin anew, until cancelled.

    ``failed`` is what the log says where it fails. That is no reason to stop: not even a fault that nobody foresaw.
    """
    woken = woken or asyncio.Event()
    while True:
        try:
            await work()
        except GatewayError as exc:
            log_failure(logger, failed, exc)
        except Exception:
            logger.exception(failed)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await woken.wait()
        woken.clear()
