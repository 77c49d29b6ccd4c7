"""Which header fields are forwarded, and how a head is written."""

import re
from collections.abc import Callable

from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict, CIMultiDictProxy

Headers = CIMultiDict[str] | CIMultiDictProxy[str]
#: Whether a field of this name, as spelled, is forwarded.
Passes = Callable[[str], bool]

#: Limits of a container's answer: bytes of a line or a field, and number of fields. More than aiohttp's defaults, and
#: than clients may send to the gateway (``gateway.server.heads``).
MAX_LINE = MAX_FIELD = 32_768
MAX_HEADERS = 200
#: Bytes of an answer's whole head.
MAX_HEAD = 262_144

#: Bytes that are not UTF-8, as aiohttp reads them.
_ESCAPED = re.compile("[\udc80-\udcff]")

# RFC 9110 7.6.1, and fields that older clients send without naming them in Connection.
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

# Authorization and Cookie are for the gateway only. Host and Expect belong to a hop, and forwarding fields are ours to
# write.
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
    """All but fields of one hop, and the gateway's own."""
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
    """A request's fields for the container; repeats, spelling and order are kept.

    ``client`` is the connected address, ``scheme`` and ``host`` what it requested (if it said), ``prefix`` the path
    removed from the target ("" for none).
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
    """An answer's fields for the client; repeats, spelling and order are kept."""
    drop = _dropped(headers, HOP_BY_HOP)
    return CIMultiDict([(name, value) for name, value in headers.items() if passes(name) and name.lower() not in drop])


async def write_head(writer: AbstractStreamWriter, start: str, headers: CIMultiDict[str]) -> None:
    """Write a head as aiohttp does, and keep it in the writer until the body begins.

    aiohttp reads bytes that are not UTF-8 as lone surrogates (PEP 383) and drops those on writing. A check of a value
    would then not hold for what is sent: ``Domÿain=x`` would become ``Domain=x``. So a head with such bytes is written
    here.
    """
    await writer.write_headers(start, headers)
    if _ESCAPED.search("".join([start, *headers.values()])):
        lines = [start, *(f"{name}: {value}" for name, value in headers.items())]
        writer._headers_buf = ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")  # type: ignore[attr-defined]  # where it waits


def _dropped(headers: Headers, drop: frozenset[str]) -> frozenset[str]:
    """``drop``, and the fields that these headers declare as hop-by-hop."""
    if "Connection" in headers:
        drop = drop.union(_named_in_connection(headers))
    if "Transfer-Encoding" in headers:
        # RFC 9112 6.3: chunking overrides the length, and a proxy must not forward both.
        drop = drop.union(("content-length",))
    return drop


def _named_in_connection(headers: Headers) -> list[str]:
    return [token.strip().lower() for value in headers.getall("Connection") for token in value.split(",")]
