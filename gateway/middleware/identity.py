"""Who asks."""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.identity.caller import Presented
from gateway.keys import CALLER, IDENTITY, PUBLIC_ROUTES, USER
from gateway.middleware.hosts import project_of_host
from gateway.middleware.sites import is_here


@web.middleware
async def identity(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out who sends the request; ``Unauthenticated`` where nobody knows."""
    host = request.headers.get(hdrs.HOST, "localhost")
    # On a project's own host every path is its container's.
    if request.match_info.route not in request.app[PUBLIC_ROUTES] or project_of_host(host) is not None:
        presented = Presented(headers=request.headers, peer=request.remote, to_loopback=is_here(f"//{host}"))
        caller = request[CALLER] = await request.app[IDENTITY].identify(presented)
        request[USER] = caller.user_id
    return await handler(request)
