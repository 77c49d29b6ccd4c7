"""Detects forwarding loops: a project's container can be this gateway itself, or lead back to it.

Forwarded requests carry in ``Via`` (RFC 9110 7.6.3) a pseudonym that all processes and replicas on one database share.
A request that arrives with it has been here before.
"""

from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.errors import LoopDetected
from gateway.web.keys import PSEUDONYM

MAX_HOPS: Final = 30


@web.middleware
async def loops(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests that have passed this gateway, or more than ``MAX_HOPS`` proxies."""
    if hdrs.VIA in request.headers:
        hops = ",".join(request.headers.getall(hdrs.VIA))
        if request.app[PSEUDONYM] in hops:
            raise LoopDetected("The request has passed this gateway before: the project's container leads back to it.")
        if hops.count(",") >= MAX_HOPS:
            raise LoopDetected(f"The request has passed more than {MAX_HOPS} proxies.")
    return await handler(request)
