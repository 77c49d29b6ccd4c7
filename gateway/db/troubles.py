"""What is wrong with a database that answers: by reason, from the first refusal until none has come for a while.

    database refuses work            reason=disk_full  detail=its disk is full
    database works again             reason=disk_full  seconds=12.4

Callers are told with each refusal, and probes as long as a trouble lasts; the log has its beginning and its end.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from gateway.db.errors import Reason

logger = logging.getLogger(__name__)

#: Much longer than the pauses between attempts to store something, and between renewals of a gateway's presence.
LASTS_SECONDS: Final = 10.0


@attrs.define
class _Trouble:
    since: float
    last: float
    clause: str


class Troubles:
    """Of one database."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: dict[str, _Trouble] = {}

    def saw(self, reason: Reason) -> None:
        """It was the reason of a refusal just now."""
        now = self._clock()
        if (trouble := self._found.get(reason.word)) is not None:
            trouble.last = now
            return
        self._found[reason.word] = _Trouble(now, now, reason.clause)
        logger.warning("database refuses work", extra={"reason": reason.word, "detail": reason.clause})

    def clear(self, *reasons: Reason) -> None:
        """It is known that these have ended."""
        for reason in reasons:
            self._end(reason.word)

    def lasting(self) -> Mapping[str, str]:
        """A clause for people, by the reason's word."""
        now = self._clock()
        for word in [word for word, trouble in self._found.items() if now - trouble.last > LASTS_SECONDS]:
            self._end(word)
        return {word: trouble.clause for word, trouble in self._found.items()}

    def _end(self, word: str) -> None:
        if (trouble := self._found.pop(word, None)) is not None:
            seconds = round(trouble.last - trouble.since, 1)
            # A warning as well, for those who log nothing less.
            logger.warning("database works again", extra={"reason": word, "seconds": seconds})
