"""What operators' machinery asks goes past identity: a probe has no account, and calls by whatever address it has."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.web.keys import ASKED, OPERATIONS_ROUTES


@web.middleware
async def operations(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer such a route at once. On a project's own host its path is the container's, like any other."""
    route = request.match_info.route
    if route.name in OPERATIONS_ROUTES and request[ASKED].project_id is None:
        return await route.handler(request)
    return await handler(request)
