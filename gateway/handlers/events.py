"""Event streams: a project's, or one session's, from a cursor on."""

import math
import socket
from contextlib import AsyncExitStack
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp_sse import EventSourceResponse

from gateway.errors import NotImplementedYet
from gateway.handlers.parameters import FROM, LAST_EVENT_ID, LAST_EVENT_ID_HEADER
from gateway.handlers.requests import choice, text
from gateway.keys import CONFIG, FOLLOWERS, LIMITS, PROJECT, REQUEST_ID, SESSIONS, STREAMS, USER, WRITTEN
from gateway.log.stream import Stream
from gateway.wire.events import Cursor, Heartbeat, Reset

#: What the system holds for a client that reads nothing; it may take twice as much, with its own bookkeeping.
SEND_BUFFER: Final = 65_536
#: The response's own heartbeats are comments, which no script can see: it is never to send one.
_NEVER: Final = 1e9


async def project_events(request: web.Request) -> web.StreamResponse:
    """All events of the project."""
    return await _stream(request, None)


async def session_events(request: web.Request) -> web.StreamResponse:
    """One session's events, and the project's gaps."""
    session = await request.app[SESSIONS].get(request[PROJECT].id, request.match_info["session_id"])
    return await _stream(request, session.id)


async def own_transport(request: web.Request) -> web.StreamResponse:
    """The bare ``/acp`` belongs to ACP's own HTTP and WebSocket transport."""
    raise NotImplementedYet("ACP's own transport is not served yet; use the routes below this path.")


async def _stream(request: web.Request, session_id: str | None) -> web.StreamResponse:
    project_id = request[PROJECT].id
    from_start = choice(request, FROM) == "start"
    last_event_id = request.headers.get(LAST_EVENT_ID_HEADER.name) or text(request, LAST_EVENT_ID)
    streams = request.app[STREAMS]
    async with AsyncExitStack() as stack:
        stack.enter_context(request.app[LIMITS].stream(request[USER]))
        channel = await stack.enter_async_context(streams.channel(project_id))
        request.app[FOLLOWERS].follow(project_id)
        place = await streams.begin(channel, last_event_id, from_start=from_start)
        response = _response(request)
        writer = await response.prepare(request)
        if writer is None or request.transport is None:
            return response
        async with response:
            cursor = Cursor(place.epoch, place.head) if isinstance(place, Reset) else place
            is_chunked = request.version >= HttpVersion11
            stream = Stream(request.transport, writer.drain, cursor, session_id, is_chunked=is_chunked)
            stream.write(_first(place, last_event_id, math.ceil(request.app[CONFIG].events.retry * 1000)))
            try:
                await streams.serve(channel, stream)
            finally:
                request[WRITTEN] = stream.written
            if stream.is_full:
                # The end of the answer would wait for a client that takes nothing.
                request.transport.abort()
    return response


def _response(request: web.Request) -> EventSourceResponse:
    config = request.app[CONFIG].events
    response = EventSourceResponse(ping_interval=_NEVER, send_timeout=config.stall)
    response.headers[hdrs.CACHE_CONTROL] = "no-store, no-transform"
    response.headers["X-Request-Id"] = request[REQUEST_ID]
    # What the client asked for decides, not the response's own promise.
    del response.headers[hdrs.CONNECTION]
    if request.version < HttpVersion11:
        # Without chunks the end of the connection is the end of the answer.
        response.force_close()
    connection = request.transport.get_extra_info("socket") if request.transport else None
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    return response


def _first(place: Cursor | Reset, last_event_id: str | None, retry: int) -> bytes:
    """The first block, at once, so that whoever looks sees that the stream is open, and a client knows its place."""
    if isinstance(place, Reset):
        # The client's own id: one that got this block alone must be told of the reset again.
        return Heartbeat.frame(Cursor.parse(last_event_id or ""), retry=retry) + place.frame()
    return Heartbeat.frame(place, retry=retry)
