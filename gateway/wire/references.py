"""Large values in a message, which readers get by reference: the outline of a message's body has little in their place.

Pure: bytes in, bytes out. A large text keeps its beginning in the outline; base64 leaves an empty string, a list or an
object an empty one. What was cut is listed in the outline's ``references``, which is ours alone: an agent's JSON stands
below other members. A text that may still grow is never cut, so that a reader can append to it.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Final

import attrs
import msgspec

from gateway.wire.census import Census
from gateway.wire.codec import MAX_FOREIGN_VALUES, DecodeError, dump_foreign_json, parse_foreign_json, raw_members
from gateway.wire.messages import MAX_TEXT

#: Bytes of JSON. A longer string is by reference, and so is a list or object that is longer without such strings.
LARGE_STRING, LARGE_VALUE = 65_536, 2_097_152
#: Bytes of a member that is not taken out of an object, however long that is.
_SMALL: Final = 1_024
#: Characters of a text that stay in its place.
BEGINNING: Final = 4_096
#: Levels that are looked through. Each costs a pass over what is in it.
_DEEPEST: Final = 12
#: A message's own text, which goes on in another message beyond this size, and a command's output.
_OWN_TEXT: Final = re.compile(r"(?:/filled/[0-9]+)?/content/[0-9]+/text|/terminal/output(?:End)?")
#: Members with base64, beside their ``mimeType``.
_BASE64: Final = ("data", "blob")
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,60}")
TEXT, JSON, BYTES = "text/plain", "application/json", "application/octet-stream"

_read_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@attrs.frozen(kw_only=True)
class Content:
    """A large value of a message: a text in UTF-8, decoded base64, or JSON."""

    #: Where it stands in the message: a JSON pointer (RFC 6901).
    path: str
    #: As the agent says it; not to be trusted.
    media_type: str
    data: bytes = attrs.field(repr=False)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()[:32]


def outlined(body: bytes) -> bytes:
    """A message's body as pages have it; the same bytes if nothing in it is large."""
    if len(body) <= LARGE_STRING:
        return body
    outline, contents = _cut(body)
    if not contents:
        return body
    references = [
        {"path": one.path, "mediaType": one.media_type, "size": len(one.data), "digest": one.digest} for one in contents
    ]
    return b'%b,"references":%b}' % (outline[:-1], dump_foreign_json(references))


def content_of(body: bytes, number: int) -> Content | None:
    """The value that the reference of this number, from 0, stands for."""
    contents = _cut(body)[1] if len(body) > LARGE_STRING else []
    return contents[number] if number < len(contents) else None


def _cut(body: bytes) -> tuple[bytes, list[Content]]:
    cutter = _Cutter(Census(body).has_more_than(MAX_FOREIGN_VALUES))
    try:
        members = _read_members(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        members = raw_members(body)
    return cutter.members(members, "", _DEEPEST) if members else body, cutter.contents


class _Cutter:
    """Takes large values out of JSON, from the inside to the outside. ``has_many``: values, as a whole."""

    def __init__(self, has_many: bool) -> None:
        self._has_many = has_many
        self.contents: list[Content] = []

    def cut(self, raw: bytes, path: str, levels: int, media_type: str | None) -> bytes:
        """``raw`` without what is large in it. ``media_type``: of base64, if it is that."""
        if len(raw) <= LARGE_STRING:
            return raw
        if raw.startswith(b'"'):
            return self._string(raw, path, media_type)
        before = len(self.contents)
        try:
            if raw.startswith(b"{"):
                found = self.members(self._members_of(raw, levels), path, levels)
            else:
                found = self._items(raw, path, levels)
        except (DecodeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = raw
        if len(found) <= LARGE_VALUE and found is not raw:
            return found
        del self.contents[before:]
        return self._whole(raw, path)

    def members(self, members: Mapping[str, msgspec.Raw], path: str, levels: int) -> bytes:
        """An object's members without what is large in them; the largest give way until the rest is of some size."""
        given = _media_type_in(members)
        found = {
            name: self.cut(bytes(value), _below(path, name), levels - 1, given if name in _BASE64 else None)
            for name, value in members.items()
        }
        size = sum(map(len, found.values()))
        for name in sorted(found, key=lambda name: len(found[name]), reverse=True):
            if size <= LARGE_VALUE or len(found[name]) <= _SMALL:
                break
            place, size = _below(path, name), size - len(found[name])
            self.contents = [one for one in self.contents if not f"{one.path}/".startswith(f"{place}/")]
            found[name] = self._whole(bytes(members[name]), place)
        return b"{%b}" % b",".join(b"%b:%b" % (dump_foreign_json(name), value) for name, value in found.items())

    def _items(self, raw: bytes, path: str, levels: int) -> bytes:
        if levels == 0 or self._has_many_in(raw):
            return raw
        items = enumerate(_read_items(raw))
        return b"[%b]" % b",".join(self.cut(bytes(one), f"{path}/{place}", levels - 1, None) for place, one in items)

    def _has_many_in(self, raw: bytes) -> bool:
        return self._has_many and Census(raw).has_more_than(MAX_FOREIGN_VALUES)

    def _members_of(self, raw: bytes, levels: int) -> Mapping[str, msgspec.Raw]:
        if levels == 0:
            raise DecodeError("too deep")
        # Each takes some hundred bytes of memory.
        if self._has_many_in(raw):
            known = sum(len(bytes(value)) for value in raw_members(raw).values())
            if len(raw) - known > LARGE_STRING:
                raise DecodeError("too many members")
        try:
            return _read_members(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return raw_members(raw)

    def _string(self, raw: bytes, path: str, media_type: str | None) -> bytes:
        if len(raw) <= MAX_TEXT and _OWN_TEXT.fullmatch(path):
            return raw
        text = parse_foreign_json(raw)
        data = None if media_type is None else _decoded(text)
        if data is not None and media_type is not None:
            self.contents.append(Content(path=path, media_type=media_type, data=data))
            return b'""'
        self.contents.append(Content(path=path, media_type=TEXT, data=text.encode("utf-8", "backslashreplace")))
        return dump_foreign_json(text[:BEGINNING])

    def _whole(self, raw: bytes, path: str) -> bytes:
        self.contents.append(Content(path=path, media_type=JSON, data=raw))
        return {b"{": b"{}", b"[": b"[]"}.get(raw[:1], b"null")


def _below(path: str, name: str) -> str:
    return f"{path}/{name.replace('~', '~0').replace('/', '~1')}"


def _media_type_in(members: Mapping[str, msgspec.Raw]) -> str | None:
    """The type of base64 beside it; None where no type is given."""
    raw = bytes(members.get("mimeType", b""))
    if not raw.startswith(b'"') or len(raw) > LARGE_STRING:
        return None
    given = parse_foreign_json(raw).partition(";")[0].strip().lower()
    return given if _MEDIA_TYPE.fullmatch(given) else BYTES


def _decoded(text: str) -> bytes | None:
    """The bytes of base64; None if it is not."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None
