"""Passthrough: any path without a handler is forwarded to the container, whose 404 and 405 are returned unchanged."""

from collections.abc import Callable, Mapping
from functools import partial

import attrs
from aiohttp import hdrs, web
from multidict import CIMultiDict

from gateway.container.room import CONTAINERS
from gateway.errors import NotFound
from gateway.identity.local import LocalMode
from gateway.projects.room import PROJECTS
from gateway.proxy.answer import Answer
from gateway.proxy.forward import forward
from gateway.sessions.room import SESSIONS
from gateway.web.keys import CALLER, CONFIG, PROJECT, ROUTE, USER
from gateway.web.middleware.browsers import browser_scheme
from gateway.web.middleware.cookies import for_container
from gateway.web.middleware.fields import has_condition, on_gateways_host, on_projects_host, to_container
from gateway.web.middleware.reserved import named_session, with_session
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
    if is_acp and (name := named_session(route.target)) is not None:
        sessions = request.app[SESSIONS].sessions
        known = await sessions.in_container_for(request[USER], request[PROJECT].id, name)
        if known != name:
            request[ROUTE] = attrs.evolve(route, target=with_session(route.target, known))
    fields = partial(on_gateways_host, has_condition=has_condition(request))
    conditional = request.method not in _READING
    return await _forward(request, fields, {}, conditional=conditional, page=not is_acp)


async def _on_own_host(request: web.Request) -> web.StreamResponse:
    # Unless in local mode, a proxy in front adds the credential: a user's name, a JWT or a token. Such a proxy has
    # cookies of its own, which containers must not get.
    is_marked = request[CALLER].mode != LocalMode.name
    cookies = for_container(request.headers.getall(hdrs.COOKIE, ()), is_marked=is_marked)
    added: dict[str, str] = {hdrs.COOKIE: cookies} if cookies else {}
    return await _forward(request, partial(on_projects_host, is_marked=is_marked), added, conditional=True, page=True)


async def _forward(
    request: web.Request,
    returned: Callable[[Answer], CIMultiDict[str]],
    added: Mapping[str, str],
    *,
    conditional: bool,
    page: bool,
) -> web.StreamResponse:
    route = request[ROUTE]
    authorization = request.app[CONTAINERS].authorization(request[PROJECT], route.port)
    if authorization is not None:
        added = {**added, str(hdrs.AUTHORIZATION): authorization}
    return await forward(
        request,
        request.app[PROJECTS].client,
        route.upstream,
        route.target,
        timeouts=route.timeouts,
        scheme=browser_scheme(request),
        prefix=route.prefix,
        passes=to_container(request.app[CONFIG].containers.forward_headers, conditional=conditional, page=page),
        extra_headers=added.items(),
        returned=returned,
    )
