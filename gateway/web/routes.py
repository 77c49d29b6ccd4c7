"""The route table: each endpoint with its handler, minimum role, request and responses.

``/openapi.json`` is generated from it. Requests without the role, or with an unknown query parameter, are refused.
"""

from collections.abc import Iterator
from typing import Any

from aiohttp import hdrs, web

from gateway import __version__, errors
from gateway.identity.roles import Role
from gateway.log.store import EffectRefused
from gateway.projects.store import NewProject
from gateway.proxy.expect import leave_to_reader
from gateway.web.apidoc.document import document
from gateway.web.apidoc.endpoint import Content, Endpoint
from gateway.web.apidoc.events import OPENCODE_ITEMS
from gateway.web.destination import ENDPOINT_OF
from gateway.web.handlers import (
    agents,
    audit,
    auth,
    console,
    description,
    events,
    history,
    login_pages,
    members,
    opencode,
    operations,
    permissions,
    projects,
    sessions,
    shapes,
    sign_in,
    tickets,
)
from gateway.web.handlers.parameters import (
    AFTER,
    AFTER_PLACE,
    DIGEST,
    DIRECTORY,
    DIRECTORY_HEADER,
    FORMAT,
    FROM,
    IDEMPOTENCY_KEY,
    INCLUDE_ENDED,
    LAST_EVENT_ID,
    LAST_EVENT_ID_HEADER,
    LIMIT,
    ORDER,
    PASSTHROUGH_TICKET_OF,
    PREFER,
    TICKET,
)
from gateway.web.handlers.requests import NoBody
from gateway.web.keys import API_DOCUMENT
from gateway.web.middleware.passthrough import passthrough
from gateway.web.middleware.project import for_operators
from gateway.wire.codec import dump_json
from gateway.wire.opencode import EVENT, EVENT_STREAMS, EventStream

PROJECTS = "/api/projects"
PROJECT = f"{PROJECTS}/{{project_id}}"
MEMBER = f"{PROJECT}/members/{{user_id}}"
ACP = f"{PROJECT}/acp"
AGENT = f"{ACP}/agents/{{agent_id}}"
SESSION = f"{ACP}/session/{{session_id}}"
OAUTH = "/api/oauth"

ANY, GET, POST, PUT = hdrs.METH_ANY, hdrs.METH_GET, hdrs.METH_POST, hdrs.METH_PUT
PATCH, DELETE = hdrs.METH_PATCH, hdrs.METH_DELETE


MOVED = Content(description="A redirect.", media_types=(), headers=("Location",))
PAGE = Content(description="The page.", media_types=("text/html",), headers=("ETag",))
FILE = Content(description="The file.", media_types=("text/javascript", "text/css", "image/svg+xml"), headers=("ETag",))
TICKET_MADE = Content(description="The ticket.", kind=shapes.Ticket)
SIGNED_IN = Content(description="The browser's API token.", kind=shapes.SignedIn)
STREAM = Content(description="The stream.", media_types=("text/event-stream",))
EXPORT = Content(
    description="The file.", media_types=("application/jsonl", "text/markdown"), headers=("Content-Disposition",)
)
FOREIGN = Content(
    description="The value, as the agent said it.",
    media_types=("application/json", "application/octet-stream", "audio/*", "image/*", "text/plain"),
    kind=Any,
    headers=("ETag",),
)
METRICS = Content(description="The metrics.", media_types=("text/plain",))
TOLD = Content(description="The container's answer.", kind=dict[str, Any])
WAITED_FOR = Content(description="The turn, ended.", kind=shapes.Accepted, headers=("Preference-Applied",))
STREAM_PARAMETERS = (FROM, LAST_EVENT_ID, LAST_EVENT_ID_HEADER, TICKET)
OPENCODE_PARAMETERS = (FROM, LAST_EVENT_ID, LAST_EVENT_ID_HEADER, PASSTHROUGH_TICKET_OF)


def _opencode_events(stream: EventStream) -> Endpoint:
    of_directory = (DIRECTORY, DIRECTORY_HEADER) if stream is EVENT else ()
    item = OPENCODE_ITEMS[stream.name]
    return Endpoint(
        GET,
        f"{PROJECT}/opencode{stream.path}",
        opencode.events_or(for_operators(passthrough), stream),
        Role.VIEWER,
        name=stream.name,
        operation_id=f"{stream.name}_events",
        parameters=(*OPENCODE_PARAMETERS, *of_directory),
        answers={200: Content(description="OpenCode's events.", media_types=("text/event-stream",), item=item)},
        is_passed_on=True,
    )


# fmt: off

