"""JSON to attrs values and back, strictly: camelCase outside, snake_case inside, nothing guessed.

``"5"`` is not a number, an unknown member is an error, and an error names the place: ``$.mcpServers[0].name: …``.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from math import isfinite
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import attrs
import cattrs
import msgspec
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from gateway.wire.census import Census
from gateway.wire.limits import flaw, flaw_of_length

T = TypeVar("T")

#: Lists and objects in one another. Real messages have some ten; Python gives up at a depth that changes with the
#: caller's own, so what is read here could not be written there.
MAX_DEPTH = 128
#: Values in one document of a client's. Real ones have some hundred.
MAX_VALUES = 10_000
#: Values in what a container or agent says, up to which each member of it is looked at.
MAX_FOREIGN_VALUES = 20_000
#: So many flaws of a document are named; the others are counted.
MAX_FLAWS = 5
#: Characters of a name or a text that an error repeats.
MAX_SHOWN = 100


class DecodeError(ValueError):
    """What came in does not fit; ``str()`` says where and what would."""


def to_camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _same(name: str) -> str:
    return name


def parse_json(raw: bytes) -> Any:
    """JSON of any kind; ``DecodeError`` where it is none, has more than ``MAX_VALUES`` values, or is nested more
    than ``MAX_DEPTH`` deep."""
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
    """``DecodeError`` where a member of ``raw``, which was read as ``value``, comes twice: one of them is lost in it
    without a word."""
    if Census(raw).members > sum(len(one) for one in _all(value) if isinstance(one, dict)):
        json.loads(raw, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise DecodeError(f"$: the member {name[:MAX_SHOWN]!r} comes more than once")
        seen.add(name)


def _all(value: Any) -> Iterator[Any]:
    """The value, and all that are in it."""
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
    """JSON of a container or agent, which may hold lone surrogates (``"\\ud800"``) that strict readers refuse."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            return json.loads(bytes(raw), parse_constant=_no_number, parse_float=_finite)
        except (ValueError, RecursionError) as exc:
            raise DecodeError(f"not valid JSON: {exc}") from exc


def members_of(raw: bytes | msgspec.Raw) -> dict[str, bytes]:
    """The members of an object of a container's or agent's, each as it came; none where it is no object.

    Of one with more than ``MAX_FOREIGN_VALUES`` in it these are the members that the protocols know, and none where it
    also has what strict readers refuse.
    """
    return {name: bytes(value) for name, value in raw_members(raw).items()}


def raw_members(raw: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """The same without a copy of each: what ``raw`` is a part of stays in memory for as long as one of them does."""
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
#: What ACP and the container's contract call what the gateway reads. A flood of other members is passed over as it is
#: read, with nothing made of it.
_KNOWN_NAMES = (
    *("_meta", "acpSessionId", "agentId", "content", "description", "entries", "error", "from", "how"),
    *("id", "kind", "locations", "message", "messageId", "options", "outcome", "owner", "permissionId"),
    *("prompt", "rawInput", "rawOutput", "reason", "requestId", "sessionId", "sessionUpdate", "status"),
    *("stopReason", "text", "title", "to", "toolCall", "toolCallId", "turnId", "type", "update"),
)
_KNOWN = {f"member_{number}": name for number, name in enumerate(_KNOWN_NAMES)}
_read_known = msgspec.json.Decoder(
    msgspec.defstruct(
        "KnownMembers",
        [(field, msgspec.Raw, msgspec.field(name=name, default=msgspec.Raw(b""))) for field, name in _KNOWN.items()],
    )
).decode


def _no_number(_: str) -> None:
    """NaN and Infinity are no JSON, whatever wrote them: null, as what msgspec makes of them."""


def _finite(text: str) -> float | None:
    number = float(text)
    return number if isfinite(number) else None


def dump_foreign_json(value: Any) -> bytes:
    """The counterpart: lone surrogates leave as the escapes that they came in."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), default=_parsed).encode()


def _parsed(value: Any) -> Any:
    """A value that is kept as the bytes that it came in."""
    if not isinstance(value, msgspec.Raw):
        raise TypeError(f"{type(value).__name__} is no JSON")
    return parse_foreign_json(value)


def storable(text: str) -> str:
    """Foreign text as PostgreSQL can hold it and UTF-8 can carry it: no NUL, no half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def decode(cls: type[T], raw: bytes) -> T:
    """A JSON object as a value of ``cls``."""
    return from_builtins(cls, parse_json(raw))


def from_builtins(cls: type[T], value: Any, *, rename: Callable[[str], str] = to_camel) -> T:
    """Dicts and lists as a value of ``cls``; ``rename`` gives a field's name outside."""
    try:
        return _converter(rename).structure(value, cls)
    except (cattrs.BaseValidationError, cattrs.StructureHandlerNotFoundError, TypeError, ValueError) as exc:
        raise DecodeError(_told(_explain(exc, "$", rename))) from exc


def to_builtins(value: Any) -> Any:
    """An attrs value as dicts and lists, ready for JSON."""
    return _converter(to_camel).unstructure(value)


def dump_json(value: Any) -> bytes:
    """Compact JSON; attrs values become objects."""
    return msgspec.json.encode(to_builtins(value))


@lru_cache
def _converter(rename: Callable[[str], str]) -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)

    def names(cls: type) -> dict[str, Any]:
        return {field.name: override(rename=rename(field.name)) for field in attrs.fields(cls)}

    converter.register_structure_hook_factory(
        attrs.has,
        lambda cls: _only_objects(make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **names(cls))),
    )
    converter.register_unstructure_hook_factory(
        attrs.has, lambda cls: make_dict_unstructure_fn(cls, converter, **names(cls))
    )
    for primitive, article in ((str, "a string"), (int, "a whole number"), (bool, "true or false")):
        converter.register_structure_hook(primitive, _exactly(primitive, article))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook_func(_is_limited, _limited_hook(converter))
    converter.register_structure_hook_func(_is_one_of, _one_of)
    converter.register_structure_hook_func(_is_list, _list_hook(converter))
    converter.register_structure_hook_func(_is_mapping, _mapping_hook(converter))
    return converter


