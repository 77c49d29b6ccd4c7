"""One request through the gateway: streamed both ways, changed only where a hop must.

Limits: an answer that ends with the upstream's connection (no ``Content-Length``, no chunking) may be truncated without
notice, RFC 9112 8; trailers and interim answers (1xx) are not forwarded; a ``304`` loses its ``Content-Length``.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Self, cast

from aiohttp import hdrs, web
from aiohttp.http import StreamWriter
from multidict import CIMultiDict

from gateway.errors import UpstreamError, UpstreamUnreachable
from gateway.proxy import websocket
from gateway.proxy.answer import Answer
from gateway.proxy.client import Client
from gateway.proxy.expect import ask_for_body
from gateway.proxy.headers import Passes, everything, to_upstream
from gateway.proxy.response import ForwardedResponse, Returned, unchanged
from gateway.proxy.upstream import Timeouts, Upstream

logger = logging.getLogger(__name__)

#: The answer is an event stream, which lasts as long as its client likes; or it broke off.
STREAMED = web.RequestKey("streamed", bool)
BROKEN_OFF = web.RequestKey("broken_off", bool)


async def forward(
    request: web.Request,
    client: Client,
    upstream: Upstream,
    target: str,
    *,
    timeouts: Timeouts,
    scheme: str,
    prefix: str,
    passes: Passes = everything,
    extra_headers: Iterable[tuple[str, str]] = (),
    returned: Returned = unchanged,
) -> web.StreamResponse:
    """Send ``request`` to ``target`` (raw path and query) below ``upstream``, and return its answer; WebSockets too.

    ``scheme`` is the client's, for ``X-Forwarded-Proto``; ``prefix`` the path that was removed to get ``target``, for
    ``X-Forwarded-Prefix``. ``passes`` selects the client's fields for the upstream; ``extra_headers`` replace the
    client's. ``returned`` gives the answer's fields for the client.

    Until the answer begins, failures are raised: ``UpstreamUnreachable``, ``UpstreamRefused``, ``UpstreamTimeout``,
    ``RequestStalled``, ``BadRequest``. Later the client's connection is aborted, so that it sees a truncated answer.
    With ``expect.leave_to_reader`` on the route, a client that sends ``Expect: 100-continue`` uploads nothing before
    the upstream is connected.
    """
    response: web.StreamResponse | None = None
    try:
        async with client.open(
            request.method,
            upstream,
            target,
            headers=_request_headers(request, scheme, prefix, passes, extra_headers),
            body=_Body(request) if request.body_exists else None,
            timeouts=timeouts,
        ) as answer:
            if answer.status == 101:
                return await _switch(request, answer, returned)
            response = ForwardedResponse.of(answer, returned)
            await _relay(request, answer, response, timeouts)
    except (UpstreamError, TimeoutError) as exc:
        if response is None or not response.prepared:
            raise
        request[BROKEN_OFF] = True
        logger.info("answer broken off", extra={"upstream": str(upstream), "reason": str(exc) or "client too slow"})
        if request.transport is not None:
            request.transport.abort()
    return response


def _request_headers(
    request: web.Request, scheme: str, prefix: str, passes: Passes, extra: Iterable[tuple[str, str]]
) -> CIMultiDict[str]:
    # The raw field: request.host would be the target's host, and without either (HTTP/1.0) this machine's name, by a
    # blocking look-up.
    host = request.headers.get(hdrs.HOST)
    headers = to_upstream(
        request.headers, client=request.remote, scheme=scheme, host=host, prefix=prefix, passes=passes
    )
    for name, value in extra:
        headers[name] = value
    if websocket.is_handshake(request):
        headers.update(websocket.HANDSHAKE)
    return headers


async def _switch(request: web.Request, answer: Answer, returned: Returned) -> web.StreamResponse:
    if not websocket.is_handshake(request):
        raise UpstreamUnreachable("The project's container switched protocols without being asked.")
    return await websocket.tunnel(request, answer, returned)


async def _relay(request: web.Request, answer: Answer, response: web.StreamResponse, timeouts: Timeouts) -> None:
    if _is_event_stream(answer):
        request[STREAMED] = True
        answer.limit_silence(None)
    content, writer = answer.content, cast(StreamWriter, request.writer)
    try:
        await response.prepare(request)
        if not content.total_bytes:
            writer.send_headers()
        while chunk := await content.readany():
            if content.at_eof():
                await response.write_eof(chunk)
                return
            await writer.write(chunk, drain=False)
            if request.protocol.writing_paused:
                async with asyncio.timeout(timeouts.idle):
                    await writer.drain()
        await response.write_eof()
    except ConnectionError:
        logger.debug("the client went away")


def _is_event_stream(answer: Answer) -> bool:
    return answer.content_type == "text/event-stream"


class _Body:
    """The client's request body, requested once the upstream's connection is open."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        # aiohttp holds a request's head until there is a piece of its body, which may come late or only after the
        # answer's head: an empty piece releases it.
        self._head_waits = request.content.total_bytes == 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._head_waits:
            self._head_waits = False
            return b""
        ask_for_body(self._request)
        chunk = await self._request.content.readany()
        if not chunk:
            raise StopAsyncIteration
        return chunk
