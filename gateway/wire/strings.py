"""Strings of a JSON document replaced in place: every other byte stays.

Numbers, their spelling, names and their order belong to the writer. Parsing and writing again would lose numbers that
Python cannot represent (1e400, precision of floats) and repeated members.
"""

import re
from collections.abc import Callable, Sequence

from gateway.wire.codec import dump_foreign_json, parse_foreign_json
from gateway.wire.steps import Steps

#: A string, and the colon if it is a member's name. Matches are possessive: with a place to backtrack to for each
#: escape, a string full of them takes a hundred times its size in memory.
_TEXT = rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")([ \t\r\n]*+:)?'
_TEXTS = re.compile(_TEXT)
_TEXTS_AND_BOUNDS = re.compile(_TEXT + rb"|[{}\[\]]")

Change = Callable[[str], Steps[str]]
#: Strings in one step.
_STEP_TEXTS = 200


def changing_texts(raw: bytes, values: Change, names: Change | None) -> Steps[bytes]:
    """The document with each string replaced by ``values`` and each member's name by ``names``, if given.

    It must be JSON that ``parse_foreign_json`` reads. Returns the same object if nothing changes.
    """
    pieces: list[bytes] = []
    place = 0
    for number, found in enumerate(_TEXTS.finditer(raw)):
        if number % _STEP_TEXTS == 0:
            yield
        change = values if found[2] is None else names
        if change is None:
            continue
        text = parse_foreign_json(found[1])
        new = yield from change(text)
        if new != text:
            begin, end = found.span(1)
            pieces += (raw[place:begin], dump_foreign_json(new))
            place = end
    return b"".join([*pieces, raw[place:]]) if pieces else raw


def putting_text(raw: bytes, path: Sequence[str], text: str) -> Steps[bytes]:
    """The document with another string at this path, if it has one; the last of repeated members counts."""
    place = None
    depth = matched = 0  # how deep we are, and how many of the path's names lead here
    for number, found in enumerate(_TEXTS_AND_BOUNDS.finditer(raw)):
        if number % _STEP_TEXTS == 0:
            yield
        if found[0] in b"{[":
            depth += 1
        elif found[0] in b"}]":
            depth -= 1
        elif found[2] is not None:
            matched = min(matched, depth - 1)
            if depth == matched + 1 and matched < len(path) and parse_foreign_json(found[1]) == path[matched]:
                matched += 1
        elif depth == matched == len(path):
            place = found.span(1)
    return raw if place is None else raw[: place[0]] + dump_foreign_json(text) + raw[place[1] :]
