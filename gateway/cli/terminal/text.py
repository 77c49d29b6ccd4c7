"""Values as text for people: what agents say is made harmless, and times are those of the clock on the wall."""

import json
import re
from typing import Any, Final

from gateway.wire.times import parse_timestamp

#: What agents say may hold anything; a terminal would obey it. Line ends and tabs stay.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
#: Of a text that stands for a longer one.
MOST_CHARACTERS: Final = 60


def clean(text: object) -> str:
    """Foreign text as it can be shown: nothing in it moves the cursor, changes a colour or turns the line round."""
    return _CONTROL.sub("", str(text).replace("\r\n", "\n"))


def escaped(json_text: str) -> str:
    """JSON with the same in it as escapes. Such characters stand in its strings alone, so that it says the same."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text)


def cell(value: Any) -> str:
    """Any value as a piece of one line."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(clean(text).split())


def local_time(value: Any) -> str:
    """A time of the API's in this machine's zone, to the second; what is none, as it is."""
    at = parse_timestamp(value)
    return cell(value) if at is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def shortened(text: Any) -> str:
    line = cell(text)
    return line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]}…"


def title_of(prompt: str) -> str | None:
    """The title of a session that a prompt begins: the first line that says something."""
    first = next(filter(str.strip, prompt.splitlines()), "")
    return shortened(first) if first else None
