"""Classifies each request first, for all later middleware."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.web.destination import DESTINATION, destination_of


@web.middleware
async def classified(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Set the destination; ``errors`` refuses the request if that is ambiguous."""
    request[DESTINATION] = destination_of(request)
    return await handler(request)
