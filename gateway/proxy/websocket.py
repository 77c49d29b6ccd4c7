"""WebSockets through the gateway: the handshake as HTTP, then bytes.

After the 101 nothing is parsed. Frames, fragments, extensions, pings, close codes and reasons pass as bytes; a message
of any size takes only the buffers' memory; and a side that vanishes without a close frame is closed for the other side
too (which reports 1006, as RFC 6455 7.1.5 requires).
"""

import asyncio
import logging
from typing import Any

import aiohttp
from aiohttp import hdrs, web
from aiohttp.http import StreamWriter

from gateway.errors import UpstreamUnreachable
from gateway.proxy.answer import Answer
from gateway.proxy.response import ForwardedResponse, Returned

logger = logging.getLogger(__name__)

HANDSHAKE = {"Connection": "Upgrade", "Upgrade": "websocket"}

_BUFFER = 65536  # bytes; reading pauses at twice that
_GRACE = 5.0  # seconds for a closed side to take what was written to it


def is_handshake(request: web.BaseRequest) -> bool:
    """Whether the client asks for a WebSocket (RFC 6455 4.1)."""
    return (
        request.method == hdrs.METH_GET
        and request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"
        and "upgrade" in request.headers.get(hdrs.CONNECTION, "").lower()
    )


async def tunnel(request: web.Request, answer: Answer, returned: Returned) -> web.StreamResponse:
    """Forward the upstream's 101, then bytes both ways until either side is closed."""
    connection = answer.connection
    if connection is None or connection.protocol is None or connection.transport is None:
        raise UpstreamUnreachable("The project's container switched protocols without saying to which.")
    response = ForwardedResponse.of(answer, returned)
    response.headers.update(HANDSHAKE)
    response.force_close()
    await response.prepare(request)
    request.writer.send_headers()
    down = _Side(request.protocol, request.transport)
    up = _Side(connection.protocol, connection.transport)
    try:
        await _both_ways(up, down)
    finally:
        up.close()
        down.close()
    return response


class _Side:
    """One end of the tunnel: received bytes to read, and a writer."""

    def __init__(self, protocol: Any, transport: asyncio.Transport | None) -> None:
        loop = asyncio.get_running_loop()
        self.received = aiohttp.StreamReader(protocol, _BUFFER, loop=loop)
        self.writer = StreamWriter(protocol, loop)
        self._transport = transport
        feed = _Feed(self.received)
        if isinstance(protocol, web.RequestHandler):
            protocol.set_parser(feed)  # type: ignore[arg-type]
        else:
            protocol.set_parser(feed, self.received)

    def close(self) -> None:
        if self._transport is None:
            return
        self._transport.close()
        # close() waits for its buffer to be sent; a side that reads nothing must not keep the socket.
        asyncio.get_running_loop().call_later(_GRACE, _give_up, self._transport)


def _give_up(transport: asyncio.Transport) -> None:
    # Python 3.11's transports cannot be aborted after closing, and do not say so: a closed one holds no bytes.
    if transport.get_write_buffer_size():
        transport.abort()


class _Feed:
    """A parser for aiohttp: takes the bytes after the handshake."""

    def __init__(self, reader: aiohttp.StreamReader) -> None:
        self._reader = reader

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()


async def _both_ways(up: _Side, down: _Side) -> None:
    pumps = [asyncio.create_task(_pump(down, up)), asyncio.create_task(_pump(up, down))]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()
        for end in await asyncio.gather(*pumps, return_exceptions=True):
            if isinstance(end, Exception) and not isinstance(end, ConnectionError):
                logger.error("websocket tunnel failed", exc_info=end)
        # A close frame and the end of the connection can arrive together, and the end cancels us: received bytes are
        # sent all the same.
        _flush(down, up)
        _flush(up, down)


async def _pump(source: _Side, sink: _Side) -> None:
    while chunk := await source.received.readany():
        await sink.writer.write(chunk)


def _flush(source: _Side, sink: _Side) -> None:
    transport = sink.writer.transport
    if transport is not None and not transport.is_closing() and (rest := source.received.read_nowait()):
        transport.write(rest)
