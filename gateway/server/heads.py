"""Connections of clients, by aiohttp, with a bound that it has none for: a request's whole head, in bytes and in time.

aiohttp bounds each line and field, and how many there are; all of them at their largest would be a megabyte for each
connection of anybody, for as long as it is idle.

What cannot be read is answered here, because no request comes of it that a handler could have. Nothing of it is
repeated, neither in the answer nor in the log: a field that is too long may have a secret in it.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, ClassVar, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

logger = logging.getLogger(__name__)

#: Bytes of a whole head. nginx takes 32 KiB, Node.js 16.
MAX_HEAD: Final = 65_536
#: Bytes of all heads together that are under way. Beyond that only short ones are waited for.
MAX_HEADS: Final = 16_777_216
SHORT_HEAD: Final = 8192
#: aiohttp's own limits, for messages: bytes of the first line and of each field, and fields.
MAX_FIELD: Final = 8190
MAX_FIELDS: Final = 128
#: How long a head may take to arrive, from its first byte on.
HEAD_SECONDS: Final = 20.0
#: How long what else comes is read, and thrown away, where a head is refused. Whoever is still sending when the
#: connection is closed may never see the answer (RFC 9112 9.6).
LINGER_SECONDS: Final = 5.0


class Connection(RequestHandler):
    """A client's connection."""

    #: Bytes of the heads that are under way on all of them.
    under_way: ClassVar[int] = 0

    __slots__ = ("_head_bytes", "_head_ends", "_is_refused", "_last_body")

    def __init__(self, server: web.Server) -> None:
        super().__init__(server, loop=server._loop, **server._kwargs)
        #: Of the head that is under way; and what ends the connection if it is not here by then.
        self._head_bytes = 0
        self._head_ends: asyncio.TimerHandle | None = None
        self._is_refused = False
        #: Of the request whose head came last; what comes after its end is the next head.
        self._last_body: StreamReader = EMPTY_PAYLOAD

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        count, was_in_body = self._request_count, not self._last_body.is_eof()
        super().data_received(data)
        if came := self._request_count - count:
            self._forget_head()
            self._last_body = self._messages[-1][1]
            self._refuse_large_ones(came)
        elif was_in_body or self._upgraded or self._buffer_paused:
            # Not of a head; or of requests that aiohttp reads once those before them are handled.
            return
        elif self._waiter is not None or self._head_bytes or data.strip(b"\r\n"):
            # What some clients send after a body, an empty line, must not end its answer (RFC 9112 2.2).
            self._count_head(len(data))

    def _count_head(self, size: int) -> None:
        """Also of a request that comes while another is handled."""
        self._head_bytes += size
        Connection.under_way += size
        if self._head_bytes > MAX_HEAD or (Connection.under_way > MAX_HEADS and self._head_bytes > SHORT_HEAD):
            self._forget_head()
            self._is_refused = True
            self._messages.append((_TOO_LARGE, EMPTY_PAYLOAD))
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
        elif self._head_ends is None:
            self._head_ends = self._loop.call_later(HEAD_SECONDS, self.force_close)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def _make_error_handler(self, err_info: _ErrInfo) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        is_large = err_info is _TOO_LARGE or isinstance(err_info.exc, LineTooLong)
        self._is_refused = is_large

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            reason = type(err_info.exc).__name__
            logger.info("request not understood", extra={"reason": reason, "client": request.remote})
            response = _large_head() if is_large else _malformed()
            response.force_close()
            if is_large:
                await response.prepare(request)
                await response.write_eof()
                await asyncio.sleep(LINGER_SECONDS)
            return response

        return handler

    def _forget_head(self) -> None:
        Connection.under_way -= self._head_bytes
        self._head_bytes = 0
        if self._head_ends is not None:
            self._head_ends.cancel()
            self._head_ends = None

    def _refuse_large_ones(self, came: int) -> None:
        """Of the heads that came last. In how many pieces they came makes no difference."""
        for place in range(len(self._messages) - came, len(self._messages)):
            if _size(self._messages[place][0]) > MAX_HEAD:
                self._messages[place] = (_TOO_LARGE, EMPTY_PAYLOAD)


def _size(message: Any) -> int:
    """With what stands between names and values, and after them."""
    fields = getattr(message, "raw_headers", ())
    return len(getattr(message, "path", "")) + sum(len(name) + len(value) + len(": \r\n") for name, value in fields)


_STATUS = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
_TOO_LARGE = _ErrInfo(status=_STATUS, exc=HttpProcessingError(code=_STATUS), message="")


def _large_head() -> web.Response:
    return _problem(
        _STATUS,
        "head_too_large",
        "The request's head is too large.",
        f"Its first line and each header field may have at most {MAX_FIELD} bytes, all together {MAX_HEAD}.",
    )


def _malformed() -> web.Response:
    return _problem(
        HTTPStatus.BAD_REQUEST,
        "bad_request",
        "The request is not valid HTTP.",
        f"See RFC 9112; a request has at most {MAX_FIELDS} header fields.",
    )


def _problem(status: HTTPStatus, code: str, title: str, detail: str) -> web.Response:
    problem = {"type": "about:blank", "title": title, "status": int(status), "code": code, "detail": detail}
    body = json.dumps(problem).encode() + b"\n"
    return web.Response(status=status, body=body, content_type="application/problem+json")
