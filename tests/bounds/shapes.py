"""Large and hostile shapes of JSON, each of about as many bytes as are asked for."""

import json
from collections.abc import Callable
from functools import cache

Shape = Callable[[int], bytes]


@cache
def many_members(size: int) -> bytes:
    return b"{" + b",".join(b'"m%d":0' % number for number in range(size // 12)) + b"}"


@cache
def many_duplicates(size: int) -> bytes:
    return b"{" + b",".join([b'"same":0'] * (size // 9)) + b"}"


@cache
def deep_arrays(size: int) -> bytes:
    return b"[" * (size // 2) + b"]" * (size // 2)


@cache
def deep_objects(size: int) -> bytes:
    return b'{"a":' * (size // 6) + b"0" + b"}" * (size // 6)


@cache
def long_name(size: int) -> bytes:
    return b'{"%b":0}' % (b"n" * size)


@cache
def long_text(size: int) -> bytes:
    return b'"%b"' % (b"t" * size)


@cache
def many_escapes(size: int) -> bytes:
    return b'"%b"' % (b"\\ud800" * (size // 6))


@cache
def many_empty_texts(size: int) -> bytes:
    return b"[" + b",".join([b'""'] * (size // 3)) + b"]"


@cache
def many_empty_objects(size: int) -> bytes:
    return b"[" + b",".join([b"{}"] * (size // 3)) + b"]"


@cache
def many_small_objects(size: int) -> bytes:
    return b"[" + b",".join([b'{"a":{}}'] * (size // 9)) + b"]"


@cache
def many_flawed_rules(size: int) -> bytes:
    return b"[" + b",".join([b'{"kind":"?","action":"?"}'] * (size // 26)) + b"]"


SHAPES: tuple[Shape, ...] = (
    many_members,
    many_duplicates,
    deep_arrays,
    deep_objects,
    long_name,
    long_text,
    many_escapes,
    many_empty_texts,
    many_empty_objects,
    many_small_objects,
    many_flawed_rules,
)


def within(members: dict[str, object], name: str, value: bytes) -> bytes:
    """The object ``members`` with one more, which is JSON or what is to pass for it."""
    rest = {key: one for key, one in members.items() if key != name}
    pairs = [b"%b:%b" % (json.dumps(key).encode(), json.dumps(one).encode()) for key, one in rest.items()]
    return b"{" + b",".join([*pairs, b"%b:%b" % (json.dumps(name).encode(), value)]) + b"}"
