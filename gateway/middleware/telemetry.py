"""What is measured of each request: by its route's template, never by its path."""

import asyncio
import time
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.keys import METRICS, STREAM_ROUTES
from gateway.middleware.hosts import project_of_host

UNMATCHED: Final = "unmatched"
#: All of a container's OpenCode on its project's own host.
OWN_HOST: Final = "project-host"
#: In the place of a status: the client left before there was one; the answer broke off.
LEFT: Final = "left"
BROKEN: Final = "broken"


@web.middleware
async def telemetry(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Time what the others do, and note its outcome."""
    began = time.perf_counter()
    status = BROKEN
    try:
        response = await handler(request)
        status = str(response.status)
        return response
    except asyncio.CancelledError:
        status = LEFT
        raise
    finally:
        lasts = request.match_info.route.name in STREAM_ROUTES or status == "101"
        seconds = None if lasts else time.perf_counter() - began
        request.app[METRICS].request(request.method, route_of(request), status, seconds)


def route_of(request: web.Request) -> str:
    """The template of the request's route."""
    if project_of_host(request.headers.get(hdrs.HOST, "")) is not None:
        return OWN_HOST
    resource = request.match_info.route.resource
    return UNMATCHED if resource is None else resource.canonical
