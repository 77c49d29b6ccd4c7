"""Reads and checks bodies, query parameters and preferences."""

import asyncio
import re
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeVar, get_args, get_origin

import attrs
from aiohttp import hdrs, web
from msgspec import Meta

from gateway.container.client import ContainerRefused
from gateway.db.errors import UnstorableText
from gateway.errors import (
    AgentUnavailable,
    BodyTooLarge,
    ConflictInContainer,
    InvalidBody,
    InvalidParameter,
    NotFound,
    RefusedByContainer,
    RequestStalled,
    UnsupportedMediaType,
)
from gateway.proxy.expect import ask_for_body
from gateway.web.apidoc.endpoint import Parameter
from gateway.web.handlers.parameters import DEFAULT_LIMIT, LIMIT
from gateway.web.keys import BODY_PLACE, SETTINGS, USER
from gateway.wire.codec import MAX_SHOWN, DecodeError, from_builtins, parse_json, refuse_twice
from gateway.wire.limits import BODY_SECONDS, flaw
from gateway.wire.media import media_type

T = TypeVar("T")

#: Bytes of a body, except of prompts.
MAX_BODY = 262_144
#: Without authentication.
MAX_STRANGERS_BODY = 1024
#: The raw body.
BODY = web.RequestKey("body", bytes)
#: RFC 7240 4.3, without parameters.
_WAIT = re.compile(r"(?:^|,)\s*wait(?![\w-])\s*(?:=\s*(\"[^\"]*\"|[^,;\s]*))?", re.IGNORECASE)
MAX_WAIT = 999_999


@attrs.frozen(kw_only=True)
class NoBody:
    """For routes without a body."""


async def read_body(request: web.Request, cls: type[T], *, verbatim: bool = False, most: int = MAX_BODY) -> T:
    """The JSON body as a value of ``cls``; an empty body means ``{}``. The raw body becomes ``request[BODY]``.

    NUL in texts is refused, because processes, paths and PostgreSQL do not accept it, unless the body is passed on
    ``verbatim``. ``most`` is in bytes.
    """
    raw = request[BODY] = await read_raw(request, most)
    if not raw:
        raw = b"{}"
    elif (given := media_type(request.headers.get(hdrs.CONTENT_TYPE))) != "application/json":
        raise UnsupportedMediaType(f"The body must be JSON with Content-Type: application/json, not {given or 'none'}.")
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise UnsupportedMediaType("The body must not be compressed.")
    try:
        value = parse_json(raw)
        body = from_builtins(cls, value)
        refuse_twice(value, raw)
    except DecodeError as exc:
        raise InvalidBody(str(exc)) from exc
    # In JSON it is always escaped.
    if not verbatim and b"\\u0000" in raw and (place := _place_of_nul(value, "$")):
        raise InvalidBody(f"{place}: must not contain NUL")
    return body


async def read_raw(request: web.Request, most: int) -> bytes:
    """The raw body; ``BodyTooLarge`` as soon as it exceeds ``most`` bytes."""
    most = min(most, request.client_max_size if USER in request else MAX_STRANGERS_BODY)
    pieces: list[bytes] = []
    size = request.content_length or 0
    try:
        if size <= most:
            ask_for_body(request)
            async with asyncio.timeout(BODY_SECONDS):
                place = request.get(BODY_PLACE) if request.body_exists else None
                if place is not None:
                    await place.take(most if request.content_length is None else size)
                size = 0
                while size <= most and (piece := await request.content.readany()):
                    pieces.append(piece)
                    size += len(piece)
                if place is not None:
                    # The size of a chunked body is known only now.
                    place.keep(size)
    except TimeoutError as exc:
        raise RequestStalled(f"The body did not arrive within {BODY_SECONDS:g} seconds.") from exc
    if size > most:
        raise BodyTooLarge(f"The body may have at most {most} bytes here.", limit=most)
    return b"".join(pieces)


