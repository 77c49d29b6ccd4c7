"""PostgreSQL's own text for arrays: one parameter for a whole column.

The driver writes a list as ``ARRAY[…]``, element by element, which took as long as all else that an append does.
Source: PostgreSQL, 8.15.6 "Array Input and Output Syntax", 8.4.1 "bytea Hex Format".
"""

from collections.abc import Iterable, Sequence
from datetime import datetime


def text_array(values: Iterable[str | None]) -> str:
    """For ``text[]``. Columns that repeat a few values are quick."""
    known: dict[str | None, str] = {None: "NULL"}
    quoted = []
    for value in values:
        text = known.get(value)
        if text is None:
            assert value is not None
            text = known[value] = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        quoted.append(text)
    return "{" + ",".join(quoted) + "}"


def integer_array(values: Iterable[int | None]) -> str:
    """For ``integer[]`` and ``bigint[]``."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def time_array(values: Iterable[datetime]) -> str:
    """For ``timestamptz[]``; times have their zone."""
    return "{" + ",".join([value.isoformat() for value in values]) + "}"


def bytea_array(values: Sequence[bytes]) -> str:
    """For ``bytea[]``."""
    # Each of them is copied but once: one may have megabytes.
    return '{"\\\\x' + '","\\\\x'.join(map(bytes.hex, values)) + '"}' if values else "{}"
