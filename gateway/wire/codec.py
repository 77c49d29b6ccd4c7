"""JSON to attrs values and back, strictly: camelCase outside, snake_case inside.

``"5"`` is not a number, an unknown member is an error, and an error names the place: ``$.mcpServers[0].name: …``.
"""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import lru_cache
from math import isfinite
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
import msgspec

from gateway.wire.census import Census
from gateway.wire.limits import flaw, flaw_of_length
from gateway.wire.times import timestamp

T = TypeVar("T")

#: Nesting of lists and objects. Real messages have about ten levels. Python's own limit depends on the caller's stack
#: depth, so what was read here could not always be written elsewhere.
MAX_DEPTH = 128
#: Values in one document from a client. Real ones have some hundred.
MAX_VALUES = 10_000
#: Documents of containers and agents with more values than this are read for known members only.
MAX_FOREIGN_VALUES = 20_000
#: Flaws of a document that an error describes; more are counted.
MAX_FLAWS = 5
#: Characters of a name or string that an error repeats.
MAX_SHOWN = 100


class DecodeError(ValueError):
    """Invalid input; ``str()`` says where, and what is expected."""


def to_camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def parse_json(raw: bytes) -> Any:
    """JSON of any kind; ``DecodeError`` if it is invalid, has more than ``MAX_VALUES`` values, or is nested more than
    ``MAX_DEPTH`` deep."""
    census = Census(raw)
    if census.has_more_than(MAX_VALUES):
        raise DecodeError(f"$: too much in it (at most {MAX_VALUES} values)")
    try:
        value = msgspec.json.decode(raw)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise DecodeError(f"not valid JSON: {exc}") from exc
    if census.is_deeper_than(MAX_DEPTH):
        raise _too_deep()
    return value


def is_too_deep(raw: bytes) -> bool:
    """Whether JSON is nested more than ``MAX_DEPTH`` deep."""
    return Census(raw).is_deeper_than(MAX_DEPTH)