def forget_body(request: web.Request) -> None:
    """Release the body's memory while the request goes on for long."""
    request.pop(BODY, None)
    if BODY_PLACE in request:
        request[BODY_PLACE].leave()


def _place_of_nul(value: Any, place: str) -> str | None:
    match value:
        case str():
            return place if "\0" in value else None
        case list():
            entries = ((f"{place}[{index}]", element) for index, element in enumerate(value))
        case dict():
            if any("\0" in name for name in value):
                return place
            entries = ((f"{place}.{name[:MAX_SHOWN]}", element) for name, element in value.items())
        case _:
            return None
    found = (_place_of_nul(element, below) for below, element in entries)
    return next(filter(None, found), None)


def text(request: web.Request, parameter: Parameter) -> str | None:
    """The parameter's value; it may occur once."""
    values = request.query.getall(parameter.name, ())
    if len(values) > 1:
        raise InvalidParameter(f"?{parameter.name}= occurs more than once.")
    return values[0] if values else None


def page_size(request: web.Request) -> int:
    """``?limit=``, at most ``limits.page``."""
    return min(number(request, LIMIT) or DEFAULT_LIMIT, request.app[SETTINGS].config.limits.page)


async def known_place(entry: Awaitable[object]) -> None:
    """``?after=`` must name an existing entry, else the page would silently be empty. None is none."""
    with suppress(NotFound, UnstorableText):
        if await entry is not None:
            return
    raise InvalidParameter("?after= must be the `next` of a page, or an id that still exists.")


def number(request: web.Request, parameter: Parameter) -> int | None:
    """A whole number within the parameter's limits."""
    given = text(request, parameter)
    if given is None:
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 19 or flaw(int(given), _limit(parameter)):
        low, high = _limit(parameter).ge, _limit(parameter).le
        raise InvalidParameter(f"?{parameter.name}= must be a whole number from {low} to {high}, not {given[:40]!r}.")
    return int(given)


def choice(request: web.Request, parameter: Parameter) -> str | None:
    """One of the parameter's words."""
    given = text(request, parameter)
    words = get_args(parameter.kind if get_origin(parameter.kind) is Literal else get_args(parameter.kind)[0])
    if given is not None and given not in words:
        known = ", ".join(word or "nothing" for word in words)
        raise InvalidParameter(f"?{parameter.name}= must be one of: {known}; not {given[:40]!r}.")
    return given


def flag(request: web.Request, parameter: Parameter) -> bool:
    """``?name``, ``?name=true`` or ``?name=false``."""
    return choice(request, parameter) in ("", "true")


def _limit(parameter: Parameter) -> Meta:
    limit: Meta = get_args(parameter.kind)[1]
    return limit


def seconds_to_wait(request: web.Request) -> int | None:
    """``Prefer: wait=N`` (RFC 7240 4.3); other preferences are ignored."""
    match = _WAIT.search(",".join(request.headers.getall("Prefer", ())))
    if match is None:
        return None
    given = (match[1] or "").strip('"')
    if not given.isascii() or not given.isdigit() or len(given) > 12:
        raise InvalidParameter(f"Prefer: wait= must be a whole number of seconds, as in wait=30, not {given[:40]!r}.")
    return min(int(given), MAX_WAIT)


@contextmanager
def telling_refusals() -> Iterator[None]:
    """Pass on a container's 400, 409 and "agent not installed" (503), with its own text.

    Any other refusal is a failure of the container.
    """
    try:
        yield
    except ContainerRefused as exc:
        if exc.upstream_status == 400:
            raise RefusedByContainer(exc.text) from exc
        if exc.upstream_status == 409:
            raise ConflictInContainer(exc.text) from exc
        # By its code: a proxy in front of the container answers 503 as well.
        if exc.upstream_status == 503 and exc.upstream_code == AgentUnavailable.code:
            raise AgentUnavailable(exc.text) from exc
        raise
