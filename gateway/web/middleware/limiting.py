"""How fast one user may ask, and how much at once."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.projects.room import PROJECTS
from gateway.web.keys import BODIES, BODY_PLACE, USER


@web.middleware
async def limiting(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a user's request where they come too fast. Where nobody had to say who they are nothing is counted."""
    user_id = request.get(USER)
    if user_id is None:
        return await handler(request)
    await request.app[PROJECTS].limits.request(user_id)
    place = request[BODY_PLACE] = request.app[BODIES].place(user_id)
    try:
        return await handler(request)
    finally:
        place.leave()
