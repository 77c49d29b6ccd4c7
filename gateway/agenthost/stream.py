"""The journal as server-sent events. A stream is a place in the journal: nothing waits for a client that is slow."""

import asyncio
import contextlib

from aiohttp import web
from aiohttp_sse import EventSourceResponse

from gateway.agenthost.host import AgentHost
from gateway.agenthost.journal import gap_frame
from gateway.wire.sse import encode_comment

#: Bytes of frames that are written at once.
_BATCH = 256 * 1024


async def serve(request: web.Request, host: AgentHost, session_id: str | None) -> web.StreamResponse:
    """Send what comes after `Last-Event-ID`, or from now on, until the client or the host goes.

    A client that leaves a write unread for `stall_timeout` seconds is dropped, and resumes by id. One that has fallen
    behind what the journal keeps is told so by a gap.
    """
    config, journal = host.config, host.journal
    response = EventSourceResponse(ping_interval=config.heartbeat, send_timeout=config.stall_timeout)
    response.headers["Cache-Control"] = "no-store, no-transform"
    # Before anything is awaited: what happens meanwhile is after this place.
    start = journal.start(request.headers.get("Last-Event-ID"))
    await response.prepare(request)
    host.streams += 1
    try:
        async with response:
            # aiohttp sends the headers with the first bytes; a client waits for them.
            await response.write(encode_comment("stream open"))
            while response.is_connected():
                frames, cursor = journal.read(start.after, session_id, _BATCH)
                if start.missing is not None:
                    frames = gap_frame(journal, start) + frames
                if frames:
                    async with asyncio.timeout(config.stall_timeout):
                        await response.write(frames)
                elif journal.closed:
                    break
                if cursor == journal.head and not journal.closed:
                    # The limit only serves to notice that the client has gone.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(config.heartbeat):
                            await journal.moved(cursor)
                start = journal.after(cursor)
    except (ConnectionError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()
    finally:
        host.streams -= 1
    return response
