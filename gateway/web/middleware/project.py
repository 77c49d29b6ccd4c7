"""Port mapping: which project a path means, and which port of its container.

``/api/projects/{id}/acp/…`` is the container's ACP port (4097), ``/api/projects/{id}/opencode/…`` OpenCode's (4096).
The rest of the path and the query reach the container byte for byte. A browser that opens OpenCode's page there is
sent on to the project's own host, all of which is OpenCode's (``identity.sites``).
"""

import re
from functools import lru_cache
from urllib.parse import unquote

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.errors import AgentNotFound, NotFound, PermissionNotFound, ProjectNotFound, RoleTooSmall, SessionNotFound
from gateway.follow.room import FOLLOWERS
from gateway.identity.roles import Role
from gateway.identity.room import IDENTITY
from gateway.identity.watch import Visit
from gateway.projects.room import PROJECTS
from gateway.projects.store import Project, acp_upstream, opencode_upstream
from gateway.proxy.upstream import Timeouts
from gateway.web.keys import (
    ASKED,
    CALLER,
    CAME_BY_PASS,
    CONFIG,
    LEAST_ROLES,
    OF_USER,
    PASSTHROUGH_TICKET,
    PROJECT,
    PUBLIC_ROUTES,
    ROLE,
    ROUTE,
    Route,
)
from gateway.web.middleware.browsers import browser_scheme
from gateway.web.middleware.passthrough import passthrough
from gateway.wire.hosts import Host

#: A request target of RFC 9112 3.2: a path whose fourth part names the port, maybe behind a scheme and an authority.
_TARGET = re.compile(r"(?:https?://[^/?]*)?(?:/[^/?]+){3}/([^/?]+)(.*)", re.DOTALL | re.IGNORECASE)
#: The same without looking into the path.
_ORIGIN_FORM = re.compile(r"(?:https?://[^/?]*)?(/.*)", re.DOTALL | re.IGNORECASE)
_PORTS = {"acp": acp_upstream, "opencode": opencode_upstream}
#: OpenCode answers these when a turn is over, which takes as long as it takes.
_TURNS = re.compile(r"/session/[^/?]+/(message|command|shell|summarize|init)([/?]|$)")

_MISSING: dict[str, type[NotFound]] = {
    "project_id": ProjectNotFound,
    "session_id": SessionNotFound,
    "permission_id": PermissionNotFound,
    "agent_id": AgentNotFound,
}


@web.middleware
async def project(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Look the project up together with who asks and what they may do in it, and say where its container is."""
    own = request[ASKED].project_id
    if own is not None:
        found = await _enter(request, own, Role.OPERATOR)
        target = _ORIGIN_FORM.fullmatch(request.raw_path)
        request[ROUTE] = _route(request, found, "opencode", target=target[1] if target else "/", prefix="")
        return await _watched(request, passthrough, Role.OPERATOR)
    project_id = request.match_info.get("project_id")
    if project_id is not None and request.match_info.route not in request.app[PUBLIC_ROUTES]:
        _refuse_impossible_ids(request)
        least = request.app[LEAST_ROLES][request.match_info.route] or Role.VIEWER
        found = await _enter(request, project_id, least)
        _check_reach(request)
        match = _TARGET.fullmatch(request.raw_path)
        if match and (port := match[1] if "%" not in match[1] else unquote(match[1])) in _PORTS:
            if port == "opencode" and _opens_a_page(request) and (host := _own_host(request, found)) is not None:
                return _to_own_host(request, host, target=match[2])
            prefix = f"/api/projects/{found.id}/{port}"
            request[ROUTE] = _route(request, found, port, target=match[2], prefix=prefix)
        return await _watched(request, handler, least)
    _check_reach(request)
    return await handler(request)


async def _watched(request: web.Request, handler: Handler, least: Role) -> web.StreamResponse:
    """Have the request broken off where its caller loses the access that it was let in with."""

    def end() -> None:
        if request.transport is not None:
            request.transport.abort()

    visit = Visit(caller=request[CALLER], project_id=request[PROJECT].id, least=least, end=end)
    watch = request.app[IDENTITY].watch
    watch.enter(visit)
    try:
        return await handler(request)
    finally:
        watch.leave(visit)


def for_operators(handler: Handler) -> Handler:
    """``handler`` for operators alone, below a route that lets in others, too."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        _check_role(request, Role.OPERATOR)
        return await _watched(request, handler, Role.OPERATOR)

    return guarded


async def _enter(request: web.Request, project_id: str, least: Role) -> Project:
    """The project, if the caller may do there what the route wants. What is not theirs is not there."""
    caller = request[CALLER]
    if not caller.may_see(project_id):
        raise ProjectNotFound(f"There is no project {project_id!r}.")
    access = await request.app[PROJECTS].store.access(caller.user_id, project_id)
    request[PROJECT] = access.project
    request[ROLE] = min(access.role, caller.max_role)
    _check_role(request, least)
    request.app[FOLLOWERS].stir(access.project.id)
    return access.project


def _check_role(request: web.Request, least: Role) -> None:
    role = request[ROLE]
    if role < least:
        raise RoleTooSmall(
            f"This needs the role {least.word} in the project {request[PROJECT].id!r}; yours is {role.word}.",
            role=role.word,
            needed=least.word,
        )


def _check_reach(request: web.Request) -> None:
    least = request.app[OF_USER].get(request.match_info.route)
    if least is not None:
        request[CALLER].check_reach(least)


def _opens_a_page(request: web.Request) -> bool:
    """Whether a browser asks in order to show the answer as a page (Fetch Metadata)."""
    return request.method == hdrs.METH_GET and request.headers.get("Sec-Fetch-Dest") == "document"


def _own_host(request: web.Request, found: Project) -> Host | None:
    return request.app[IDENTITY].sites.project_host(found.id, request[ASKED])


def _to_own_host(request: web.Request, host: Host, *, target: str) -> web.Response:
    path = target if target.startswith("/") else f"/{target}"
    return web.Response(status=307, headers={hdrs.LOCATION: f"{browser_scheme(request)}://{host}{path}"})


def _refuse_impossible_ids(request: web.Request) -> None:
    """An id with NUL in it is nobody's; the database could not even be asked."""
    if "%00" not in request.raw_path:
        return
    for name, missing in _MISSING.items():
        if "\0" in request.match_info.get(name, ""):
            raise missing()


def _route(request: web.Request, found: Project, port: str, *, target: str, prefix: str) -> Route:
    config = request.app[CONFIG].containers
    is_turn = port == "opencode" and request.method == hdrs.METH_POST and _TURNS.match(target)
    headers = None if is_turn else config.headers_timeout
    if request.get(CAME_BY_PASS):
        target = _without_ticket(target)
    timeouts = _timeouts(config.connect_timeout, headers, config.idle_timeout)
    return Route(_PORTS[port](found, config), target, prefix, timeouts)


def _without_ticket(target: str) -> str:
    """The rest of the query as it is."""
    path, mark, query = target.partition("?")
    rest = "&".join(part for part in query.split("&") if not part.startswith(f"{PASSTHROUGH_TICKET}="))
    return path + (mark if rest else "") + rest


@lru_cache(maxsize=4)
def _timeouts(connect: float, headers: float | None, idle: float) -> Timeouts:
    return Timeouts(connect=connect, headers=headers, idle=idle)
