"""Secret values taken out of what agents say: in JSON as it came, in texts, and in texts that come piece by piece.

A secret is found as it is and in the spellings that JSON has for it; not in an encoding of an agent's own, such as
base64. What is masked is `***`, in place.
"""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from gateway.wire.codec import DecodeError, dump_foreign_json, parse_foreign_json

MASK = "***"
#: Shorter values are words that stand in any text; hiding them would garble it and protect nothing.
SHORTEST_SECRET = 6
#: Shorter texts inside a credential that is JSON are its names and kinds, not its tokens.
_SHORTEST_INNER_SECRET = 16
#: So much of a secret's beginning may be told before it is recognised: many tokens begin alike.
_TOLD = 8
_CHUNKS = ("agent_message_chunk", "agent_thought_chunk", "user_message_chunk")
_LIKE_A_CHUNK = b"_chunk"
#: How the escapes of printable ASCII begin; not those of control characters, which terminals are full of.
_ESCAPES = re.compile(rb"\\u00[2-7]")


def secrets_in(value: str) -> frozenset[str]:
    """A credential's value and, where that is JSON such as a whole session, the longer texts in it."""
    texts = {value, value.strip()}
    if value.lstrip().startswith(("{", "[")):
        with suppress(DecodeError, UnicodeEncodeError):
            texts.update(filter(_is_inner_secret, _texts_in(parse_foreign_json(value.encode()))))
    return frozenset(text for text in texts if len(text) >= SHORTEST_SECRET)


def _is_inner_secret(text: str) -> bool:
    return len(text) >= _SHORTEST_INNER_SECRET and not text.startswith(("https://", "http://"))


def _texts_in(document: Any) -> Iterable[str]:
    below = [document]
    while below:
        match below.pop():
            case dict() as members:
                below.extend(members.values())
            case list() as items:
                below.extend(items)
            case str() as text:
                yield text


class Masker:
    """Masks one set of secrets. Costs one search for each of them, and nothing where there are none."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: one secret may hold another.
        self.secrets = tuple(sorted({one for one in secrets if len(one) >= SHORTEST_SECRET}, key=len, reverse=True))
        self._needles = tuple(dict.fromkeys(needle for secret in self.secrets for needle in _spellings(secret)))
        self._escaped: re.Pattern[bytes] | None = None

    def __bool__(self) -> bool:
        return bool(self.secrets)

    def mask(self, raw: bytes) -> bytes:
        """JSON without the secrets; the same object where there is none in it."""
        for needle in self._needles:
            if needle in raw:
                raw = raw.replace(needle, b"***")
        # Any character may be spelled so, and some writers do that with a few; only there it is worth a search.
        if self._needles and _ESCAPES.search(raw):
            raw = self._pattern().sub(b"***", raw)
        return raw

    def mask_text(self, text: str) -> str:
        for secret in self.secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        return text

    def mask_value(self, value: Any) -> Any:
        """A JSON value without the secrets."""
        if not self.secrets:
            return value
        raw = dump_foreign_json(value)
        masked = self.mask(raw)
        return value if masked is raw else parse_foreign_json(masked)

    def begun(self, text: str) -> tuple[int, int]:
        """How long the longest end of this text is that a secret begins with, and how much of that may be told."""
        longest, told = 0, 0
        for secret in self.secrets:
            place = text.find(secret[0], max(0, len(text) - len(secret) + 1))
            while place != -1 and len(text) - place > longest:
                if secret.startswith(text[place:]):
                    longest, told = len(text) - place, min(_TOLD, len(secret) // 2)
                    break
                place = text.find(secret[0], place + 1)
        return longest, told

    def _pattern(self) -> re.Pattern[bytes]:
        if self._escaped is None:
            self._escaped = re.compile(b"|".join(map(_any_spelling, self.secrets)))
        return self._escaped


class RunningText:
    """Texts that come in pieces, each kind for itself: a secret may be split over any number of them.

    No piece is held back, so up to eight characters of a secret's beginning may have been told when it shows.
    """

    def __init__(self) -> None:
        #: Kind → the end of what was said, as it was, and how much of that has been masked already.
        self._ends: dict[str, tuple[str, bool]] = {}

    def mask(self, kind: str, piece: str, masker: Masker) -> str:
        """The next piece, as it may be told."""
        end, in_mask = self._ends.get(kind, ("", False))
        whole = end + piece
        hidden = _places(whole, masker)
        begun, may_tell = masker.begun(whole)
        if begun > may_tell:
            hidden.append((len(whole) - begun + may_tell, len(whole)))
        told = _without(whole, len(end), hidden, in_mask=in_mask)
        if begun:
            self._ends[kind] = (whole[-begun:], begun > may_tell)
        else:
            self._ends.pop(kind, None)
        return told

    def forget(self) -> None:
        """Another text begins."""
        self._ends.clear()

    def update(self, raw: bytes, masker: Masker) -> bytes:
        """An agent's `session/update` without the secrets, also those that are split over several of them."""
        raw = masker.mask(raw)
        if not masker or not self.is_due(raw):
            return raw
        try:
            notification = parse_foreign_json(raw)
        except DecodeError:
            return raw
        return dump_foreign_json(notification) if self.change(notification, masker) else raw

    @staticmethod
    def is_due(raw: bytes) -> bool:
        """Whether an update may be a piece of a text."""
        return _LIKE_A_CHUNK in raw

    def change(self, notification: Any, masker: Masker) -> bool:
        """Mask the piece of a text that a `session/update` is, if it is one, in place; whether anything changed."""
        try:
            update = notification["update"]
            kind, content = update["sessionUpdate"], update["content"]
            text = content["text"]
        except (KeyError, TypeError, IndexError):
            return False
        if kind not in _CHUNKS or not isinstance(text, str):
            return False
        told = self.mask(kind, text, masker)
        content["text"] = told
        return told != text