def refuse_twice(value: Any, raw: bytes) -> None:
    """``DecodeError`` if an object in ``raw``, parsed as ``value``, repeats a name: one value would be lost."""
    if Census(raw).members > sum(len(one) for one in _all(value) if isinstance(one, dict)):
        json.loads(raw, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise DecodeError(f"$: the member {name[:MAX_SHOWN]!r} comes more than once")
        seen.add(name)


def _all(value: Any) -> Iterator[Any]:
    """The value, and all values in it."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        yield one
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _too_deep() -> DecodeError:
    return DecodeError(f"$: nested too deeply (at most {MAX_DEPTH} lists and objects in one another)")


def parse_foreign_json(raw: bytes | msgspec.Raw) -> Any:
    """JSON of a container or agent, which may contain lone surrogates (``"\ud800"``) that strict parsers refuse."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            return json.loads(bytes(raw), parse_constant=_no_number, parse_float=_finite)
        except (ValueError, RecursionError) as exc:
            raise DecodeError(f"not valid JSON: {exc}") from exc


def members_of(raw: bytes | msgspec.Raw) -> dict[str, bytes]:
    """The members of a container's or agent's object, unparsed; none if it is not an object.

    With more than ``MAX_FOREIGN_VALUES`` values, only members that the protocols know; none if it also contains what
    strict parsers refuse.
    """
    return {name: bytes(value) for name, value in raw_members(raw).items()}


def raw_members(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """Like ``members_of`` without copies: each member keeps all of ``raw`` in memory."""
    document = bytes(raw)
    if not document.lstrip(_JSON_SPACE).startswith(b"{"):
        return {}
    is_large = Census(document).has_more_than(MAX_FOREIGN_VALUES)
    try:
        return _read_known_members(raw) if is_large else _read_members(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = {} if is_large else parse_foreign_json(document)
        return {name: msgspec.Raw(dump_foreign_json(one)) for name, one in value.items()}


def _read_known_members(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    found = ((name, getattr(known, field)) for known in (_read_known(raw),) for field, name in _KNOWN.items())
    return {name: value for name, value in found if bytes(value)}


_JSON_SPACE = b" \t\r\n"
_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
#: The members of ACP, of the container contract and of messages that the gateway reads. Any number of others is skipped
#: while parsing.
_KNOWN_NAMES = (
    *("_meta", "acpSessionId", "agentId", "args", "command", "content", "cwd", "data", "description"),
    *("entries", "error", "event", "exitCode", "exitStatus", "filled", "from", "gap", "how", "id", "kind"),
    *("locations", "message", "messageId", "omitted", "omittedBytes", "options", "outcome", "output"),
    *("outputEnd", "owner", "permissionId", "prompt", "rawInput", "rawOutput", "reason", "requestId", "role"),
    *("sessionId", "sessionUpdate", "signal", "source", "status", "stopReason", "terminal", "terminalId"),
    *("text", "through", "title", "to", "toolCall", "toolCallId", "turnId", "type", "update"),
)
_KNOWN = {f"member_{number}": name for number, name in enumerate(_KNOWN_NAMES)}
_read_known = msgspec.json.Decoder(
    msgspec.defstruct(
        "KnownMembers",
        [(field, msgspec.Raw, msgspec.field(name=name, default=msgspec.Raw(b""))) for field, name in _KNOWN.items()],
    )
).decode


def _no_number(_: str) -> None:
    """NaN and Infinity are not JSON: null, as in msgspec."""


def _finite(text: str) -> float | None:
    number = float(text)
    return number if isfinite(number) else None


def dump_foreign_json(value: Any) -> bytes:
    """The counterpart: lone surrogates are written as the escapes that they came in."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), default=_parsed).encode()


def _parsed(value: Any) -> Any:
    """A value that is kept as its bytes."""
    if not isinstance(value, msgspec.Raw):
        raise TypeError(f"{type(value).__name__} is no JSON")
    return parse_foreign_json(value)


def storable(text: str) -> str:
    """Foreign text as PostgreSQL and UTF-8 can hold it: without NUL and lone surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def decode(cls: type[T], raw: bytes) -> T:
    """A JSON object as a value of ``cls``."""
    return from_builtins(cls, parse_json(raw))


def from_builtins(cls: type[T], value: Any, *, rename: Callable[[str], str] = to_camel) -> T:
    """Dicts and lists as a value of ``cls``, an attrs class; ``rename`` gives a field's name outside."""
    reading = _Reading(rename)
    read: T = reading.read(cls, value, "$")
    if reading.count:
        more = reading.count - len(reading.flaws)
        raise DecodeError("; ".join(reading.flaws) + (f"; and {more} more" if more else ""))
    return read


def snake_names(name: str) -> str:
    """For ``rename``: fields have the same names outside."""
    return name


def to_builtins(value: Any) -> Any:
    """attrs values as JSON has them: camelCase, without what is UNSET. Foreign values within stay as they are."""
    if attrs.has(type(value)):
        members = ((field.name, getattr(value, field.name)) for field in attrs.fields(type(value)))
        return {to_camel(name): to_builtins(member) for name, member in members if member is not msgspec.UNSET}
    match value:
        case datetime():
            return timestamp(value)
        case list() | tuple():
            return [to_builtins(one) for one in value] if _is_ours(*value[:1]) else value
        case dict():
            return {name: to_builtins(one) for name, one in value.items()} if _is_ours(*value.values()) else value
    return value


def _is_ours(*values: Any) -> bool:
    """Whether these are attrs values. Values of agents are JSON already, and may be long."""
    return bool(values) and attrs.has(type(values[0]))


def dump_json(value: Any) -> bytes:
    """Compact JSON; attrs values become objects."""
    return msgspec.json.encode(to_builtins(value))


_PRIMITIVES = {str: "a string", int: "a whole number", bool: "true or false", float: "a number"}
_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}


class _Reading:
    """One document while it is read. Flaws are collected with their places, so that they are reported together."""

    def __init__(self, rename: Callable[[str], str]) -> None:
        self._rename = rename
        self.flaws: list[str] = []
        self.count = 0

    def read(self, kind: Any, value: Any, place: str) -> Any:
        """``value`` as ``kind`` requires; after a flaw the result is not used."""
        if kind is Any:
            return value
        if kind in _PRIMITIVES:
            is_right = type(value) is kind or (kind is float and type(value) is int)
            return kind(value) if is_right else self._wrong(place, _PRIMITIVES[kind], value)
        if attrs.has(kind):
            return self._object(kind, value, place)
        origin, parts = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self._limited(parts, value, place)
        if origin in (Union, UnionType):
            return None if value is None else self.read(parts[0], value, place)
        if origin is Literal:
            if type(value) is not str:
                return self._wrong(place, "a string", value)
            return value if value in parts else self._flaw(place, f"must be one of {', '.join(parts)}")
        if origin in (list, tuple):
            if type(value) is not list:
                return self._wrong(place, "a list", value)
            return origin(self.read(parts[0], one, f"{place}[{index}]") for index, one in enumerate(value))
        if origin is dict:
            if type(value) is not dict:
                return self._wrong(place, "an object", value)
            return {name: self.read(parts[1], one, f"{place}[{_shown(name)}]") for name, one in value.items()}
        raise TypeError(f"{kind!r} cannot be read; teach gateway/wire/codec.py its kind")

    def _object(self, cls: type, value: Any, place: str) -> Any:
        if type(value) is not dict:
            return self._wrong(place, "an object", value)
        before, fields = self.count, _fields(cls)
        members: dict[str, Any] = {}
        names = {self._rename(name): name for name in fields}
        for outside, name in names.items():
            kind, field = fields[name]
            if outside in value:
                members[field.alias or name] = self.read(kind, value[outside], f"{place}.{outside}")
            elif field.default is attrs.NOTHING:
                self._flaw(f"{place}.{outside}", "missing")
        for unknown in sorted(value.keys() - names.keys()):
            self._flaw(f"{place}.{_shown(unknown)}", f"unknown (known here: {', '.join(names)})")
        if self.count != before:
            return None
        try:
            return cls(**members)
        except (TypeError, ValueError) as exc:
            return self._flaw(place, str(exc))

    def _limited(self, parts: tuple[Any, ...], value: Any, place: str) -> Any:
        kind, *rest = parts
        limits, before = [limit for limit in rest if isinstance(limit, msgspec.Meta)], self.count
        if isinstance(value, list | dict):
            # Before the entries are checked one by one.
            reasons = [flaw_of_length(value, limit) for limit in limits]
            read = None if any(reasons) else self.read(kind, value, place)
        else:
            read = self.read(kind, value, place)
            reasons = [flaw(read, limit) for limit in limits] if self.count == before else []
        return self._flaw(place, reason) if (reason := next(filter(None, reasons), None)) else read

    def _wrong(self, place: str, wanted: str, value: Any) -> None:
        self._flaw(place, f"must be {wanted}, not {_KINDS.get(type(value), 'a number')}")

    def _flaw(self, place: str, reason: str) -> None:
        self.count += 1
        if len(self.flaws) < MAX_FLAWS:
            self.flaws.append(f"{place}: {_shown(reason, 1000)}")


@lru_cache
def _fields(cls: Any) -> "dict[str, tuple[Any, attrs.Attribute[Any]]]":
    """The fields of an attrs class with their types."""
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: (hints[field.name], field) for field in attrs.fields(cls)}


def _shown(text: str, most: int = MAX_SHOWN) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
