"""Providers' replies, whose shape is not trusted."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from math import isfinite
from typing import Any
from urllib.parse import parse_qsl

import attrs

from gateway.wire.census import Census
from gateway.wire.codec import MAX_DEPTH, MAX_VALUES, DecodeError, parse_foreign_json

#: Characters of a provider's text that are shown.
MAX_SHOWN = 200
REDACTED = "[redacted]"
#: Long words of these characters are probably secrets.
_TOKEN_LIKE = re.compile(r"[A-Za-z0-9_~+/=-]{24,}(?:\.[A-Za-z0-9_~+/=-]+)*|eyJ[A-Za-z0-9_.=-]+")
_SECONDS = re.compile(r"\s*[+-]?\d{1,15}(\.\d{1,9})?\s*", re.ASCII)
_NAME = re.compile(r"[\w.:-]{1,64}", re.ASCII)


@attrs.frozen(kw_only=True)
class Reply:
    """A complete HTTP response."""

    status: int
    content_type: str = ""
    body: bytes = attrs.field(default=b"", repr=False)
    retry_after: float | None = None
    #: The ``Date``, as a hint at the provider's clock.
    date: datetime | None = None


@attrs.frozen(kw_only=True)
class NoReply:
    """No response. ``sent``: the request may have been carried out."""

    reason: str
    sent: bool


def members_of(reply: Reply) -> Mapping[str, Any] | None:
    """The members of a JSON object or a form, whatever its media type; None if it is neither."""
    if (found := _json_object(reply.body)) is not None:
        return found
    return _form(reply.body)


def error_of(members: Mapping[str, Any]) -> str | None:
    """The error code, if any; some providers nest it in an object."""
    error = members.get("error")
    if isinstance(error, dict):
        error = next((error[name] for name in ("code", "type", "error") if _is_word(error.get(name))), "unnamed")
    if error is None or error == "" or error is False:
        return None
    return error if isinstance(error, str) and _NAME.fullmatch(error) else "unnamed"


def description_of(members: Mapping[str, Any], secrets: Iterable[str]) -> str:
    """The provider's explanation, without anything that is or looks like a secret."""
    error = members.get("error")
    nested = error.get("message") if isinstance(error, dict) else None
    told = (members.get(name) for name in ("error_description", "detail", "message", "title"))
    return next((presentable(text, secrets) for text in (nested, *told) if isinstance(text, str) and text), "")


def presentable(text: str, secrets: Iterable[str] = ()) -> str:
    """Foreign text on one line, short and masked; it must still be escaped for HTML."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, REDACTED)
    text = _TOKEN_LIKE.sub(REDACTED, text[: 20 * MAX_SHOWN])
    # Unprintable characters could reverse, break or hide text.
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1].rstrip()}…"


def seconds(value: Any) -> float | None:
    """A duration as a number or a string; None if it is neither or not positive."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        if not _SECONDS.fullmatch(value):
            return None
        value = float(value)
    if isinstance(value, int) and value > 10**15:
        value = 10**15
    return float(value) if isfinite(value) and value > 0 else None


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _json_object(body: bytes) -> Mapping[str, Any] | None:
    if not body.lstrip(b" \t\r\n\xef\xbb\xbf").startswith(b"{"):
        return None
    census = Census(body)
    if census.has_more_than(MAX_VALUES):
        return None
    try:
        value = parse_foreign_json(body.removeprefix(b"\xef\xbb\xbf"))
    except DecodeError:
        return None
    return value if isinstance(value, dict) and not census.is_deeper_than(MAX_DEPTH) else None


def _form(body: bytes) -> Mapping[str, Any] | None:
    try:
        pairs = parse_qsl(body.decode("ascii").strip(), strict_parsing=True, max_num_fields=100, errors="replace")
    except ValueError:
        return None
    known = {name for name, _ in pairs if _NAME.fullmatch(name)}
    # A repeated member is not trusted.
    return dict(pairs) if len(known) == len(pairs) else None
