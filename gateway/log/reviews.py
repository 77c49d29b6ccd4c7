"""Upkeep of all logs: makes them smaller, and completes what a dead gateway has left.

Every gateway does it for every project; a row lock keeps two from doing the same.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway.db.availability import log_failure
from gateway.db.pool import Row
from gateway.errors import GatewayError

logger = logging.getLogger(__name__)


async def of_each(rows: Sequence[Row], work: Callable[[Row], Awaitable[object]]) -> None:
    """Do ``work`` for each row; a failure does not affect the other rows."""
    for row in rows:
        try:
            await work(row)
        except GatewayError as exc:
            log_failure(logger, "log not kept up", exc, project=row["project_id"])
        except Exception:  # a fault of ours
            logger.exception("log not kept up", extra={"project": row["project_id"]})
