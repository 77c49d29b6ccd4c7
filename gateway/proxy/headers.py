"""Which header fields cross the gateway, as pure functions over headers.

Known limit: aiohttp writes header values as UTF-8, so bytes that are no UTF-8 are lost on the way.
"""

from multidict import CIMultiDict, CIMultiDictProxy

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

#: How large a head may be, of a request and of an answer: bytes of a line or a field, and how many fields.
MAX_LINE = MAX_FIELD = 65536
MAX_HEADERS = 1000

# RFC 9110 7.6.1, with the fields that older clients send without naming them in Connection.
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

# Authorization and Cookie are the user's towards the gateway, no container's business. Host is the next hop's own,
# and Expect is answered here.
_NOT_FOR_UPSTREAM = HOP_BY_HOP | {"authorization", "cookie", "expect", "host"}


def end_to_end(headers: Headers) -> CIMultiDict[str]:
    """All fields but those of this hop, repeats and order kept.

    Each name is spelled as where it stood first: aiohttp keeps only the last of ``X-A: 1`` and ``x-a: 2``.
    """
    return _without(headers, HOP_BY_HOP)


def to_upstream(
    headers: Headers, *, client: str | None, scheme: str, host: str | None, prefix: str
) -> CIMultiDict[str]:
    """A request's fields as the container may see them.

    ``client`` is the address of who connected to us, ``scheme`` and ``host`` what it asked for (where it said so),
    ``prefix`` the path that was cut off the front of the target ("" for none).
    """
    kept = _without(headers, _NOT_FOR_UPSTREAM)
    for name in [name for name in kept if name.lower().startswith("proxy-")]:
        kept.popall(name, None)
    if client is not None:
        before = kept.getall("X-Forwarded-For", [])
        kept["X-Forwarded-For"] = ", ".join([*before, client])
    for name, value in (("X-Forwarded-Proto", scheme), ("X-Forwarded-Host", host), ("X-Forwarded-Prefix", prefix)):
        if value:
            kept[name] = value
        else:
            kept.popall(name, None)
    return kept


def to_client(headers: Headers) -> CIMultiDict[str]:
    """An answer's fields as the client may see them."""
    return end_to_end(headers)


def _without(headers: Headers, drop: frozenset[str]) -> CIMultiDict[str]:
    if "Connection" in headers:
        drop = drop.union(_named_in_connection(headers))
    if "Transfer-Encoding" in headers:
        # RFC 9112 6.3: chunking overrides the length, and a proxy must not pass both on.
        drop = drop.union(("content-length",))
    spelling: dict[str, str] = {}
    kept = []
    for name, value in headers.items():
        lower = name.lower()
        if lower not in drop:
            kept.append((spelling.setdefault(lower, name), value))
    return CIMultiDict(kept)


def _named_in_connection(headers: Headers) -> list[str]:
    return [token.strip().lower() for value in headers.getall("Connection") for token in value.split(",")]
