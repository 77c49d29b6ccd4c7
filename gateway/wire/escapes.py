"""JSON escapes in text undone, with a map back to the original places.

JSON may escape any character. To find all spellings, each character gets its usual one: unescaped, unless JSON requires
an escape.
"""

import json
import re
from bisect import bisect_right

import attrs

from gateway.wire.steps import Steps

#: Escapes in one step.
_STEP_ESCAPES = 500
_ESCAPED = r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|/"
#: JSON escapes; an escaped backslash does not begin one.
ESCAPES = re.compile(_ESCAPED + r"|\\)")
#: Anything that may be one: a text may begin inside a JSON string, so that what precedes is unknown.
ESCAPES_ANYWHERE = re.compile(_ESCAPED + ")")

#: Begin and end.
Place = tuple[int, int]


@attrs.frozen(kw_only=True)
class Respelled:
    """A text with the usual spelling of each character."""

    text: str = attrs.field(repr=False)
    #: Where such characters are here, in order, and where they were.
    _here: list[Place]
    _there: list[Place]

    def origin(self, place: Place) -> Place:
        """The original place, including the whole of each escape that it has a part of."""
        return self._origin(place[0], end=False), self._origin(place[1], end=True)

    def _origin(self, position: int, *, end: bool) -> int:
        # An end is after a character, and belongs to that.
        index = bisect_right(self._here, position - end, key=lambda here: here[0]) - 1
        if index < 0:
            return position
        (_, here), (begin, there) = self._here[index], self._there[index]
        if position - end < here:
            return there if end else begin
        return there + position - here


def respelling(text: str, escapes: re.Pattern[str]) -> Steps[Respelled | None]:
    """The text in usual spelling; None if it is already."""
    parts: list[str] = []
    here: list[Place] = []
    there: list[Place] = []
    place = length = 0
    for number, found in enumerate(escapes.finditer(text)):
        if number % _STEP_ESCAPES == 0:
            yield
        usual = _character(found)
        if usual == found[0]:
            continue
        begin, end = found.span()
        parts += (text[place:begin], usual)
        length += begin - place
        here.append((length, length + len(usual)))
        there.append((begin, end))
        place, length = end, length + len(usual)
    if not here:
        return None
    parts.append(text[place:])
    return Respelled(text="".join(parts), here=here, there=there)


def usual_spelling(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _character(found: re.Match[str]) -> str:
    high, low, alone = found[1], found[2], found[3]
    if high is not None:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    if alone is not None:
        return usual_spelling(chr(int(alone, 16)))
    return "/" if found[0] == r"\/" else found[0]
