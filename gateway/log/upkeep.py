"""The upkeep of all logs: what makes them smaller, and what a gateway that died left undone.

Each gateway does it for any project; whoever is first holds a row's lock, and the others leave that project alone.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.errors import GatewayError

logger = logging.getLogger(__name__)

REVIEW_SECONDS: Final = 2.0

Review = Callable[[], Awaitable[None]]


async def keep_up(reviews: Sequence[Review]) -> None:
    """Run each review every few seconds, until cancelled; one that fails is tried again the next time."""
    while True:
        for review in reviews:
            try:
                await review()
            except GatewayError as exc:
                logger.warning("logs not kept up", extra={"review": review.__qualname__, "error": str(exc)})
        await asyncio.sleep(REVIEW_SECONDS)
