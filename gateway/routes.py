"""The route table, top to bottom: each endpoint with its handler and who may use it."""

from collections.abc import Iterator

import attrs
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.handlers import (
    agents,
    auth,
    console,
    events,
    history,
    login_pages,
    members,
    operations,
    permissions,
    projects,
    sessions,
    tickets,
)
from gateway.keys import LEAST_ROLES, PUBLIC_ROUTES, STREAM_ROUTES
from gateway.middleware.passthrough import passthrough
from gateway.proxy.expect import leave_to_reader
from gateway.roles import Role

PROJECTS = "/api/projects"
PROJECT = f"{PROJECTS}/{{project_id}}"
MEMBER = f"{PROJECT}/members/{{user_id}}"
ACP = f"{PROJECT}/acp"
AGENT = f"{ACP}/agents/{{agent_id}}"
SESSION = f"{ACP}/session/{{session_id}}"
OAUTH = "/api/oauth"

ANY, GET, POST, PUT = hdrs.METH_ANY, hdrs.METH_GET, hdrs.METH_POST, hdrs.METH_PUT
PATCH, DELETE = hdrs.METH_PATCH, hdrs.METH_DELETE


@attrs.frozen
class Endpoint:
    """One line of the route table. ``role``: the least that its caller must have in the project, None where there is
    no project to have one in. ``is_public``: it answers anybody, without asking who they are."""

    method: str
    path: str
    handler: Handler
    role: Role | None
    name: str | None = None
    is_public: bool = False

    @property
    def is_stream(self) -> bool:
        """Whether its answer is an event stream of ours."""
        return self.name in STREAM_ROUTES


