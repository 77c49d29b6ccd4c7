"""Metrics, traces and access logs of requests, by route template and never by path."""

import asyncio
import logging
import time

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.proxy.forward import BROKEN_OFF, STREAMED
from gateway.telemetry.metrics import BROKEN, LEFT
from gateway.telemetry.room import TELEMETRY
from gateway.web.destination import DESTINATION
from gateway.web.keys import REQUEST_ID, SETTINGS, WRITTEN

access = logging.getLogger("gateway.access")


@web.middleware
async def telemetry(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Time the request, and record its outcome."""
    began = time.perf_counter()
    destination = request[DESTINATION]
    is_stream = destination.stream is not None
    span = request.app[TELEMETRY].tracing.begin_request(request.method, request.headers, is_stream=is_stream)
    status, response = BROKEN, None
    try:
        response = await handler(request)
        status = BROKEN if BROKEN_OFF in request else str(response.status)
        return response
    except asyncio.CancelledError:
        status = LEFT
        raise
    finally:
        lasts = is_stream or status == "101" or STREAMED in request
        seconds, route = time.perf_counter() - began, destination.label
        request.app[TELEMETRY].metrics.request(request.method, route, status, None if lasts else seconds)
        if span is not None:
            span.end(None if response is None else response.status, route=route)
        if request.app[SETTINGS].config.logging.access:
            _log(request, response, route, status, seconds)


def _log(request: web.Request, response: web.StreamResponse | None, route: str, status: str, seconds: float) -> None:
    access.info(
        "request",
        extra={
            "request": request.get(REQUEST_ID),
            "method": request.method,
            "route": route,
            "status": status,
            "bytes": _bytes(request, response),
            "ms": round(1000 * seconds, 1),
        },
    )


def _bytes(request: web.Request, response: web.StreamResponse | None) -> int:
    """Bytes of the response: of its body if it is still to be sent, else of all that was sent."""
    if WRITTEN in request:
        return request[WRITTEN]
    if response is not None and not response.prepared:
        return response.content_length or 0
    return request.writer.output_size
