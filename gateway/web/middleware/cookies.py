"""Cookies of containers on their projects' own hosts, and limited to those; the gateway's host has none of them.

On a project's host a browser sends cookies that the container has set, that scripts have set, and that others have set
for the whole domain; among the last may be a user's session with a proxy. So each cookie of a container is sent with a
*mark*: a second, HttpOnly cookie with the digest of the first. Only cookies with a mark are forwarded. A container
cannot make a mark for a cookie whose value it does not know.
"""

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

#: The prefix of the gateway's own cookies, which containers neither get nor set.
OWN: Final = "acp_"
_MARK: Final = "acp_mark_"
#: Also after a prefix with a meaning in browsers (``__Host-``, ``__Secure-``, …), in any case.
_IS_OWN = re.compile(rf"(?:__[a-z-]+-)?{OWN}", re.IGNORECASE)
#: Attributes that a mark copies from its cookie.
_SHARED: Final = frozenset({"expires", "max-age", "path", "secure", "samesite", "partitioned"})
#: Characters and attributes of a ``Set-Cookie``: browsers drop longer ones (RFC 6265bis 5.7), and know eight.
MAX_COOKIE: Final = 8192
MAX_ATTRIBUTES: Final = 20
#: Cookies of one request that are read. Browsers keep about 180 for a host and its parent domains.
MAX_PAIRS: Final = 500


def for_container(fields: Iterable[str], *, is_marked: bool) -> str:
    """The request's cookies for the container, in order, out of the first ``MAX_PAIRS``; "" for none."""
    pairs = list(islice((pair.strip(" \t") for field in fields for pair in field.split(";")), MAX_PAIRS))
    marks = {value for name, value in map(_split, pairs) if name.startswith(_MARK)} if is_marked else set()
    if is_marked and not marks:
        return ""
    kept = [pair for pair in pairs if pair and not is_own(pair)]
    return "; ".join(pair for pair in kept if not is_marked or _digest(pair) in marks)


def for_browser(set_cookie: str, *, is_marked: bool) -> Iterator[str]:
    """A container's ``Set-Cookie`` without its domain, and its mark; nothing if it is too long, nameless or named like
    one of the gateway's."""
    if len(set_cookie) > MAX_COOKIE:
        return
    pair, *attributes = (part.strip(" \t") for part in set_cookie.split(";", MAX_ATTRIBUTES + 1)[: MAX_ATTRIBUTES + 1])
    name, value = _split(pair)
    if not name or is_own(name):
        return
    kept = [attribute for attribute in attributes if _attribute_name(attribute) not in ("", "domain")]
    yield "; ".join([f"{name}={value}", *kept])
    if is_marked:
        shared = [attribute for attribute in kept if _attribute_name(attribute) in _SHARED]
        yield "; ".join([f"{_MARK}{_digest(name)}={_digest(f'{name}={value}')}", *shared, "HttpOnly"])


def is_own(name: str) -> bool:
    return _IS_OWN.match(name) is not None


def _split(pair: str) -> tuple[str, str]:
    """A pair's name and value; a pair without ``=`` is a value without a name."""
    name, equals, value = pair.partition("=")
    return (name.strip(" \t"), value.strip(" \t")) if equals else ("", name)


def _attribute_name(attribute: str) -> str:
    return attribute.partition("=")[0].strip(" \t").lower()


def _digest(text: str) -> str:
    raw = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return urlsafe_b64encode(raw[:18]).decode()
