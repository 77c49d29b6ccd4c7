"""The first look at a request: what it is for, for all who come after."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.web.destination import DESTINATION, destination_of


@web.middleware
async def classified(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Note what the request is for; whether that could be told is for ``errors``, which answers."""
    request[DESTINATION] = destination_of(request)
    return await handler(request)
