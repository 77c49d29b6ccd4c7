"""What a broken or hostile container may say: blocks for its event stream, and answers in place of the contract's."""

import gzip
from collections.abc import Awaitable, Callable, Iterator
from functools import cache

from aiohttp import web
from multidict import CIMultiDict

LONG_LINE = 20 * 2**20
HEADER_FIELDS = 10_000
BOMB_BYTES = 2**30

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: A cloud's metadata service, as it is reached from within.
METADATA = "http://169.254.169.254/latest/meta-data/iam/"


def blocks() -> Iterator[tuple[str, bytes]]:
    """What is said, each under a number of its own where the container has numbers."""
    yield "a line of 20 MB", b"data: " + b"x" * LONG_LINE + b"\n\n"
    yield "a field of 20 MB that nobody knows", b"x" * LONG_LINE + b": y\ndata: {}\n\n"
    yield "a comment of 20 MB", b": " + b"x" * LONG_LINE + b"\ndata: {}\n\n"
    yield "20 MB in short lines", b"data: xxxxxxxxxxxxxxxxxxxxxxxxx\n" * (LONG_LINE // 32) + b"\n"
    yield "bad UTF-8", b'event: session_update\ndata: {"data":"\xff\xfe\xc0\x80\xed\xa0\x80"}\n\n'
    yield "bad UTF-8 as the event's name", b"event: \xff\xfe\ndata: {}\n\n"
    yield "NUL", b'event: session_update\ndata: {"sessionId":"a\x00b","data":"\x00"}\n\n'
    yield "NUL, escaped", b'event: session_update\ndata: {"sessionId":"\\u0000","data":{"\\u0000":"\\u0000"}}\n\n'
    yield "half a surrogate pair", b'event: session_update\ndata: {"sessionId":"\\ud800","data":"\\udfff"}\n\n'
    yield "lone CRs as line ends", b"event: agent_status\rdata: {}\r\r"
    yield "a BOM in the middle", b"\xef\xbb\xbfdata: {}\ndata: {}\n\n"
    yield "no JSON", b"event: session_update\ndata: {not json\n\n"
    yield "JSON that is no object", b"event: session_update\ndata: [1]\n\n"
    yield "100,000 brackets", b"event: session_update\ndata: " + b"[" * 100_000 + b"\n\n"
    yield "deep JSON in its place", b'event: session_update\ndata: {"data":' + b"[" * 5000 + b"]" * 5000 + b"}\n\n"
    yield (
        "a number of 5,000 digits",
        b'event: session_update\ndata: {"timestamp":1e999,"data":' + b"9" * 5000 + b"}\n\n",
    )
    yield "members of wrong types", b'event: session_end_turn\ndata: {"sessionId":{},"agentId":[],"data":7}\n\n'
    yield "an end without a turn", b'event: session_end_turn\ndata: {"data":{"turnId":[1]}}\n\n'
    yield "a request for permission of nobody", b'event: permission_request\ndata: {"data":{"requestId":{"a":1}}}\n\n'
    yield "a reconnection time of centuries", b"retry: 99999999999999999\ndata: {}\n\n"
    yield "a forged reset", b'event: reset\ndata: {"type":"reset","data":{"epoch":9,"head":9}}\n\n'


def outlaws() -> Iterator[tuple[str, bytes]]:
    """Blocks with ids that are no number of the container's, some of which its journal may hold and tell again."""
    yield "an id with NUL", b"id: a\x00b\ndata: {}\n\n"
    yield "an id of 5,000 digits", b"id: " + b"9" * 5000 + b"\ndata: {}\n\n"
    yield "an id of another boot", b"id: other-7\ndata: {}\n\n"
    yield "a negative id", b"id: -7\ndata: {}\n\n"
    yield "an id of 10 MB", b"id: " + b"x" * 10**7 + b"\ndata: {}\n\n"


def answers(trap: str) -> Iterator[tuple[str, Answer]]:
    """Answers to any request. ``trap``: a URL that nobody is to come to."""
    yield "10,000 header fields", _many_headers
    yield "a gzip bomb", _bomb
    yield "an answer of 20 MB", _long
    yield "500", _status
    for status in (301, 302, 307, 308):
        yield f"a redirect ({status}) to a metadata address", _redirect(status, METADATA)
        yield f"a redirect ({status}) to another address", _redirect(status, trap)


async def _many_headers(_: web.Request) -> web.Response:
    headers = CIMultiDict((f"X-Garbage-{number}", "x" * 50) for number in range(HEADER_FIELDS))
    headers["Content-Type"] = "text/event-stream"
    return web.Response(headers=headers)


@cache
def _compressed() -> bytes:
    # Members follow one another: the same one again and again is quick to make.
    member = gzip.compress(bytes(2**25))
    return member * (BOMB_BYTES // 2**25)


async def _bomb(request: web.Request) -> web.Response:
    kind = "text/event-stream" if request.path == "/events" else "application/json"
    return web.Response(body=_compressed(), headers={"Content-Type": kind, "Content-Encoding": "gzip"})


async def _long(_: web.Request) -> web.Response:
    return web.Response(text="x" * LONG_LINE, content_type="application/json")


async def _status(_: web.Request) -> web.Response:
    return web.Response(status=500, text="no")


def _redirect(status: int, location: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": location, "Content-Type": "text/event-stream"})

    return answer
