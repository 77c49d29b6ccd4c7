"""Probes and scrapes bypass authentication: they have no account, and use any address."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.web.destination import DESTINATION


@web.middleware
async def operations(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer these routes at once. On a project's own host such paths are forwarded like any other."""
    destination = request[DESTINATION]
    if destination.endpoint is not None and destination.is_operations:
        return await destination.endpoint.handler(request)
    return await handler(request)
