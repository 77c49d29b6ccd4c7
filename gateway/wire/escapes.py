"""A text's JSON escapes undone, with the way back to where each stood.

Writers of JSON may escape any character. So that one spelling finds them all, every character is given its usual one:
as it is, but for those that never stand so.
"""

import json
import re
from bisect import bisect_right

import attrs

from gateway.wire.steps import Steps

#: A step ends after so many escapes.
_STEP_ESCAPES = 500
_ESCAPED = r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|/"
#: Escapes as JSON has them: a backslash that is escaped begins none.
ESCAPES = re.compile(_ESCAPED + r"|\\)")
#: Whatever may be one: a text may begin in the midst of a JSON, and what stands before it is then no escape.
ESCAPES_ANYWHERE = re.compile(_ESCAPED + ")")

#: Begin and end.
Place = tuple[int, int]


@attrs.frozen(kw_only=True)
class Respelled:
    """A text with the usual spelling for every character that had another."""

    text: str = attrs.field(repr=False)
    #: Where such characters stand here, one after the other, and where they stood.
    _here: list[Place]
    _there: list[Place]

    def origin(self, place: Place) -> Place:
        """Where something stood, with the whole of each escape that it had a part of."""
        return self._origin(place[0], end=False), self._origin(place[1], end=True)

    def _origin(self, position: int, *, end: bool) -> int:
        # An end is behind a character, and belongs to that.
        index = bisect_right(self._here, position - end, key=lambda here: here[0]) - 1
        if index < 0:
            return position
        (_, here), (begin, there) = self._here[index], self._there[index]
        if position - end < here:
            return there if end else begin
        return there + position - here


def respelling(text: str, escapes: re.Pattern[str]) -> Steps[Respelled | None]:
    """The text in usual spelling; None: it is already."""
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
