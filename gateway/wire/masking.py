"""Secrets masked in what agents say: in JSON, in texts, and in texts that arrive in pieces.

A secret is found literally and in JSON's spellings of it, but not in an agent's own encoding, such as base64. It is
replaced by `***`: a secret that is a common word or a number may garble texts, but never changes a member's name, a
number, or a document's structure.

The cost depends on foreign text, so all work is done in bounded steps (``wire.steps``).
"""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from gateway.wire.bounded import Bounded
from gateway.wire.codec import DecodeError, dump_foreign_json, parse_foreign_json
from gateway.wire.cutting import CUT
from gateway.wire.escapes import ESCAPES, ESCAPES_ANYWHERE, Place, respelling, usual_spelling
from gateway.wire.steps import Steps, at_once
from gateway.wire.strings import changing_texts, putting_text

MASK = "***"
#: Shorter values occur in any text; masking them would garble it and protect nothing.
SHORTEST_SECRET = 6
#: Shorter strings in a credential that is JSON are its names and kinds, not its tokens.
_SHORTEST_INNER_SECRET = 16
#: Shorter values, and those without digits, may be a member's name, and are not masked there.
_SHORTEST_IN_NAMES = 20
#: A text with more places to mask is masked completely.
_MOST_PLACES = 10_000
#: Iterations of a loop in one step; a search through a text longer than this is a step of its own.
_STEP_TURNS, _STEP_CHARACTERS = 500, 65_536
#: Characters of a secret that may be shown before it is recognized: many tokens begin alike.
_TOLD = 8
#: The place of a text piece in a `session/update`, and in the data of a `terminal_output`.
PIECE, OUTPUT = ("update", "content", "text"), ("text",)
#: Texts of a session that grow at a time, each in pieces: its chunks by kind, and its terminals.
_MOST_TEXTS = 100
#: Characters of a terminal's id that tell it from another.
_MOST_KIND = 200
_CHUNKS = ("agent_message_chunk", "agent_thought_chunk", "user_message_chunk")
_LIKE_A_CHUNK = b"_chunk"
#: Kinds of events that repeat the whole of a text that grows, and the mark of those whose texts were cut.
_GROWING = (b'"tool_call_update"', b'"message.part.updated"', b'"%b":true' % CUT.encode())


def secrets_in(value: str) -> frozenset[str]:
    """A credential's value and, if that is JSON such as a whole session, the longer strings in it."""
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


