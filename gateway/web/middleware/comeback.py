"""In place of 429 and 5xx, a stream route answers with an event stream that says ``retry:`` and ends.

A browser's ``EventSource`` gives up for good on any status but 200 (WHATWG HTML, 9.2.3 "Processing model").
"""

import random

from aiohttp import hdrs, web

from gateway.errors import GatewayError, LoopDetected
from gateway.stream.dialects import OWN
from gateway.web.destination import DESTINATION
from gateway.web.keys import CONFIG, PROJECT
from gateway.wire.events import Cursor

_TOO_MANY = 429
_HEADERS = {hdrs.CACHE_CONTROL: "no-store, no-transform", "X-Accel-Buffering": "no"}


def must_come_back(request: web.Request, exc: GatewayError) -> bool:
    """Whether the response is a temporary error to a client of an event stream."""
    stream = request[DESTINATION].stream
    return (
        (exc.status >= 500 or exc.status == _TOO_MANY)
        and (stream is OWN or (stream is not None and _is_recorded_for_a_browser(request)))
        and not isinstance(exc, LoopDetected)
    )


def come_back(request: web.Request) -> web.Response:
    """One block with the client's own id: without an id some clients would lose theirs."""
    retry = round(1000 * request.app[CONFIG].events.retry * random.uniform(1, 3))
    known = Cursor.parse(request.headers.get("Last-Event-ID", ""))
    block = (request[DESTINATION].stream or OWN).heartbeat(known, retry=retry)
    return web.Response(body=block, content_type="text/event-stream", headers=_HEADERS)


def _is_recorded_for_a_browser(request: web.Request) -> bool:
    """OpenCode's own clients, which accept any type, retry after any status, and not after a stream's end."""
    return (
        PROJECT in request
        and request[PROJECT].record_opencode_events
        and "text/event-stream" in request.headers.get(hdrs.ACCEPT, "")
    )
