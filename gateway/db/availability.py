"""Whether the database is available; only changes are logged.

    database cannot be used          reason=Connection refused
    database can be used again       seconds=12.4

Callers that wait for the database log nothing themselves: see ``log_failure``.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from gateway.db.errors import LostRace, QueryTimeout
from gateway.errors import DatabaseUnavailable

logger = logging.getLogger(__name__)

#: It counts as available after this time without failures, since with few connections some may succeed while others
#: fail.
SOUND_SECONDS: Final = 1.0


class Availability:
    """The state of one database."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._away_since: float | None = None
        self._sound_since: float | None = None

    def failed(self, reason: str) -> None:
        self._sound_since = None
        if self._away_since is None:
            self._away_since = self._clock()
            logger.warning("database cannot be used", extra={"reason": reason})

    def worked(self) -> None:
        if self._away_since is None:
            return
        now = self._clock()
        if self._sound_since is None:
            self._sound_since = now
        if now - self._sound_since >= SOUND_SECONDS:
            # A warning as well, for those who log nothing less.
            away = round(self._sound_since - self._away_since, 1)
            logger.warning("database can be used again", extra={"seconds": away})
            self._away_since = self._sound_since = None


def is_away(exc: BaseException) -> bool:
    """Whether this means that the whole database is unavailable, which is logged elsewhere."""
    return isinstance(exc, DatabaseUnavailable) and not isinstance(exc, QueryTimeout | LostRace)


def log_failure(
    logger: logging.Logger, message: str, exc: Exception, *, level: int = logging.WARNING, **extra: object
) -> None:
    """Log a failure that is retried, unless the database is unavailable."""
    logger.log(logging.DEBUG if is_away(exc) else level, message, extra={**extra, "error": str(exc)})
