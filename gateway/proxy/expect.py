"""``Expect: 100-continue``: the body is requested when it is needed, not before.

aiohttp's own handler answers 100 before any middleware has run: a client would upload a gigabyte to receive 404.
"""

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11

_UNANSWERED = web.RequestKey("expect-unanswered", bool)


async def leave_to_reader(request: web.Request) -> None:
    """An ``expect_handler`` for routes whose handler calls ``ask_for_body``; ``forward`` does so itself."""
    if request.version < HttpVersion11:
        return  # RFC 9110 10.1.1: an HTTP/1.0 client does not wait
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        raise web.HTTPExpectationFailed
    request[_UNANSWERED] = True


def ask_for_body(request: web.Request) -> None:
    """Tell a client that waits for it to send its body; others send already."""
    if request.get(_UNANSWERED) and request.transport is not None:
        request[_UNANSWERED] = False
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
