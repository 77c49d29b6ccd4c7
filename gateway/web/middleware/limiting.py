"""Limits each user's request rate, and the bytes of bodies at once."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.identity.room import IDENTITY
from gateway.projects.room import PROJECTS
from gateway.web.keys import BODIES, BODY_PLACE, USER


@web.middleware
async def limiting(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests that come too fast, and count bodies by user or, without authentication, by address."""
    user_id = request.get(USER)
    if user_id is None:
        client = request.app[IDENTITY].proxies.client_of(request.headers, request.remote)
        place = request.app[BODIES].strangers_place(client)
    else:
        await request.app[PROJECTS].limits.request(user_id)
        place = request.app[BODIES].place(user_id)
    request[BODY_PLACE] = place
    try:
        return await handler(request)
    finally:
        place.leave()
