"""Clients' connections, by aiohttp, with a limit that it lacks: for a request's whole head, in bytes and time.

aiohttp limits each line and field, and their number; together they could take a megabyte for each idle connection.

Invalid requests are answered here, since no handler gets them. Nothing of them is repeated in the answer or the log: a
field that is too long may contain a secret.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, ClassVar, Final

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

logger = logging.getLogger(__name__)

#: Bytes of a whole head. nginx allows 32 KiB, Node.js 16.
MAX_HEAD: Final = 65_536
#: Bytes of all incomplete heads together. Beyond that only short ones may continue.
MAX_HEADS: Final = 16_777_216
SHORT_HEAD: Final = 8192
#: aiohttp's own limits, for messages: bytes of the first line and of each field, and number of fields.
MAX_FIELD: Final = 8190
MAX_FIELDS: Final = 128
#: Time for a head to arrive, from its first byte.
HEAD_SECONDS: Final = 20.0
#: How long further data is read and dropped after a head was refused: a client that still sends when the connection is
#: closed may never see the answer (RFC 9112 9.6).
LINGER_SECONDS: Final = 5.0
_EMPTY_LINE: Final = b"\r\n\r\n"


class Connection(RequestHandler):
    """A client's connection."""

    #: Bytes of incomplete heads on all connections.
    under_way: ClassVar[int] = 0

    __slots__ = ("_body", "_body_length", "_head_bytes", "_head_ends", "_is_refused", "_last_bytes", "_unread")

    def __init__(self, server: web.Server) -> None:
        super().__init__(server, loop=server._loop, **server._kwargs)
        #: Bytes of the current head, and the timer that ends the connection.
        self._head_bytes = 0
        self._head_ends: asyncio.TimerHandle | None = None
        self._is_refused = False
        #: The body of the last request, and its length if declared; the next head follows.
        self._body: StreamReader = EMPTY_PAYLOAD
        self._body_length: int | None = None
        #: An empty line may arrive in two pieces.
        self._last_bytes = b""
        #: Bytes after the last empty line that aiohttp keeps until earlier requests are handled.
        self._unread = 0

    def data_received(self, data: bytes) -> None:
        """Data from the client; empty if aiohttp goes on with what it kept.

        aiohttp does not say where a request ends. Each head ends with an empty line, and so does each chunked body:
        after the last empty line of a piece no request begins and ends. So a piece is read in two parts.
        """
        if self._is_refused:
            return
        if not data or self._upgraded or self._payload_parser is not None:
            self._read(data)
            return
        known = len(self._last_bytes)
        seen = self._last_bytes + data
        self._last_bytes = seen[1 - len(_EMPTY_LINE) :]
        found = seen.rfind(_EMPTY_LINE)
        end = 0 if found < 0 else found + len(_EMPTY_LINE) - known
        if end:
            self._read(data[:end])
            self._unread = 0
        if end < len(data):
            self._read(data[end:])

    def _read(self, part: bytes) -> None:
        of_body, count = self._of_body(len(part)), self._request_count
        super().data_received(part)
        if came := self._request_count - count:
            self._forget_head()
            self._note_body(*self._messages[-1])
            self._refuse_large_ones(came)
        if self._buffer_paused:
            self._unread += len(part)
        elif not came and not self._upgraded and self._body.is_eof():
            self._count_head_in(part[of_body:])

    def _resume_reading_if_drained(self) -> None:
        super()._resume_reading_if_drained()
        if self._buffer_paused:
            return
        unread, self._unread = self._unread, 0
        if unread and not self._upgraded and self._body.is_eof():
            # Parts of a body may be counted too. Few clients send so much before they are answered.
            self._count_head(unread)

    def _note_body(self, message: Any, body: StreamReader) -> None:
        self._body, self._body_length = body, None
        if body is not EMPTY_PAYLOAD and (length := message.headers.get(hdrs.CONTENT_LENGTH)) is not None:
            self._body_length = int(length)

    def _of_body(self, size: int) -> int:
        """How many of the next bytes belong to the current body, at most."""
        if self._body.is_eof():
            return 0
        return size if self._body_length is None else min(size, self._body_length - self._body.total_bytes)

    def _count_head_in(self, begun: bytes) -> None:
        """An empty line after a body, which some clients send, must not end its answer (RFC 9112 2.2)."""
        is_idle = self._waiter is not None and not self._waiter.done()
        if begun and (is_idle or self._head_bytes or begun.strip(b"\r\n")):
            self._count_head(len(begun))

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Drop data after a declined upgrade: aiohttp would read it without limits. Clients wait for the answer."""
        if self._upgraded and self._payload_parser is None and self._message_tail.strip(b"\r\n"):
            self._message_tail = b""
            resp.force_close()
        return await super().finish_response(request, resp, start_time)

    def _count_head(self, size: int) -> None:
        """Also for a request that arrives while another is handled."""
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
        """Checks the latest heads, however many pieces they came in, even if others wait."""
        waiting = 0
        for place, (message, _) in enumerate(self._messages):
            waiting += _size(message)
            if waiting > MAX_HEAD and place >= len(self._messages) - came:
                self._messages[place] = (_TOO_LARGE, EMPTY_PAYLOAD)


def _size(message: Any) -> int:
    """Including separators."""
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
