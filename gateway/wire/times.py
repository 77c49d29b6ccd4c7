"""Times as text."""

from datetime import UTC, datetime
from typing import Any

#: Valid in every zone: nearer to the calendar's ends a change of zone would leave it.
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


def timestamp(at: datetime) -> str:
    """RFC 3339, UTC, milliseconds."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat("T", "milliseconds")[:-6] + "Z"


def parse_timestamp(text: Any) -> datetime | None:
    """An RFC 3339 time with its zone, from 1970 to 9998 (UTC); otherwise None."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo and _FIRST <= at < _LAST else None
