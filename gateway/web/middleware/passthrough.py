"""Passthrough: what has no handler of ours goes to the container as it is, its 404 and 405 included."""

from functools import partial

from aiohttp import hdrs, web

from gateway.container.room import CONTAINERS
from gateway.errors import NotFound
from gateway.identity.local import LocalMode
from gateway.projects.room import PROJECTS
from gateway.proxy.forward import forward
from gateway.sessions.room import SESSIONS
from gateway.web.keys import CALLER, CONFIG, PROJECT, ROUTE, USER
from gateway.web.middleware.browsers import browser_scheme
from gateway.web.middleware.cookies import for_container
from gateway.web.middleware.fields import on_gateways_host, on_projects_host, to_container
from gateway.web.middleware.reserved import named_session
from gateway.web.middleware.sandbox import refuse_service_workers

_READING = {hdrs.METH_GET, hdrs.METH_HEAD}


async def passthrough(request: web.Request) -> web.StreamResponse:
    """Forward to the port that the path means."""
    if ROUTE not in request:
        raise NotFound("The path names no port of the project's container.")
    if request[ROUTE].prefix:
        return await _below_prefix(request)
    return await _on_own_host(request)


async def _below_prefix(request: web.Request) -> web.StreamResponse:
    route = request[ROUTE]
    refuse_service_workers(request)
    is_acp = route.prefix.endswith("/acp")
    if is_acp and (session := named_session(route.target)) is not None:
        await request.app[SESSIONS].sessions.refuse_anothers(request[PROJECT].id, session, request[USER])
    token = request.app[CONTAINERS].token(request[PROJECT]) if is_acp else ""
    return await forward(
        request,
        request.app[PROJECTS].client,
        route.upstream,
        route.target,
        timeouts=route.timeouts,
        scheme=browser_scheme(request),
        prefix=route.prefix,
        passes=to_container(_added(request), conditional=request.method not in _READING, page=not is_acp),
        extra_headers=[("Authorization", f"Bearer {token}")] if token else (),
        returned=on_gateways_host,
    )


async def _on_own_host(request: web.Request) -> web.StreamResponse:
    route = request[ROUTE]
    # A browser has a credential there only where a proxy in front adds it: as a user's name, a JWT or a token. Such a
    # proxy has cookies of its own, which are nothing for a container.
    is_marked = request[CALLER].mode != LocalMode.name
    cookies = for_container(request.headers.getall(hdrs.COOKIE, ()), is_marked=is_marked)
    return await forward(
        request,
        request.app[PROJECTS].client,
        route.upstream,
        route.target,
        timeouts=route.timeouts,
        scheme=browser_scheme(request),
        prefix="",
        passes=to_container(_added(request), conditional=True, page=True),
        extra_headers=[(hdrs.COOKIE, cookies)] if cookies else (),
        returned=partial(on_projects_host, is_marked=is_marked),
    )


def _added(request: web.Request) -> tuple[str, ...]:
    return request.app[CONFIG].containers.forward_headers
