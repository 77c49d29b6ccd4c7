"""Limits of a value beyond its type, as part of the type: ``Annotated[str, Meta(max_length=200)]``.

``Meta`` is msgspec's. The codec checks the limits, and the API description shows them.
"""

import re
from typing import Any

from msgspec import Meta

#: Time for a request's body to arrive, at the gateway and at the agent host.
BODY_SECONDS = 120.0
#: Bytes of a page of a list, unless its first entry alone has more.
PAGE_BYTES = 4_194_304
#: In ``Meta.extra``: a pattern's meaning in words.
IN_WORDS = "in_words"


def matching(pattern: str, in_words: str, **more: Any) -> Meta:
    """Text that matches ``pattern`` completely; ``in_words`` ("must be …") explains it."""
    return Meta(pattern=f"^(?:{pattern})$", extra={IN_WORDS: in_words}, **more)


def flaw(value: Any, limit: Meta) -> str | None:
    """Why ``value`` exceeds the limit; None if it does not."""
    if limit.pattern is not None and not re.fullmatch(limit.pattern, value):
        return str((limit.extra or {})[IN_WORDS])
    if (limit.ge is not None and value < limit.ge) or (limit.le is not None and value > limit.le):
        return f"must be {limit.ge} or more" if limit.le is None else f"must be from {limit.ge} to {limit.le}"
    return flaw_of_length(value, limit)


def flaw_of_length(value: Any, limit: Meta) -> str | None:
    """Why ``value`` is too short or too long; None if it is neither."""
    low, high = limit.min_length or 0, limit.max_length
    if (not low and high is None) or low <= len(value) <= (len(value) if high is None else high):
        return None
    what = "characters" if isinstance(value, str) else "entries"
    if high is None:
        return "must not be empty" if low == 1 else f"must have at least {low} {what}"
    return f"must have {low} to {high} {what}" if low else f"must have at most {high} {what}"
