"""Passthrough: what has no handler of ours goes to the container as it is, its 404 and 405 included."""

from aiohttp import web

from gateway.keys import CLIENT, CONFIG, ROUTE
from gateway.proxy.forward import forward


async def passthrough(request: web.Request) -> web.StreamResponse:
    """Forward to the port that the path means."""
    route = request[ROUTE]
    token = request.app[CONFIG].containers.token
    secret = [("Authorization", f"Bearer {token}")] if token and route.prefix.endswith("/acp") else []
    return await forward(
        request,
        request.app[CLIENT],
        route.upstream,
        route.target,
        timeouts=route.timeouts,
        prefix=route.prefix,
        extra_headers=secret,
    )
