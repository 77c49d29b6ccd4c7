"""The journal as server-sent events. A stream is a position in the journal, so slow clients hold nothing up."""

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
    """Send events after `Last-Event-ID`, or from now on, until the client disconnects or the host stops.

    A client that does not read for `stall_timeout` seconds is disconnected, and can resume. One that has fallen behind
    the oldest kept event gets a gap.
    """
    config, journal = host.config, host.journal
    response = EventSourceResponse(ping_interval=config.heartbeat, send_timeout=config.stall_timeout)
    response.headers["Cache-Control"] = "no-store, no-transform"
    # Before anything is awaited, so that no event is missed.
    start = journal.start(request.headers.get("Last-Event-ID"))
    await response.prepare(request)
    host.streams += 1
    try:
        async with response:
            # aiohttp sends the headers with the first bytes.
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
                    # The timeout only serves to notice a disconnect.
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