class _Texts:
    """Masks a set of secrets in texts, including texts that are JSON."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # Longest first: one secret may contain another.
        self.secrets = tuple(sorted(set(secrets), key=len, reverse=True))
        self.spelled = tuple(
            dict.fromkeys(spelled for secret in self.secrets for spelled in (secret, *_spellings(secret)))
        )
        self._usual = tuple(dict.fromkeys(map(usual_spelling, self.secrets)))
        self._unusual = re.compile(_unusual(self.secrets))

    def masking(self, text: str) -> Steps[str]:
        """The text without the secrets."""
        is_long = len(text) > _STEP_CHARACTERS
        masked = text
        for spelled in self.spelled:
            if spelled in masked:
                masked = masked.replace(spelled, MASK)
            if is_long:
                yield
        if self.secrets and self._unusual.search(masked):
            for escapes in (ESCAPES, ESCAPES_ANYWHERE):
                masked = yield from self._masking_unusual(masked, escapes)
        if masked != text:
            for secret in self.secrets:
                if secret in masked:
                    # What is left around the masks forms another secret.
                    return MASK
                if is_long:
                    yield
        return masked

    def masking_end(self, text: str) -> Steps[str]:
        """The text without the beginning of a secret at its end."""
        shown = len(text)
        for spelled in self.spelled:
            place = text.find(spelled[: _TOLD + 1], max(0, len(text) - len(spelled) + 1))
            while place != -1 and place + _TOLD < shown:
                if spelled.startswith(text[place:]):
                    shown = place + _TOLD
                place = text.find(spelled[: _TOLD + 1], place + 1)
                yield
        return text if shown == len(text) else text[:shown] + MASK

    def _masking_unusual(self, text: str, escapes: re.Pattern[str]) -> Steps[str]:
        usual = yield from respelling(text, escapes)
        if usual is None:
            return text
        places = yield from _finding_places(usual.text, self._usual)
        if places is None:
            return MASK
        hidden = [usual.origin(place) for place in places]
        return _without(text, 0, _merged(hidden), in_mask=False) if hidden else text


class Masker:
    """Masks a set of secrets. It costs a search for each, and nothing more if none is found."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._values = _Texts(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)
        self.secrets = self._values.secrets
        self._names = _Texts(filter(_is_no_name, self.secrets))
        self._needles = tuple(
            dict.fromkeys(
                needle.encode("utf-8", "surrogatepass")
                for spelled in self._values.spelled
                for needle in (spelled, *_spellings(spelled))
            )
        )
        self._unusual = re.compile(_unusual(self.secrets).encode())
        beginnings = {spelled[: _TOLD + 1] for spelled in self._values.spelled}
        self._beginnings = tuple(
            {needle.encode("utf-8", "surrogatepass") for begin in beginnings for needle in _spellings(begin)}
        )

    def __bool__(self) -> bool:
        return bool(self.secrets)

    def masking(self, raw: bytes) -> Steps[bytes]:
        """JSON without the secrets in its strings, otherwise unchanged; the same object if there are none.

        A secret that cannot be an ordinary name is masked in members' names, too.
        """
        if not (yield from self._looking(self._needles, raw)):
            return raw
        if not _is_json(raw):
            return (yield from self._masking_bytes(raw))
        return (yield from changing_texts(raw, self._values.masking, self._names.masking))

    def mask(self, raw: bytes) -> bytes:
        """Like ``masking``, at once."""
        return at_once(self.masking(raw))

    def mask_text(self, text: str) -> str:
        return at_once(self._values.masking(text))

    def masking_growing(self, raw: bytes) -> Steps[bytes]:
        """An event without the beginnings of secrets at the end of its growing texts, or of those that were cut."""
        if not any(kind in raw for kind in _GROWING) or not (yield from self._looking(self._beginnings, raw)):
            return raw
        return (yield from changing_texts(raw, self._values.masking_end, None)) if _is_json(raw) else raw

    def _looking(self, needles: Iterable[bytes], raw: bytes) -> Steps[bool]:
        """Whether any of these occurs."""
        is_long = len(raw) > _STEP_CHARACTERS
        for needle in needles:
            if needle in raw:
                return True
            if is_long:
                yield
        return bool(self.secrets) and b"\\" in raw and self._unusual.search(raw) is not None

    def _masking_bytes(self, raw: bytes) -> Steps[bytes]:
        """Invalid JSON is treated as one text."""
        masked = raw
        for needle in self._needles:
            masked = masked.replace(needle, MASK.encode())
            yield
        text = yield from self._values.masking(masked.decode("utf-8", "surrogateescape"))
        masked = text.encode("utf-8", "surrogateescape")
        return raw if masked == raw else masked

    def mask_value(self, value: Any) -> Any:
        """A JSON value without the secrets."""
        if not self.secrets:
            return value
        raw = dump_foreign_json(value)
        masked = self.mask(raw)
        return value if masked is raw else parse_foreign_json(masked)

    def begun(self, text: str) -> tuple[str, int, int]:
        """The secret that the longest end of this text begins: itself, the length of that end, and how much of it may
        be shown."""
        begun, longest, told = "", 0, 0
        for secret in self.secrets:
            found = _begun(text, secret, longest)
            if found > longest:
                begun, longest, told = secret, found, min(_TOLD, len(secret) // 2)
        return begun, longest, told


class RunningText:
    """Texts that arrive in pieces, by kind: a secret may be split over any number of them.

    No piece is held back, so up to eight characters of a secret may have been shown when it is recognized.
    """

    def __init__(self) -> None:
        #: Kind of chunk, or terminal → the end of the text so far: the secret that it begins, how much of it, and
        #: whether part of it is masked. No copy: secrets may be long, and an agent may begin one in very many texts.
        self._ends: Bounded[str, tuple[str, int, bool]] = Bounded(_MOST_TEXTS)

    def masking(self, kind: str, piece: str, masker: Masker) -> Steps[str]:
        """The next piece, masked."""
        secret, length, in_mask = self._ends.get(kind, ("", 0, False))
        whole = secret[:length] + piece
        hidden = yield from _finding_places(whole, masker.secrets)
        if hidden is None:
            hidden = [(0, len(whole))]
        secret, begun, may_tell = masker.begun(whole)
        if begun > may_tell:
            hidden.append((len(whole) - begun + may_tell, len(whole)))
        told = _without(whole, length, hidden, in_mask=in_mask)
        if begun:
            self._ends[kind] = (secret, begun, begun > may_tell)
        else:
            self._ends.pop(kind, None)
        return told

    def forget(self) -> None:
        """Another text begins."""
        self._ends.clear()

    def update(self, raw: bytes, masker: Masker) -> bytes:
        """An agent's `session/update` without the secrets, including those split over several updates."""
        return at_once(self.updating(raw, masker))

    def updating(self, raw: bytes, masker: Masker) -> Steps[bytes]:
        """Like ``update``, in steps."""
        # First: a mask in the middle of a secret that another one is part of would hide that it is one.
        told = (yield from self.telling(_parsed(raw), masker)) if masker and self.is_due(raw) else None
        if told is not None:
            raw = yield from putting_text(raw, PIECE, told)
        raw = yield from masker.masking(raw)
        return (yield from masker.masking_growing(raw))

    @staticmethod
    def is_due(raw: bytes) -> bool:
        """Whether an update may be a piece of a text."""
        return _LIKE_A_CHUNK in raw

    def telling(self, notification: Any, masker: Masker) -> Steps[str | None]:
        """The masked piece of text in a `session/update`; None if nothing changes, or it has none."""
        try:
            update = notification["update"]
            kind, content = update["sessionUpdate"], update["content"]
            text = content["text"]
        except (KeyError, TypeError, IndexError):
            return None
        if kind not in _CHUNKS or not isinstance(text, str):
            return None
        told = yield from self.masking(kind, text, masker)
        return None if told == text else told

    def telling_output(self, said: Any, masker: Masker) -> Steps[str | None]:
        """The same for the data of a `terminal_output`."""
        text = said.get("text") if isinstance(said, dict) else None
        if not isinstance(text, str):
            return None
        told = yield from self.masking(f"terminal {said.get('terminalId')}"[:_MOST_KIND], text, masker)
        return None if told == text else told


def _begun(text: str, secret: str, longest: int) -> int:
    """The length of the longest end of a text that begins a secret, if more than ``longest``; otherwise 0."""
    # An end is copied to be compared: not at each place of a common character.
    begin = secret[: _TOLD + 1]
    place = text.find(begin, max(0, len(text) - len(secret) + 1))
    while place != -1 and len(text) - place > longest:
        if secret.startswith(text[place:]):
            return len(text) - place
        place = text.find(begin, place + 1)
    for length in range(min(_TOLD, len(text), len(secret) - 1), longest, -1):
        if secret.startswith(text[-length:]):
            return length
    return 0


def _is_json(raw: bytes) -> bool:
    try:
        parse_foreign_json(raw)
    except DecodeError:
        return False
    return True


def _parsed(raw: bytes) -> Any:
    try:
        return parse_foreign_json(raw)
    except DecodeError:
        return None


def _finding_places(text: str, secrets: Iterable[str]) -> Steps[list[Place] | None]:
    """The places of all secrets; None if there are too many."""
    found: list[Place] = []
    is_long = len(text) > _STEP_CHARACTERS
    for secret in secrets:
        place = text.find(secret)
        while place != -1:
            found.append((place, place + len(secret)))
            if len(found) > _MOST_PLACES:
                return None
            if len(found) % _STEP_TURNS == 0:
                yield
            place = text.find(secret, place + 1)
        if is_long:
            yield
    return found


def _merged(places: Iterable[Place]) -> list[Place]:
    """Overlapping places as one."""
    merged: list[Place] = []
    for begin, end in sorted(places):
        if merged and begin < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _without(whole: str, begin: int, hidden: list[Place], *, in_mask: bool) -> str:
    """`whole` from `begin` on without the hidden places; `in_mask`: a mask precedes already."""
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


def _spellings(text: str) -> Iterable[str]:
    """How JSON writers spell it."""
    for ensure_ascii in (True, False):
        spelled = json.dumps(text, ensure_ascii=ensure_ascii)[1:-1]
        yield from (spelled, spelled.replace("/", "\\/"))


def _unusual(secrets: Iterable[str]) -> str:
    """A pattern for escapes that may spell a character of a secret differently from ``_spellings``.

    Control characters only if a secret has some: terminal output is full of them.
    """
    characters = {character for secret in secrets for character in secret}
    plain = all(" " <= character <= "~" for character in characters)
    return (r"\\u00[2-7]" if plain else r"\\u") + (r"|\\/" if "/" in characters else "")


def _is_no_name(secret: str) -> bool:
    """Whether it can only be a secret: too long for a word, with letters and digits."""
    has_both = any(map(str.isalpha, secret)) and any(map(str.isdigit, secret))
    return has_both and len(secret) >= _SHORTEST_IN_NAMES
