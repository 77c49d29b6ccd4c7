"""How fast one user may ask."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.keys import LIMITS, USER


@web.middleware
async def limiting(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a user's request where they come too fast. Where nobody had to say who they are nothing is counted."""
    user_id = request.get(USER)
    if user_id is not None:
        await request.app[LIMITS].request(user_id)
    return await handler(request)
