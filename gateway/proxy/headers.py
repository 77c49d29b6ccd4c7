"""Which header fields cross the gateway, as pure functions over headers.

Known limit: aiohttp writes header values as UTF-8, so bytes that are no UTF-8 are lost on the way.
"""

from collections.abc import Iterable

from multidict import CIMultiDict, CIMultiDictProxy

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

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
_NOT_FOR_UPSTREAM = frozenset({"authorization", "cookie", "expect", "host"})


def end_to_end(headers: Headers, *, without: Iterable[str] = ()) -> CIMultiDict[str]:
    """All fields but those of this hop and those named in ``without`` (lower case), repeats and order kept.

    Each name is spelled as where it stood first: aiohttp keeps only the last of ``X-A: 1`` and ``x-a: 2``.
    """
    drop = HOP_BY_HOP.union(without, _named_in_connection(headers))
    if "Transfer-Encoding" in headers:
        # RFC 9112 6.3: chunking overrides the length, and a proxy must not pass both on.
        drop |= {"content-length"}
    spelling: dict[str, str] = {}
    kept = CIMultiDict[str]()
    for name, value in headers.items():
        lower = name.lower()
        if lower not in drop:
            kept.add(spelling.setdefault(lower, name), value)
    return kept


def to_upstream(
    headers: Headers, *, client: str | None, scheme: str, host: str | None, prefix: str
) -> CIMultiDict[str]:
    """A request's fields as the container may see them.

    ``client`` is the address of who connected to us, ``scheme`` and ``host`` what it asked for (where it said so),
    ``prefix`` the path that was cut off the front of the target ("" for none).
    """
    proxy_fields = {lower for name in headers if (lower := name.lower()).startswith("proxy-")}
    kept = end_to_end(headers, without=_NOT_FOR_UPSTREAM | proxy_fields)
    if client is not None:
        before = kept.getall("X-Forwarded-For", [])
        kept["X-Forwarded-For"] = ", ".join([*before, client])
    for name, value in (("Proto", scheme), ("Host", host), ("Prefix", prefix)):
        kept.popall(f"X-Forwarded-{name}", None)
        if value:
            kept[f"X-Forwarded-{name}"] = value
    return kept


def to_client(headers: Headers) -> CIMultiDict[str]:
    """An answer's fields as the client may see them."""
    return end_to_end(headers)


def _named_in_connection(headers: Headers) -> set[str]:
    return {token.strip().lower() for value in headers.getall("Connection", ()) for token in value.split(",")}
