"""What comes in: bodies, query parameters and preferences, each checked with its place."""

import re
from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import hdrs, web

from gateway.db.errors import UnstorableText
from gateway.errors import InvalidBody, InvalidParameter, NotFound, UnsupportedMediaType
from gateway.wire.codec import DecodeError, decode

T = TypeVar("T")

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)


async def read_body(request: web.Request, cls: type[T]) -> T:
    """The JSON body as a value of ``cls``; no body at all is an empty object."""
    raw = await request.read()
    if not raw:
        raw = b"{}"
    elif request.content_type != "application/json":
        raise UnsupportedMediaType(
            f"The body must be JSON with Content-Type: application/json, not {request.content_type}."
        )
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise UnsupportedMediaType("The body must not be compressed.")
    try:
        return decode(cls, raw)
    except DecodeError as exc:
        raise InvalidBody(str(exc)) from exc


def limit(request: web.Request) -> int:
    """``?limit=``: how many entries a page holds, 1 to 200."""
    return number(request, "limit", low=1, high=MAX_LIMIT) or DEFAULT_LIMIT


async def known_place(entry: Awaitable[object]) -> None:
    """``?after=``: the entry after which a page begins must exist, or the page would be empty without a word."""
    try:
        await entry
    except (NotFound, UnstorableText) as exc:
        raise InvalidParameter("?after= must be the `next` of a page, or an id that still exists.") from exc


def number(request: web.Request, name: str, *, low: int, high: int) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 19 or not low <= int(text) <= high:
        raise InvalidParameter(f"?{name}= must be a whole number from {low} to {high}, not {text[:40]!r}.")
    return int(text)


def flag(request: web.Request, name: str) -> bool:
    """``?name``, ``?name=true`` or ``?name=false``."""
    return choice(request, name, {"": True, "true": True, "false": False}, default=False)


def choice(request: web.Request, name: str, values: dict[str, T], *, default: T) -> T:
    text = request.query.get(name)
    if text is None:
        return default
    if text not in values:
        known = ", ".join(word or "nothing" for word in values)
        raise InvalidParameter(f"?{name}= must be one of: {known}; not {text[:40]!r}.")
    return values[text]


def seconds_to_wait(request: web.Request) -> int | None:
    """``Prefer: wait=N`` (RFC 7240 4.3); what else a client prefers is not an error."""
    match = _WAIT.search(",".join(request.headers.getall("Prefer", ())))
    return int(match[1]) if match else None