# First, because a route is found by trying one after the other, and this one is asked for most.
_OPENCODE = (
    Endpoint(ANY, f"{PROJECT}/opencode/{{tail:.*}}", passthrough, Role.OPERATOR),
    Endpoint(ANY, f"{PROJECT}/opencode", passthrough, Role.OPERATOR),
)
_PROJECTS = (
    Endpoint(POST, PROJECTS, projects.create, None),
    Endpoint(GET, PROJECTS, projects.list_all, None),
    Endpoint(GET, PROJECT, projects.get, Role.VIEWER),
    Endpoint(PATCH, PROJECT, projects.update, Role.ADMIN),
    Endpoint(DELETE, PROJECT, projects.delete, Role.ADMIN),
)
# A member may take their own membership away, whatever they are: the handler lets nobody but admins do more.
_MEMBERS = (
    Endpoint(GET, f"{PROJECT}/members", members.list_all, Role.VIEWER),
    Endpoint(GET, MEMBER, members.get, Role.VIEWER),
    Endpoint(PUT, MEMBER, members.put, Role.ADMIN),
    Endpoint(DELETE, MEMBER, members.remove, Role.VIEWER),
)
_AGENTS = (
    Endpoint(GET, f"{ACP}/agents", agents.list_all, Role.VIEWER),
    Endpoint(POST, f"{AGENT}/spawn", agents.spawn, Role.OPERATOR),
    Endpoint(POST, f"{AGENT}/stop", agents.stop, Role.OPERATOR),
    Endpoint(GET, f"{AGENT}/status", agents.status, Role.VIEWER),
)
_AUTH = (
    Endpoint(POST, f"{AGENT}/auth/start", auth.start, Role.OPERATOR),
    Endpoint(GET, f"{AGENT}/auth/status", auth.status, Role.VIEWER),
    # A browser that comes from a provider has nothing of ours but the login's state.
    Endpoint(GET, f"{AGENT}/auth/callback", login_pages.arrive, None, is_public=True),
    Endpoint(POST, f"{AGENT}/auth/callback", auth.callback, Role.OPERATOR),
    Endpoint(POST, f"{AGENT}/auth/token", auth.token, Role.OPERATOR),
    Endpoint(DELETE, f"{AGENT}/auth", auth.disconnect, Role.OPERATOR),
    Endpoint(GET, "/api/credentials", auth.list_credentials, None),
    Endpoint(GET, f"{OAUTH}/callback/{{provider_id}}", login_pages.arrive, None, is_public=True),
    Endpoint(GET, f"{OAUTH}/login/{{ticket}}", login_pages.show, None, is_public=True),
    Endpoint(POST, f"{OAUTH}/login/{{ticket}}", login_pages.answer, None, is_public=True),
    Endpoint(GET, f"{OAUTH}/problem/{{code}}", login_pages.problem, None, is_public=True),
)
_SESSIONS = (
    Endpoint(POST, f"{ACP}/session", sessions.create, Role.OPERATOR),
    Endpoint(GET, f"{ACP}/session", sessions.list_all, Role.VIEWER),
    Endpoint(GET, SESSION, sessions.get, Role.VIEWER),
    Endpoint(PATCH, SESSION, sessions.rename, Role.OPERATOR),
    Endpoint(DELETE, SESSION, sessions.end, Role.OPERATOR),
    Endpoint(POST, f"{SESSION}/prompt", sessions.prompt, Role.OPERATOR),
    Endpoint(POST, f"{SESSION}/cancel", sessions.cancel, Role.OPERATOR),
    Endpoint(GET, f"{SESSION}/turns/{{turn_id}}", sessions.turn, Role.VIEWER),
    Endpoint(GET, f"{SESSION}/messages", history.messages, Role.VIEWER),
    Endpoint(DELETE, f"{SESSION}/messages", history.clear_messages, Role.OPERATOR),
    Endpoint(GET, f"{SESSION}/snapshot", history.snapshot, Role.VIEWER),
    Endpoint(GET, f"{SESSION}/export", history.export, Role.VIEWER),
)
_EVENTS = (
    Endpoint(POST, f"{ACP}/events/ticket", tickets.issue, Role.VIEWER),
    Endpoint(GET, f"{ACP}/events", events.project_events, Role.VIEWER, name="project_events"),
    Endpoint(GET, f"{ACP}/events/{{session_id}}", events.session_events, Role.VIEWER, name="session_events"),
)
_PERMISSIONS = (
    Endpoint(GET, f"{ACP}/permission", permissions.list_waiting, Role.VIEWER),
    Endpoint(GET, f"{ACP}/permission/{{permission_id}}", permissions.get, Role.VIEWER),
    Endpoint(POST, f"{ACP}/permission/{{permission_id}}", permissions.answer, Role.OPERATOR),
)
_OPERATIONS = (
    Endpoint(GET, "/healthz", operations.healthz, None, name="healthz", is_public=True),
    Endpoint(GET, "/readyz", operations.readyz, None, name="readyz", is_public=True),
    Endpoint(GET, "/metrics", operations.metrics, None, name="metrics", is_public=True),
)
# What browsers are given before anybody has said who they are: it is the same for everybody, and asks the API.
_PAGES = (
    Endpoint(GET, "/", console.home, None, is_public=True),
    Endpoint(GET, "/console", console.page, None, is_public=True),
    Endpoint(GET, "/console/{path:.*}", console.file, None, is_public=True),
)
# What has matched nothing above, method included, is the container's to answer.
_REST = (
    Endpoint(ANY, ACP, events.own_transport, Role.OPERATOR),
    Endpoint(ANY, f"{ACP}/{{tail:.*}}", passthrough, Role.OPERATOR),
)

ENDPOINTS: tuple[Endpoint, ...] = (
    *_OPENCODE,
    *_PROJECTS,
    *_MEMBERS,
    *_AGENTS,
    *_AUTH,
    *_SESSIONS,
    *_EVENTS,
    *_PERMISSIONS,
    *_OPERATIONS,
    *_PAGES,
    *_REST,
)


def add_routes(app: web.Application) -> None:
    """The table as aiohttp has it, and beside it what each of its routes wants of its caller."""
    least: dict[web.AbstractRoute, Role | None] = {}
    public = set()
    for endpoint in ENDPOINTS:
        for method in _methods(endpoint):
            # A client that waits for 100 uploads nothing to a project that does not exist.
            route = app.router.add_route(
                method, endpoint.path, endpoint.handler, name=endpoint.name, expect_handler=leave_to_reader
            )
            least[route] = endpoint.role
            if endpoint.is_public:
                public.add(route)
    app[LEAST_ROLES], app[PUBLIC_ROUTES] = least, frozenset(public)


def _methods(endpoint: Endpoint) -> Iterator[str]:
    yield endpoint.method
    if endpoint.method == GET and not endpoint.is_stream:
        yield hdrs.METH_HEAD
