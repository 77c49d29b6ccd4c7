"""Event streams: a project's, or one session's, or another log's of the project, from a cursor on."""

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

#: What the system holds for a client that reads nothing; it may take twice as much, with its own bookkeeping.
SEND_BUFFER: Final = 65_536
#: The response's own heartbeats are comments, which no script can see: it is never to send one.
_NEVER: Final = 1e9


async def project_events(request: web.Request) -> web.StreamResponse:
    """All events of the project."""
    return await stream_log(request, LogId(request[PROJECT].id))


async def session_events(request: web.Request) -> web.StreamResponse:
    """One session's events, and the project's gaps."""
    session = await request.app[SESSIONS].sessions.get(request[PROJECT].id, request.match_info["session_id"])
    return await stream_log(request, LogId(request[PROJECT].id), session.id)


async def own_transport(request: web.Request) -> web.StreamResponse:
    """The bare ``/acp`` belongs to ACP's own HTTP and WebSocket transport."""
    raise NotImplementedYet("ACP's own transport is not served yet; use the routes below this path.")


def last_event_id_of(request: web.Request) -> str | None:
    """The id that the client names."""
    return request.headers.get(LAST_EVENT_ID_HEADER.name) or text(request, LAST_EVENT_ID)


async def stream_log(
    request: web.Request, log_id: LogId, session_id: str | None = None, dialect: Dialect = OWN
) -> web.StreamResponse:
    """Stream a log of the request's project, or what it holds of one session."""
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
                # The end of the answer would wait for a client that takes nothing.
                request.transport.abort()
            elif not dialect.comes_back_from_an_end and (channel.tail.ended or not channel.tail.gone):
                # What waits is sent, and no end of the answer.
                request.transport.close()
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


def _first(dialect: Dialect, place: Cursor | Reset, last_event_id: str | None, retry: int) -> bytes:
    """The first block, at once, so that whoever looks sees that the stream is open, and a client knows its place."""
    if isinstance(place, Reset):
        # The client's own id: one that got this block alone must be told of the reset again.
        return dialect.begin(Cursor.parse(last_event_id or ""), retry=retry) + dialect.reset(place)
    return dialect.begin(place, retry=retry)
