"""What operators' machinery asks goes past identity: a probe has no account, and calls by whatever address it has."""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.keys import OPERATIONS_ROUTES
from gateway.middleware.hosts import project_of_host


@web.middleware
async def operations(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer such a route at once. On a project's own host its path is the container's, like any other."""
    route = request.match_info.route
    if route.name in OPERATIONS_ROUTES and project_of_host(request.headers.get(hdrs.HOST, "")) is None:
        return await route.handler(request)
    return await handler(request)
