"""Looks up the project of a request together with the caller's role in it, and refuses callers without the role.

A browser that opens OpenCode's page on the gateway's host is redirected to the project's own host (``identity.sites``).
"""

from functools import lru_cache

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.errors import (
    AgentNotFound,
    InsufficientRole,
    NotFound,
    PermissionNotFound,
    ProjectNotFound,
    SessionNotFound,
)
from gateway.follow.room import FOLLOWERS
from gateway.identity.access_monitor import OpenRequest
from gateway.identity.roles import Role
from gateway.identity.room import IDENTITY
from gateway.projects.room import PROJECTS
from gateway.projects.store import Project, acp_upstream, opencode_upstream
from gateway.proxy.upstream import Timeouts
from gateway.web.destination import DESTINATION, Target
from gateway.web.keys import (
    CALLER,
    CAME_BY_PASS,
    CONFIG,
    PASSTHROUGH_TICKET,
    PROJECT,
    ROLE,
    ROUTE,
    Route,
)
from gateway.web.middleware.browsers import browser_scheme
from gateway.web.middleware.passthrough import passthrough
from gateway.wire.hosts import Host

_PORTS = {"acp": acp_upstream, "opencode": opencode_upstream}
#: OpenCode answers these when a turn is over, which takes as long as it takes.

_MISSING: dict[str, type[NotFound]] = {
    "project_id": ProjectNotFound,
    "session_id": SessionNotFound,
    "permission_id": PermissionNotFound,
    "agent_id": AgentNotFound,
}


@web.middleware
async def project(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Authorize the request in its project, and set its route to the container."""
    destination = request[DESTINATION]
    project_id, target = destination.project_id, destination.target
    if project_id is None or destination.is_public:
        _check_reach(request)
        return await handler(request)
    if destination.on_own_host:
        handler = passthrough
    else:
        _refuse_impossible_ids(request)
    found = await _enter(request, project_id, destination.least_role)
    _check_reach(request)
    if target is not None:
        is_page = target.port == "opencode" and not destination.on_own_host and _opens_a_page(request)
        if is_page and (host := _own_host(request, found)) is not None:
            return _to_own_host(request, host, target=target.raw)
        request[ROUTE] = _route(request, found, target)
    return await _watched(request, handler, destination.least_role)


async def _watched(request: web.Request, handler: Handler, least: Role) -> web.StreamResponse:
    """Abort the request if its caller loses access meanwhile."""

    def end() -> None:
        if request.transport is not None:
            request.transport.abort()

    visit = OpenRequest(caller=request[CALLER], project_id=request[PROJECT].id, least=least, end=end)
    watch = request.app[IDENTITY].access_monitor
    watch.enter(visit)
    try:
        return await handler(request)
    finally:
        watch.leave(visit)


def for_operators(handler: Handler) -> Handler:
    """``handler`` for operators only, behind a route with a lower minimum role."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        _check_role(request, Role.OPERATOR)
        return await _watched(request, handler, Role.OPERATOR)

    return guarded


async def _enter(request: web.Request, project_id: str, least: Role) -> Project:
    """The project, if the caller has the role there. Projects of others are reported as not found."""
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
        raise InsufficientRole(
            f"This needs the role {least.word} in the project {request[PROJECT].id!r}; yours is {role.word}.",
            role=role.word,
            needed=least.word,
        )


def _check_reach(request: web.Request) -> None:
    endpoint = request[DESTINATION].endpoint
    if endpoint is not None and endpoint.of_user is not None:
        request[CALLER].check_reach(endpoint.of_user)


def _opens_a_page(request: web.Request) -> bool:
    """Whether a browser navigates to it (Fetch Metadata)."""
    return request.method == hdrs.METH_GET and request.headers.get("Sec-Fetch-Dest") == "document"


def _own_host(request: web.Request, found: Project) -> Host | None:
    return request.app[IDENTITY].sites.project_host(found.id, request[DESTINATION].asked)


def _to_own_host(request: web.Request, host: Host, *, target: str) -> web.Response:
    path = target if target.startswith("/") else f"/{target}"
    return web.Response(status=307, headers={hdrs.LOCATION: f"{browser_scheme(request)}://{host}{path}"})


def _refuse_impossible_ids(request: web.Request) -> None:
    """Ids with NUL do not exist, and PostgreSQL cannot look them up."""
    if "%00" not in request.raw_path:
        return
    for name, missing in _MISSING.items():
        if "\0" in request.match_info.get(name, ""):
            raise missing()


def _route(request: web.Request, found: Project, target: Target) -> Route:
    config = request.app[CONFIG].containers
    raw = _without_ticket(target.raw) if request.get(CAME_BY_PASS) else target.raw
    # Some calls wait by their nature: for the end of a turn, for the next request, for a person at a login page. Which
    # ones do changes with each version of OpenCode. The client decides how long; a container that is gone is noticed
    # by TCP.
    timeouts = _timeouts(config.connect_timeout, config.idle_timeout)
    return Route(target.port, _PORTS[target.port](found, config), raw, target.prefix, timeouts)


def _without_ticket(target: str) -> str:
    """The target without its ticket, otherwise unchanged."""
    path, mark, query = target.partition("?")
    rest = "&".join(part for part in query.split("&") if not part.startswith(f"{PASSTHROUGH_TICKET}="))
    return path + (mark if rest else "") + rest


@lru_cache(maxsize=4)
def _timeouts(connect: float, idle: float) -> Timeouts:
    return Timeouts(connect=connect, headers=None, idle=idle)