def _places(text: str, masker: Masker) -> list[tuple[int, int]]:
    found = []
    for secret in masker.secrets:
        place = text.find(secret)
        while place != -1:
            found.append((place, place + len(secret)))
            place = text.find(secret, place + 1)
    return found


def _without(whole: str, begin: int, hidden: list[tuple[int, int]], *, in_mask: bool) -> str:
    """`whole` from `begin` on without the hidden places; `in_mask`: a mask stands just before it already."""
    parts: list[str] = []
    place = begin
    for start, end in sorted(hidden):
        if end <= place:
            continue
        parts.append(whole[place : max(place, start)])
        if not (in_mask and place == begin and start <= begin):
            parts.append(MASK)
        place = end
    parts.append(whole[place:])
    return "".join(parts)


def _spellings(secret: str) -> Iterable[bytes]:
    """How JSON writers spell a text, and one JSON in a text of another."""
    for ensure_ascii in (True, False):
        once = json.dumps(secret, ensure_ascii=ensure_ascii)[1:-1]
        twice = json.dumps(once, ensure_ascii=ensure_ascii)[1:-1]
        for spelled in (once, twice, once.replace("/", "\\/"), twice.replace("/", "\\\\\\/")):
            yield spelled.encode("utf-8", "surrogatepass")


def _any_spelling(secret: str) -> bytes:
    return b"".join(b"(?:%b)" % b"|".join(_spellings_of(char)) for char in secret)


def _spellings_of(char: str) -> Iterable[bytes]:
    as_it_is = re.escape(char.encode("utf-8", "surrogatepass"))
    # A quote or a backslash never stands as it is.
    yield re.escape(json.dumps(char)[1:-1].encode()) if char in '"\\' else as_it_is
    units = char.encode("utf-16-be", "surrogatepass").hex()
    yield b"".join(rb"\\u(?i:%b)" % units[place : place + 4].encode() for place in range(0, len(units), 4))
