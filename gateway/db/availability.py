"""Whether the database can be used: told to the log when that changes, not each time that somebody finds it out.

    database cannot be used          reason=Connection refused
    database can be used again       seconds=12.4

Whoever waits for the database says nothing of it by itself: see ``log_failure``.
"""

import logging
import time
from collections.abc import Callable
from typing import Final

from gateway.db.errors import LostRace, QueryTimeout
from gateway.errors import DatabaseUnavailable

logger = logging.getLogger(__name__)

#: It is back once it has worked for so long: where connections are short, some succeed while others fail.
SOUND_SECONDS: Final = 1.0


class Availability:
    """What is known of one database."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._away_since: float | None = None
        self._sound_since: float | None = None

    def failed(self, reason: str) -> None:
        """It could not be used just now."""
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
            # As much a warning as the other: who keeps nothing less would not learn that it is over.
            away = round(self._sound_since - self._away_since, 1)
            logger.warning("database can be used again", extra={"seconds": away})
            self._away_since = self._sound_since = None


def is_away(exc: BaseException) -> bool:
    """Whether this says of the database as a whole that it cannot be used, which is told already."""
    return isinstance(exc, DatabaseUnavailable) and not isinstance(exc, QueryTimeout | LostRace)


def log_failure(
    logger: logging.Logger, message: str, exc: Exception, *, level: int = logging.WARNING, **extra: object
) -> None:
    """Tell of something that failed and is tried again; for want of the database it is no news."""
    logger.log(logging.DEBUG if is_away(exc) else level, message, extra={**extra, "error": str(exc)})
