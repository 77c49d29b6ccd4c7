"""Which header fields cross the gateway, and how a head is written."""

import re
from collections.abc import Callable

from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict, CIMultiDictProxy

Headers = CIMultiDict[str] | CIMultiDictProxy[str]
#: Whether a field of this name, as it was spelled, crosses.
Passes = Callable[[str], bool]

#: How large the head of a container's answer may be: bytes of a line or a field, and how many fields. That is more
#: than aiohttp takes by default, and what clients may send to the gateway (``gateway.server.heads``).
MAX_LINE = MAX_FIELD = 32_768
MAX_HEADERS = 200
#: Bytes of an answer's whole head.
MAX_HEAD = 262_144

#: Bytes that are no UTF-8, as aiohttp reads them.
_ESCAPED = re.compile("[\udc80-\udcff]")

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
# Expect is answered here, and how a container was addressed is for us to say.
_NOT_FOR_UPSTREAM = HOP_BY_HOP | {
    "authorization",
    "cookie",
    "expect",
    "host",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-prefix",
}
_WITHOUT_CLIENTS = _NOT_FOR_UPSTREAM | {"x-forwarded-for"}


def everything(name: str) -> bool:
    """All that is not of one hop, or the gateway's own affair."""
    return True


def to_upstream(
    headers: Headers,
    *,
    client: str | None,
    scheme: str,
    host: str | None,
    prefix: str,
    passes: Passes = everything,
) -> CIMultiDict[str]:
    """A request's fields as the container may see them, repeats, spelling and order kept.

    ``client`` is the address of who connected to us, ``scheme`` and ``host`` what it asked for (where it said so),
    ``prefix`` the path that was cut off the front of the target ("" for none).
    """
    drop = _dropped(headers, _NOT_FOR_UPSTREAM if client is None else _WITHOUT_CLIENTS)
    kept = [
        (name, value)
        for name, value in headers.items()
        if passes(name) and (lower := name.lower()) not in drop and not lower.startswith("proxy-")
    ]
    if client is not None:
        kept.append(("X-Forwarded-For", ", ".join([*headers.getall("X-Forwarded-For", ()), client])))
    kept.append(("X-Forwarded-Proto", scheme))
    if host:
        kept.append(("X-Forwarded-Host", host))
    if prefix:
        kept.append(("X-Forwarded-Prefix", prefix))
    return CIMultiDict(kept)


def to_client(headers: Headers, *, passes: Passes = everything) -> CIMultiDict[str]:
    """An answer's fields as the client may see them, repeats, spelling and order kept."""
    drop = _dropped(headers, HOP_BY_HOP)
    return CIMultiDict([(name, value) for name, value in headers.items() if passes(name) and name.lower() not in drop])


async def write_head(writer: AbstractStreamWriter, start: str, headers: CIMultiDict[str]) -> None:
    """Write a head as aiohttp does, and leave it in the writer until the body begins.

    aiohttp reads bytes that are no UTF-8 as lone surrogates (PEP 383) and leaves those out when it writes. What is
    decided by a value would then not hold for what is sent: ``Dom\xffain=x`` would be sent as ``Domain=x``. So a head
    with such bytes is written here.
    """
    await writer.write_headers(start, headers)
    if _ESCAPED.search("".join([start, *headers.values()])):
        lines = [start, *(f"{name}: {value}" for name, value in headers.items())]
        writer._headers_buf = ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")  # type: ignore[attr-defined]  # where it waits


def _dropped(headers: Headers, drop: frozenset[str]) -> frozenset[str]:
    """``drop`` with what these headers say themselves belongs to one hop."""
    if "Connection" in headers:
        drop = drop.union(_named_in_connection(headers))
    if "Transfer-Encoding" in headers:
        # RFC 9112 6.3: chunking overrides the length, and a proxy must not pass both on.
        drop = drop.union(("content-length",))
    return drop


def _named_in_connection(headers: Headers) -> list[str]:
    return [token.strip().lower() for value in headers.getall("Connection") for token in value.split(",")]
