"""The upkeep of all logs: what makes them smaller, and what a gateway that died left undone.

Each gateway does it for any project; whoever is first holds a row's lock, and the others leave that project alone.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway.db.availability import log_failure
from gateway.db.pool import Row
from gateway.errors import GatewayError

logger = logging.getLogger(__name__)


async def of_each(rows: Sequence[Row], work: Callable[[Row], Awaitable[object]]) -> None:
    """Do ``work`` for the project of each row; where it fails, the others have theirs all the same."""
    for row in rows:
        try:
            await work(row)
        except GatewayError as exc:
            log_failure(logger, "log not kept up", exc, project=row["project_id"])
        except Exception:  # a fault of ours
            logger.exception("log not kept up", extra={"project": row["project_id"]})
