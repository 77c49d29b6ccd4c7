"""Event streams: a project's, or one session's, from a cursor on."""

import asyncio
import logging
import math
import weakref

from aiohttp import hdrs, web
from aiohttp_sse import EventSourceResponse

from gateway.errors import DatabaseUnavailable, NotImplementedYet, ProjectNotFound
from gateway.handlers.requests import choice, parameter
from gateway.keys import CONFIG, FOLLOWERS, LOG, PROJECT, REQUEST_ID, SESSIONS, TAILS
from gateway.log.stream import Stream, judge
from gateway.wire.events import Cursor, Reset

logger = logging.getLogger(__name__)


class Streams(weakref.WeakSet[EventSourceResponse]):
    """The open streams of this process."""


STREAMS = web.AppKey("streams", Streams)
#: How often a stream that has nothing to say looks whether it should end.
LOOK_SECONDS = 1.0
#: How long a client may take nothing of what it is sent.
STALL_SECONDS = 60.0
_HEADERS = {hdrs.CACHE_CONTROL: "no-store, no-transform"}


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


async def stop_streams(app: web.Application) -> None:
    """End all streams, so that their clients come back to a gateway that goes on."""
    streams = app[STREAMS]
    for response in set(streams):
        response.stop_streaming()


async def _stream(request: web.Request, session_id: str | None) -> web.StreamResponse:
    project = request[PROJECT]
    from_start = choice(request, "from", {"start": True, "head": False}, default=False)
    last_event_id = request.headers.get("Last-Event-ID") or parameter(request, "lastEventId")
    log, tails = request.app[LOG], request.app[TAILS]
    async with tails.watch(project.id) as tail:
        request.app[FOLLOWERS].follow(project.id)
        place = judge(await log.head(project.id), last_event_id, from_start=from_start)
        response = await _open(request)
        retry = b"retry: %d\n" % math.ceil(request.app[CONFIG].events.retry * 1000)
        async with response:
            if isinstance(place, Reset):
                await response.write(retry + place.frame())
                place, retry = Cursor(place.epoch, place.head), b""
            stream = Stream(log, tail, project.id, place, session_id)
            await _relay(stream, response, retry)
    return response


async def _open(request: web.Request) -> EventSourceResponse:
    config = request.app[CONFIG].events
    response = EventSourceResponse(ping_interval=config.heartbeat, send_timeout=STALL_SECONDS)
    response.headers.update(_HEADERS)
    response.headers["X-Request-Id"] = request[REQUEST_ID]
    await response.prepare(request)
    request.app[STREAMS].add(response)
    # Something at once, so that whoever looks sees that the stream is open.
    await response.write(b": open\n\n")
    return response


async def _relay(stream: Stream, response: EventSourceResponse, retry: bytes) -> None:
    """Write the stream's chunks until the client leaves, the gateway stops or the project is gone.

    ``retry`` goes in front of the first block: in a block of its own it makes some clients emit an empty event.
    """
    while response.is_connected():
        try:
            chunk = await stream.next(LOOK_SECONDS)
        except ProjectNotFound:
            return
        except DatabaseUnavailable as exc:
            logger.warning("stream waits for the database", extra={"error": str(exc)})
            await asyncio.sleep(LOOK_SECONDS)
            continue
        if chunk is None:
            continue
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await response.write(retry + chunk.data)
        except TimeoutError:
            logger.info("stream ended: its client takes nothing")
            return
        except ConnectionError:
            logger.debug("stream ended: its client has gone")
            return
        retry = b""
        stream.advance(chunk)