# First, because routes are tried one after the other and these are used most.
_OPENCODE = (
    *map(_opencode_events, EVENT_STREAMS.values()),
    Endpoint(ANY, f"{PROJECT}/opencode/{{tail:(?s:.*)}}", passthrough, Role.OPERATOR, is_passed_on=True),
    Endpoint(ANY, f"{PROJECT}/opencode", passthrough, Role.OPERATOR, is_passed_on=True),
)
_PROJECTS = (
    Endpoint(
        POST, PROJECTS, projects.create, None, of_user=Role.ADMIN,
        body=NewProject, answers={201: shapes.Project},
        errors=(*errors.REGISTRATION, errors.ProjectExists, errors.TooManyProjects),
    ),
    Endpoint(GET, PROJECTS, projects.list_all, None, parameters=(LIMIT, AFTER), answers={200: shapes.ProjectPage}),
    Endpoint(GET, PROJECT, projects.get, Role.VIEWER, answers={200: shapes.Project}),
    Endpoint(
        PATCH, PROJECT, projects.update, Role.ADMIN,
        body=projects.ProjectChanges, answers={200: shapes.Project},
        errors=(*errors.REGISTRATION, errors.Conflict, errors.TokenLimited),
    ),
    Endpoint(DELETE, PROJECT, projects.delete, Role.ADMIN, answers={204: None}),
)
# Members of any role may remove themselves; the handler lets only admins remove others.
_MEMBERS = (
    Endpoint(GET, f"{PROJECT}/members", members.list_all, Role.VIEWER, answers={200: shapes.MemberList}),
    Endpoint(GET, MEMBER, members.get, Role.VIEWER, answers={200: shapes.Member}, errors=(errors.MemberNotFound,)),
    Endpoint(
        PUT, MEMBER, members.put, Role.ADMIN,
        body=members.MemberBody,
        answers={200: shapes.Member, 201: shapes.Member},
        errors=(*errors.MEMBER, errors.TooManyMembers),
    ),
    Endpoint(
        DELETE, MEMBER, members.remove, Role.VIEWER, answers={204: None}, errors=errors.MEMBER
    ),
    Endpoint(
        GET, f"{PROJECT}/audit", audit.list_all, Role.ADMIN,
        parameters=(LIMIT, AFTER_PLACE), answers={200: shapes.AuditPage},
    ),
)
_AGENTS = (
    Endpoint(
        GET, f"{ACP}/agents", agents.list_all, Role.VIEWER, answers={200: shapes.AgentList}, reaches_container=True
    ),
    Endpoint(
        POST, f"{AGENT}/spawn", agents.spawn, Role.OPERATOR,
        body=agents.SpawnBody, parameters=(IDEMPOTENCY_KEY,),
        answers={200: shapes.Spawned}, errors=(*errors.CREDENTIAL, *errors.REFUSALS), reaches_container=True,
    ),
    Endpoint(
        POST, f"{AGENT}/stop", agents.stop, Role.OPERATOR,
        body=NoBody, answers={200: TOLD}, errors=errors.REFUSALS, reaches_container=True,
    ),
    Endpoint(
        GET, f"{AGENT}/status", agents.status, Role.VIEWER,
        answers={200: TOLD}, errors=errors.REFUSALS, reaches_container=True,
    ),
)
_AUTH = (
    Endpoint(
        POST, f"{AGENT}/auth/start", auth.start, Role.OPERATOR, of_user=Role.OPERATOR,
        body=auth.StartBody, answers={200: shapes.LoginBegun},
        errors=(*errors.ACCOUNT, *errors.PROVIDER, *errors.REFUSALS), reaches_container=True,
    ),
    Endpoint(
        GET, f"{AGENT}/auth/status", auth.status, Role.VIEWER,
        answers={200: shapes.AuthStatus}, reaches_container=True,
    ),
    # A browser that returns from a provider is identified by the login's state alone.
    Endpoint(
        GET, f"{AGENT}/auth/callback", login_pages.arrive, None, is_public=True,
        answers={204: None, 303: MOVED}, errors=(errors.TooManyRequests,), operation_id="login_pages_arrive_at_project",
    ),
    Endpoint(
        POST, f"{AGENT}/auth/callback", auth.callback, Role.OPERATOR, of_user=Role.OPERATOR,
        body=auth.CallbackBody, answers={200: shapes.AuthStatus},
        errors=(*errors.ACCOUNT, errors.CredentialRefused, *errors.LOGIN, *errors.PROVIDER, *errors.REFUSALS),
        reaches_container=True,
    ),
    Endpoint(
        POST, f"{AGENT}/auth/token", auth.token, Role.OPERATOR, of_user=Role.OPERATOR,
        body=auth.TokenBody, answers={200: shapes.AuthStatus},
        errors=(*errors.ACCOUNT, errors.CredentialRefused), reaches_container=True,
    ),
    Endpoint(
        DELETE, f"{AGENT}/auth", auth.disconnect, Role.OPERATOR, of_user=Role.OPERATOR,
        body=NoBody, answers={200: shapes.Disconnected}, reaches_container=True,
    ),
    Endpoint(
        GET, "/api/credentials", auth.list_credentials, None, of_user=Role.OPERATOR,
        parameters=(LIMIT, AFTER), answers={200: shapes.CredentialPage},
    ),
    Endpoint(
        GET, f"{OAUTH}/callback/{{provider_id}}", login_pages.arrive, None, is_public=True,
        answers={204: None, 303: MOVED}, errors=(errors.TooManyRequests,),
    ),
    Endpoint(
        GET, f"{OAUTH}/login/{{ticket}}", login_pages.show, None, is_public=True,
        answers={200: PAGE, 404: PAGE}, errors=(errors.TooManyRequests,),
    ),
    Endpoint(
        POST, f"{OAUTH}/login/{{ticket}}", login_pages.answer, None, is_public=True,
        answers={303: MOVED}, errors=(errors.InvalidBody, errors.TooManyRequests, errors.UnsupportedMediaType),
    ),
    Endpoint(
        GET, f"{OAUTH}/problem/{{code}}", login_pages.problem, None, is_public=True,
        answers={400: PAGE},
    ),
)
_SESSIONS = (
    Endpoint(
        POST, f"{ACP}/session", sessions.create, Role.OPERATOR,
        body=sessions.SessionBody, parameters=(IDEMPOTENCY_KEY,),
        answers={201: shapes.Session},
        errors=(*errors.NEW_SESSION, *errors.CREDENTIAL, *errors.REFUSALS), reaches_container=True,
    ),
    Endpoint(
        GET, f"{ACP}/session", sessions.list_all, Role.VIEWER,
        parameters=(LIMIT, AFTER_PLACE, INCLUDE_ENDED), answers={200: shapes.SessionPage},
    ),
    Endpoint(
        GET, f"{ACP}/sessions", sessions.list_in_container, Role.OPERATOR,
        answers={200: TOLD}, errors=errors.REFUSALS, reaches_container=True,
    ),
    Endpoint(GET, SESSION, sessions.get, Role.VIEWER, answers={200: shapes.Session}),
    Endpoint(
        PATCH, SESSION, sessions.rename, Role.OPERATOR,
        body=sessions.TitleBody, answers={200: shapes.Session}, errors=(EffectRefused,),
    ),
    Endpoint(
        DELETE, SESSION, sessions.end, Role.OPERATOR,
        answers={200: shapes.Session}, errors=(errors.Conflict,), reaches_container=True,
    ),
    Endpoint(
        POST, f"{SESSION}/prompt", sessions.prompt, Role.OPERATOR,
        body=sessions.PromptBody, parameters=(IDEMPOTENCY_KEY, PREFER),
        answers={200: WAITED_FOR, 202: shapes.Accepted},
        errors=(EffectRefused, *errors.PROMPT, *errors.CREDENTIAL, *errors.REFUSALS), reaches_container=True,
    ),
    Endpoint(
        POST, f"{SESSION}/cancel", sessions.cancel, Role.OPERATOR,
        body=sessions.CancelBody,
        answers={200: shapes.Cancelling, 202: shapes.Cancelling}, errors=(errors.TurnNotFound,),
    ),
    Endpoint(GET, f"{SESSION}/turns/{{turn_id}}", sessions.turn, Role.VIEWER, answers={200: shapes.Turn}),
    Endpoint(
        GET, f"{SESSION}/messages", history.messages, Role.VIEWER,
        parameters=(LIMIT, AFTER_PLACE, ORDER), answers={200: shapes.MessagePage}, errors=errors.HISTORY,
    ),
    Endpoint(
        GET, f"{SESSION}/messages/{{message_id}}/content/{{number}}", history.content, Role.VIEWER,
        parameters=(DIGEST,), answers={200: FOREIGN, 304: None},
        errors=(*errors.HISTORY, errors.ContentNotFound),
    ),
    Endpoint(
        DELETE, f"{SESSION}/messages", history.clear_messages, Role.OPERATOR,
        answers={204: None}, errors=(errors.Conflict,),
    ),
    Endpoint(
        GET, f"{SESSION}/snapshot", history.snapshot, Role.VIEWER,
        parameters=(LIMIT,), answers={200: shapes.Snapshot}, errors=errors.HISTORY,
    ),
    Endpoint(
        GET, f"{SESSION}/export", history.export, Role.VIEWER,
        parameters=(FORMAT,), answers={200: EXPORT}, errors=errors.HISTORY,
    ),
)
_EVENTS = (
    Endpoint(
        POST, f"{ACP}/events/ticket", tickets.issue, Role.VIEWER,
        body=tickets.TicketBody, answers={201: TICKET_MADE}, errors=(errors.SessionNotFound,),
    ),
    Endpoint(
        GET, f"{ACP}/events", events.project_events, Role.VIEWER, name="project_events",
        parameters=STREAM_PARAMETERS, answers={200: STREAM},
    ),
    Endpoint(
        GET, f"{ACP}/events/{{session_id}}", events.session_events, Role.VIEWER, name="session_events",
        parameters=STREAM_PARAMETERS, answers={200: STREAM},
    ),
)
_PERMISSIONS = (
    Endpoint(
        GET, f"{ACP}/permission", permissions.list_waiting, Role.VIEWER,
        parameters=(LIMIT, AFTER), answers={200: shapes.PermissionPage},
    ),
    Endpoint(
        GET, f"{ACP}/permission/{{permission_id}}", permissions.get, Role.VIEWER, answers={200: shapes.Permission}
    ),
    Endpoint(
        POST, f"{ACP}/permission/{{permission_id}}", permissions.answer, Role.OPERATOR,
        body=permissions.AnswerBody, parameters=(IDEMPOTENCY_KEY,),
        answers={200: shapes.Permission, 202: shapes.Permission},
        errors=(EffectRefused, errors.PermissionGone, errors.PermissionSettled),
    ),
)
_SIGN_IN = (
    Endpoint(
        POST, "/api/sign-in", sign_in.enter, None, is_public=True,
        body=sign_in.SignInBody, answers={201: SIGNED_IN},
        errors=(errors.NotFound, errors.SignInLinkGone, errors.TooManyRequests),
    ),
    Endpoint(DELETE, "/api/sign-in", sign_in.leave, None, body=NoBody, answers={204: None}, errors=(errors.NotFound,)),
)
_OPERATIONS = (
    Endpoint(
        GET, "/healthz", operations.healthz, None, name="healthz", is_public=True, answers={200: shapes.Health}
    ),
    Endpoint(
        GET, "/readyz", operations.readyz, None, name="readyz", is_public=True,
        answers={200: shapes.Readiness, 503: shapes.Readiness},
    ),
    Endpoint(
        GET, "/metrics", operations.metrics, None, name="metrics", is_public=True, answers={200: METRICS},
        errors=(errors.TooManyRequests,),
    ),
    Endpoint(
        GET, "/openapi.json", description.openapi, None, is_public=True, answers={200: dict[str, Any]}
    ),
)
# Static files, the same for everybody, so public.
_PAGES = (
    Endpoint(GET, "/", console.home, None, is_public=True, answers={302: MOVED}),
    Endpoint(GET, "/docs", description.page, None, is_public=True, answers={200: PAGE, 304: None}),
    Endpoint(
        GET, "/docs/{name}", description.page_file, None, is_public=True,
        answers={200: FILE, 304: None}, errors=(errors.NotFound,),
    ),
    Endpoint(GET, "/console", console.page, None, is_public=True, answers={200: PAGE, 304: None}),
    Endpoint(
        GET, "/console/{path:.*}", console.file, None, is_public=True,
        answers={200: FILE, 302: MOVED, 304: None}, errors=(errors.NotFound,),
    ),
)
# Any other path or method is forwarded to the container.
_REST = (
    Endpoint(ANY, ACP, events.own_transport, Role.OPERATOR, errors=(errors.NotImplementedYet,)),
    Endpoint(ANY, f"{ACP}/{{tail:(?s:.*)}}", passthrough, Role.OPERATOR, is_passed_on=True),
)

# fmt: on
ENDPOINTS: tuple[Endpoint, ...] = (
    *_OPENCODE,
    *_PROJECTS,
    *_MEMBERS,
    *_AGENTS,
    *_AUTH,
    *_SESSIONS,
    *_EVENTS,
    *_PERMISSIONS,
    *_SIGN_IN,
    *_OPERATIONS,
    *_PAGES,
    *_REST,
)


def add_routes(app: web.Application) -> None:
    """Add the table's routes to the application."""
    app[ENDPOINT_OF] = {
        # 100 Continue is sent only once the body is read: nothing is uploaded to a project that does not exist.
        app.router.add_route(
            method, endpoint.path, endpoint.handler, name=endpoint.name, expect_handler=leave_to_reader
        ): endpoint
        for endpoint in ENDPOINTS
        for method in _methods(endpoint)
    }
    app[API_DOCUMENT] = _api_document


def _api_document() -> bytes:
    return dump_json(document(ENDPOINTS, __version__))


def _methods(endpoint: Endpoint) -> Iterator[str]:
    yield endpoint.method
    if endpoint.method == GET and not endpoint.is_stream:
        yield hdrs.METH_HEAD
