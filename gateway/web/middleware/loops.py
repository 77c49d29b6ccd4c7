"""Requests that come around: a project's container can be this gateway itself, or lead back to it.

Each request to a container says in ``Via`` (RFC 9110 7.6.3) which gateway has sent it, by a name that all processes and
replicas on one database share. One that arrives with that name has been here before.
"""

from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.errors import LoopDetected
from gateway.web.keys import PSEUDONYM

#: So many intermediaries stand in front of nobody's gateway.
MAX_HOPS: Final = 30


@web.middleware
async def loops(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what has passed this gateway already, or too many others."""
    if hdrs.VIA in request.headers:
        hops = ",".join(request.headers.getall(hdrs.VIA))
        if request.app[PSEUDONYM] in hops:
            raise LoopDetected("The request has passed this gateway before: the project's container leads back to it.")
        if hops.count(",") >= MAX_HOPS:
            raise LoopDetected(f"The request has passed more than {MAX_HOPS} proxies.")
    return await handler(request)
