"""Values as text for people: agents' text without control characters, and times in the local zone."""

import json
import re
from typing import Any, Final

from gateway.wire.times import parse_timestamp

#: Control characters, which a terminal would obey, except line ends and tabs.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
#: Of a shortened text.
MOST_CHARACTERS: Final = 60


def clean(text: object) -> str:
    """Foreign text without what moves the cursor, changes colours or reverses lines."""
    return _CONTROL.sub("", str(text).replace("\r\n", "\n"))


def escaped(json_text: str) -> str:
    """JSON with these characters escaped; they can only be in its strings, so it means the same."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text)


def cell(value: Any) -> str:
    """Any value on one line."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(clean(text).split())


def local_time(value: Any) -> str:
    """A time of the API in the local zone, to the second; anything else unchanged."""
    at = parse_timestamp(value)
    return cell(value) if at is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def shortened(text: Any) -> str:
    line = cell(text)
    return line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]}…"


def title_of(prompt: str) -> str | None:
    """The title of a new session: the prompt's first line that is not empty."""
    first = next(filter(str.strip, prompt.splitlines()), "")
    return shortened(first) if first else None
