"""Connections of clients, by aiohttp, whose requests' heads have a bound that it has none for: in bytes, and in time.

aiohttp bounds each line and field, and how many there are; all of them at their largest would be a megabyte for each
connection of anybody, for as long as it is idle.
"""

import asyncio
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

#: Bytes of a whole head. nginx takes 32 KiB, Node.js 16.
MAX_HEAD: Final = 65_536
#: How long a head may take to arrive, from its first byte on.
HEAD_SECONDS: Final = 20.0
#: What each takes of one line or field, and how many fields: aiohttp's own defaults.
MAX_LINE = MAX_FIELD = 8190
MAX_FIELDS: Final = 128
_REFUSAL = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b"
)


class Connection(RequestHandler):
    """A client's connection."""

    __slots__ = ("_head_bytes", "_head_ends")

    def __init__(self, server: web.Server) -> None:
        super().__init__(server, loop=server._loop, **server._kwargs)
        #: Of the head that is under way; it ends the connection if it is not here by then.
        self._head_bytes = 0
        self._head_ends: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiter = self._waiter
        if waiter is None or waiter.done() or self._messages:
            # A whole head has come, or what came is of a body.
            if self._head_ends is not None:
                self._forget_head()
            if len(data) > MAX_HEAD and any(_size(message) > MAX_HEAD for message, _ in self._messages):
                self._refuse()
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD:
            self._refuse()
        elif self._head_ends is None:
            self._head_ends = self._loop.call_later(HEAD_SECONDS, self.force_close)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def _forget_head(self) -> None:
        self._head_bytes = 0
        if self._head_ends is not None:
            self._head_ends.cancel()
            self._head_ends = None

    def _refuse(self) -> None:
        self._forget_head()
        said = b"The head of a request may have at most %d bytes.\n" % MAX_HEAD
        if self.transport is not None:
            self.transport.write(_REFUSAL % (len(said), said))
        self.force_close()


def _size(message: Any) -> int:
    raw = getattr(message, "raw_headers", ())
    return sum(len(name) + len(value) for name, value in raw)
