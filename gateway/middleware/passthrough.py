"""Passthrough: what has no handler of ours goes to the container as it is, its 404 and 405 included."""

from aiohttp import web

from gateway.identity.proxy import ProxyMode
from gateway.keys import CLIENT, CONFIG, CONTAINERS, PROJECT, ROUTE, SESSIONS, USER
from gateway.middleware.browsers import for_gateways_own_host, for_whoever_is_in_front, is_page_on_gateways_host
from gateway.middleware.reserved import named_session
from gateway.proxy.forward import forward

#: A container's page that has the gateway's address gets an origin of its own, and not the gateway's cookies and API.
_SANDBOX = (("Content-Security-Policy", "sandbox allow-scripts allow-forms allow-popups allow-downloads"),)


async def passthrough(request: web.Request) -> web.StreamResponse:
    """Forward to the port that the path means."""
    route = request[ROUTE]
    is_acp = route.prefix.endswith("/acp")
    if is_acp and (session := named_session(route.target)) is not None:
        await request.app[SESSIONS].refuse_anothers(request[PROJECT].id, session, request[USER])
    config = request.app[CONFIG]
    token = request.app[CONTAINERS].token(request[PROJECT]) if is_acp else ""
    secret = [("Authorization", f"Bearer {token}")] if token else []
    return await forward(
        request,
        request.app[CLIENT],
        route.upstream,
        route.target,
        timeouts=route.timeouts,
        prefix=route.prefix,
        extra_headers=secret,
        unsent=(config.identity.proxy_header,) if ProxyMode.name in config.identity.modes else (),
        withheld=for_gateways_own_host if route.prefix else for_whoever_is_in_front,
        added=_SANDBOX if is_page_on_gateways_host(request) else (),
    )
