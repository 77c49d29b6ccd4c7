"""Port mapping: which project a path means, and which port of its container.

``/api/projects/{id}/acp/…`` is the container's ACP port (4097), ``/api/projects/{id}/opencode/…`` OpenCode's (4096).
The rest of the path and the query reach the container byte for byte.
"""

import re
from urllib.parse import unquote

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.config import ContainersConfig
from gateway.errors import NotFound, PermissionNotFound, ProjectNotFound, SessionNotFound
from gateway.keys import CONFIG, PROJECT, PROJECTS, ROUTE, USER, Route
from gateway.projects import Project, acp_upstream, opencode_upstream
from gateway.proxy.upstream import Timeouts

#: A request target of RFC 9112 3.2: a path whose fourth part names the port, maybe behind a scheme and an authority.
_TARGET = re.compile(r"(?:https?://[^/?]*)?(?:/[^/?]+){3}/([^/?]+)(.*)", re.DOTALL | re.IGNORECASE)
_PORTS = {"acp": acp_upstream, "opencode": opencode_upstream}
#: OpenCode answers these when a turn is over, which takes as long as it takes.
_TURNS = re.compile(r"/session/[^/?]+/(message|command|shell|summarize|init)([/?]|$)")

_MISSING: dict[str, type[NotFound]] = {
    "project_id": ProjectNotFound,
    "session_id": SessionNotFound,
    "permission_id": PermissionNotFound,
}


@web.middleware
async def project(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Look the project up together with its owner, and say where its container is."""
    project_id = request.match_info.get("project_id")
    if project_id is not None:
        _refuse_impossible_ids(request)
        found = await request.app[PROJECTS].get(request[USER], project_id)
        request[PROJECT] = found
        match = _TARGET.fullmatch(request.raw_path)
        if match and (port := unquote(match[1])) in _PORTS:
            request[ROUTE] = _route(request, found, port, target=match[2])
    return await handler(request)


def _refuse_impossible_ids(request: web.Request) -> None:
    """An id with NUL in it is nobody's; the database could not even be asked."""
    for name, missing in _MISSING.items():
        if "\0" in request.match_info.get(name, ""):
            raise missing()


def _route(request: web.Request, found: Project, port: str, *, target: str) -> Route:
    config = request.app[CONFIG].containers
    is_turn = port == "opencode" and request.method == hdrs.METH_POST and _TURNS.match(target)
    timeouts = _timeouts(config, endless=bool(is_turn))
    return Route(_PORTS[port](found, config), target, f"/api/projects/{found.id}/{port}", timeouts)


def _timeouts(config: ContainersConfig, *, endless: bool) -> Timeouts:
    headers = None if endless else config.headers_timeout
    return Timeouts(connect=config.connect_timeout, headers=headers, idle=config.idle_timeout)