def _exactly(kind: type, article: str) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"must be {article}, not {_kind(value)}")
        return value

    return hook


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"must be a number, not {_kind(value)}")
    return float(value)


def _is_limited(cls: Any) -> bool:
    return get_origin(cls) is Annotated


def _limited_hook(converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    def hook(value: Any, cls: Any) -> Any:
        kind, *limits = get_args(cls)
        metas = [limit for limit in limits if isinstance(limit, msgspec.Meta)]
        if isinstance(value, list | dict):
            # Before its entries are looked at one by one.
            _refuse(flaw_of_length(value, limit) for limit in metas)
        structured = converter.structure(value, kind)
        _refuse(flaw(structured, limit) for limit in metas)
        return structured

    return hook


def _refuse(reasons: Iterable[str | None]) -> None:
    reason = next(filter(None, reasons), None)
    if reason is not None:
        raise ValueError(reason)


def _is_one_of(cls: Any) -> bool:
    return get_origin(cls) is Literal


def _one_of(value: Any, cls: Any) -> Any:
    words = get_args(cls)
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {_kind(value)}")
    if value not in words:
        raise ValueError(f"must be one of {', '.join(words)}")
    return value


def _is_list(cls: Any) -> bool:
    return getattr(cls, "__origin__", None) in (list, tuple)


def _list_hook(converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    def hook(value: Any, cls: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError(f"must be a list, not {_kind(value)}")
        item = get_args(cls)[0]
        out, errors = [], []
        for index, element in enumerate(value):
            try:
                out.append(converter.structure(element, item))
            except Exception as exc:
                exc.add_note(IterableValidationNote(f"item {index}", index, item))
                errors.append(exc)
        if errors:
            raise cattrs.IterableValidationError("list", errors, cls)
        return cls.__origin__(out)

    return hook


def _is_mapping(cls: Any) -> bool:
    return getattr(cls, "__origin__", None) is dict


def _mapping_hook(converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    def hook(value: Any, cls: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"must be an object, not {_kind(value)}")
        item = get_args(cls)[1]
        out, errors = {}, []
        for key, element in value.items():
            try:
                out[key] = converter.structure(element, item)
            except Exception as exc:
                exc.add_note(IterableValidationNote(f"key {key}", key, item))
                errors.append(exc)
        if errors:
            raise cattrs.IterableValidationError("object", errors, cls)
        return out

    return hook


def _only_objects(structure: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def hook(value: Any, cls: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"must be an object, not {_kind(value)}")
        return structure(value, cls)

    return hook


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _told(flaws: Iterator[str]) -> str:
    """The first of them, and how many more there are."""
    first = "; ".join(islice(flaws, MAX_FLAWS))
    more = sum(1 for _ in flaws)
    return f"{first}; and {more} more" if more else first


def _explain(exc: BaseException, place: str, rename: Callable[[str], str]) -> Iterator[str]:
    if isinstance(exc, ForbiddenExtraKeysError):
        known = ", ".join(rename(field.name) for field in attrs.fields(exc.cl))
        for key in sorted(map(str, exc.extra_fields)):
            yield f"{place}.{_shown(key)}: unknown (known here: {known})"
    elif isinstance(exc, BaseValidationError):
        for sub in exc.exceptions:
            yield from _explain(sub, place + _step(sub, rename), rename)
    elif isinstance(exc, KeyError):
        yield f"{place}: missing"
    else:
        yield f"{place}: {_shown(str(exc), 1000)}"


def _shown(text: str, most: int = MAX_SHOWN) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _step(exc: BaseException, rename: Callable[[str], str]) -> str:
    for note in getattr(exc, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return "." + rename(note.name)
        if isinstance(note, IterableValidationNote):
            return f"[{_shown(str(note.index))}]"
    return ""


snake_names = _same
