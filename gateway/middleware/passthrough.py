"""Passthrough: what has no handler of ours goes to the container as it is, its 404 and 405 included."""

from aiohttp import web

from gateway.keys import CLIENT, CONTAINERS, PROJECT, ROUTE
from gateway.proxy.forward import forward


async def passthrough(request: web.Request) -> web.StreamResponse:
    """Forward to the port that the path means."""
    route = request[ROUTE]
    token = request.app[CONTAINERS].token(request[PROJECT]) if route.prefix.endswith("/acp") else ""
    secret = [("Authorization", f"Bearer {token}")] if token else []
    return await forward(
        request,
        request.app[CLIENT],
        route.upstream,
        route.target,
        timeouts=route.timeouts,
        prefix=route.prefix,
        extra_headers=secret,
    )
