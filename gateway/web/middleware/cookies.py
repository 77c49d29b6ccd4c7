"""Cookies of containers, on their projects' own hosts: they come and go, and reach no further than that host.

Below the gateway's own host there are none. On a project's host a browser sends what the container has set there, what
a page has set by script, and what others have set for the whole domain. Where a proxy signs users in, one of the last
is a user's session with that proxy. So there each cookie of a container goes out with a *mark*: a second cookie, which
no script can read, with the first one's digest. Of what comes back the container gets what has a mark; it cannot make
one for a cookie whose value it does not know.
"""

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

#: What the gateway's own cookies begin with. Containers are never sent such a one, and cannot set one.
OWN: Final = "acp_"
_MARK: Final = "acp_mark_"
#: Also behind what browsers give a meaning (``__Host-``, ``__Secure-``, …), and in any case.
_IS_OWN = re.compile(rf"(?:__[a-z-]+-)?{OWN}", re.IGNORECASE)
#: Attributes that a mark has as its cookie has them: how long it lasts, and where it is sent.
_SHARED: Final = frozenset({"expires", "max-age", "path", "secure", "samesite", "partitioned"})
#: Characters of a ``Set-Cookie``, and attributes in it: browsers drop what is longer (RFC 6265bis 5.7), and know eight.
MAX_COOKIE: Final = 8192
MAX_ATTRIBUTES: Final = 20
#: Cookies of one request that are looked at. Browsers keep some 180 for a host and the domains above it.
MAX_PAIRS: Final = 500


def for_container(fields: Iterable[str], *, is_marked: bool) -> str:
    """A request's cookies that the container gets, in their order; "" for none. Only ``MAX_PAIRS`` are looked at."""
    pairs = list(islice((pair.strip(" \t") for field in fields for pair in field.split(";")), MAX_PAIRS))
    marks = {value for name, value in map(_split, pairs) if name.startswith(_MARK)} if is_marked else set()
    if is_marked and not marks:
        return ""
    kept = [pair for pair in pairs if pair and not is_own(pair)]
    return "; ".join(pair for pair in kept if not is_marked or _digest(pair) in marks)


def for_browser(set_cookie: str, *, is_marked: bool) -> Iterator[str]:
    """A container's ``Set-Cookie`` for the host that it is sent from and no other, and its mark; nothing where it has
    the name of a cookie of the gateway's, or none, or is longer than any that browsers keep."""
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
    """Whether a cookie's name is one of the gateway's own."""
    return _IS_OWN.match(name) is not None


def _split(pair: str) -> tuple[str, str]:
    """A pair's name and value; a pair without ``=`` is a value, and has no name."""
    name, equals, value = pair.partition("=")
    return (name.strip(" \t"), value.strip(" \t")) if equals else ("", name)


def _attribute_name(attribute: str) -> str:
    return attribute.partition("=")[0].strip(" \t").lower()


def _digest(text: str) -> str:
    raw = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return urlsafe_b64encode(raw[:18]).decode()
