"""The texts of a JSON document changed in place: every other byte of it stays as it came.

Numbers, their spelling, names and their order are the writer's own. Who reads a document and writes it again loses what
Python has no number for (1e400), what its floats cannot hold, and members that come twice.
"""

import re
from collections.abc import Callable, Sequence

from gateway.wire.codec import dump_foreign_json, parse_foreign_json

#: A text, and what follows it where it is a member's name.
_TEXT = rb'("[^"\\]*(?:\\.[^"\\]*)*")([ \t\r\n]*:)?'
_TEXTS = re.compile(_TEXT)
_TEXTS_AND_BOUNDS = re.compile(_TEXT + rb"|[{}\[\]]")

Change = Callable[[str], str]


def change_texts(raw: bytes, values: Change, names: Change) -> bytes:
    """The document with each text as ``values`` and each member's name as ``names`` has it.

    It must be one that ``parse_foreign_json`` reads. The same object where nothing changes.
    """

    def changed(found: re.Match[bytes]) -> bytes:
        text = parse_foreign_json(found[1])
        new = (values if found[2] is None else names)(text)
        return found[0] if new == text else dump_foreign_json(new) + (found[2] or b"")

    result = _TEXTS.sub(changed, raw)
    return raw if result == raw else result


def put_text(raw: bytes, path: Sequence[str], text: str) -> bytes:
    """The document with another text at a place below objects, where it has one; of several there, the last counts."""
    place = None
    depth = matched = 0  # how deep we are, and how many of the path's names lead here
    for found in _TEXTS_AND_BOUNDS.finditer(raw):
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
