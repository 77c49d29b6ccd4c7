"""Event streams of a project or of one session, from a cursor."""

import math
import socket
from contextlib import AsyncExitStack
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp_sse import EventSourceResponse

from gateway.errors import NotImplementedYet
from gateway.follow.room import FOLLOWERS
from gateway.log.ids import LogId
from gateway.projects.room import PROJECTS
from gateway.sessions.room import SESSIONS
from gateway.stream.dialects import OWN, Dialect
from gateway.stream.room import STREAMS
from gateway.stream.stream import Stream
from gateway.web.handlers.parameters import FROM, LAST_EVENT_ID, LAST_EVENT_ID_HEADER
from gateway.web.handlers.requests import choice, text
from gateway.web.keys import CONFIG, PROJECT, REQUEST_ID, USER, WRITTEN
from gateway.wire.events import Cursor, Reset

#: Bytes buffered by the kernel for a client that does not read; Linux doubles the value.
SEND_BUFFER: Final = 65_536
#: aiohttp-sse's heartbeats are comments, which scripts cannot see; we send our own.
_NEVER: Final = 1e9


async def project_events(request: web.Request) -> web.StreamResponse:
    """All events of the project."""
    return await stream_log(request, LogId(request[PROJECT].id))


async def session_events(request: web.Request) -> web.StreamResponse:
    """The events of one session, and the project's gaps and changes."""
    session = await request.app[SESSIONS].sessions.get(request[PROJECT].id, request.match_info["session_id"])
    return await stream_log(request, LogId(request[PROJECT].id), session.id)


async def own_transport(request: web.Request) -> web.StreamResponse:
    """Reserved for ACP's own HTTP and WebSocket transport."""
    raise NotImplementedYet("ACP's own transport is not served yet; use the routes below this path.")


def last_event_id_of(request: web.Request) -> str | None:
    return request.headers.get(LAST_EVENT_ID_HEADER.name) or text(request, LAST_EVENT_ID)


async def stream_log(
    request: web.Request, log_id: LogId, session_id: str | None = None, dialect: Dialect = OWN
) -> web.StreamResponse:
    """Stream a log of the request's project, or one session's part of it."""
    from_start = choice(request, FROM) == "start"
    last_event_id = last_event_id_of(request)
    streams = request.app[STREAMS].streams
    async with AsyncExitStack() as stack:
        stack.enter_context(request.app[PROJECTS].limits.stream(request[USER]))
        channel = await stack.enter_async_context(streams.channel(log_id))
        request.app[FOLLOWERS].follow(request[PROJECT].id)
        place = await streams.begin(channel, last_event_id, from_start=from_start)
        response = _response(request)
        writer = await response.prepare(request)
        if writer is None or request.transport is None:
            return response
        async with response:
            cursor = Cursor(place.epoch, place.head) if isinstance(place, Reset) else place
            is_chunked = request.version >= HttpVersion11
            stream = Stream(request.transport, writer.drain, cursor, session_id, is_chunked=is_chunked, dialect=dialect)
            retry = math.ceil(request.app[CONFIG].events.retry * 1000)
            stream.write(_first(dialect, place, last_event_id, retry))
            try:
                await streams.serve(channel, stream)
            finally:
                request[WRITTEN] = stream.written
            if stream.is_full:
                # Ending the response would wait for a client that does not read.
                request.transport.abort()
            elif not dialect.comes_back_from_an_end and (channel.tail.ended or not channel.tail.gone):
                # Send what is buffered, without ending the response.
                request.transport.close()
    return response


def _response(request: web.Request) -> EventSourceResponse:
    config = request.app[CONFIG].events
    response = EventSourceResponse(ping_interval=_NEVER, send_timeout=config.stall)
    response.headers[hdrs.CACHE_CONTROL] = "no-store, no-transform"
    response.headers["X-Request-Id"] = request[REQUEST_ID]
    # aiohttp sets it as the client's request requires.
    del response.headers[hdrs.CONNECTION]
    if request.version < HttpVersion11:
        # Without chunks, closing the connection ends the response.
        response.force_close()
    connection = request.transport.get_extra_info("socket") if request.transport else None
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    return response


def _first(dialect: Dialect, place: Cursor | Reset, last_event_id: str | None, retry: int) -> bytes:
    """The first block, sent at once: it shows that the stream is open, and tells the client its cursor."""
    if isinstance(place, Reset):
        # With the client's own id: if it gets no more than this block, it must get the reset next time.
        return dialect.begin(Cursor.parse(last_event_id or ""), retry=retry) + dialect.reset(place)
    return dialect.begin(place, retry=retry)
