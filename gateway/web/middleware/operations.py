"""What operators' machinery asks goes past identity: a probe has no account, and calls by whatever address it has."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.web.destination import DESTINATION


@web.middleware
async def operations(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer such a route at once. On a project's own host its path is the container's, like any other."""
    destination = request[DESTINATION]
    if destination.endpoint is not None and destination.is_operations:
        return await destination.endpoint.handler(request)
    return await handler(request)
