"""Typed keys of requests, and of the application except for the rooms' own keys."""

from collections.abc import Callable

import attrs
from aiohttp import web

from gateway.config.reload import Settings
from gateway.config.schema import Config
from gateway.db.pool import Database
from gateway.identity.caller import Caller
from gateway.identity.roles import Role
from gateway.projects.store import Project
from gateway.proxy.upstream import Timeouts, Upstream
from gateway.tasks import Tasks
from gateway.telemetry.exposition import Exposition
from gateway.telemetry.readiness import Readiness
from gateway.web.bodies import Bodies, Place
from gateway.web.destination import Port

#: As at the start; SETTINGS has what was reloaded since.
CONFIG = web.AppKey("config", Config)
SETTINGS = web.AppKey("settings", Settings)
BODIES = web.AppKey("bodies", Bodies)
DATABASE = web.AppKey("database", Database)
#: In ``Via``: shared by all gateways on one database.
PSEUDONYM = web.AppKey("pseudonym", str)
#: Work that continues when its client disconnects.
TASKS = web.AppKey("tasks", Tasks)
EXPOSITION = web.AppKey("exposition", Exposition)
READINESS = web.AppKey("readiness", Readiness)

#: Query parameters with a ticket: of our streams, and of a container's, which may use "ticket" itself.
STREAM_TICKET = "ticket"
PASSTHROUGH_TICKET = "gatewayTicket"

#: Writes the OpenAPI document.
API_DOCUMENT: web.AppKey[Callable[[], bytes]] = web.AppKey("api_document")

REQUEST_ID = web.RequestKey("request_id", str)
#: The caller, and the caller's user id.
CALLER = web.RequestKey("caller", Caller)
USER = web.RequestKey("user", str)
#: The sign-in cookie to set, and for how many seconds; an empty one removes it.
SIGNED_IN = web.RequestKey("signed_in", tuple[str, int])
BODY_PLACE = web.RequestKey("body_place", Place)
#: The bytes that an event stream has written.
WRITTEN = web.RequestKey("written", int)
PROJECT = web.RequestKey("project", Project)
#: Whether a stream ticket or its cookie was used, which is not forwarded.
CAME_BY_PASS = web.RequestKey("came_by_pass", bool)
#: The caller's role in the project.
ROLE = web.RequestKey("role", Role)


@attrs.frozen
class Route:
    """Where to forward a request: port, upstream, raw path and query, and the prefix that was removed."""

    port: Port
    upstream: Upstream
    target: str
    prefix: str
    timeouts: Timeouts


ROUTE = web.RequestKey("route", Route)


@attrs.frozen(kw_only=True)
class Changed:
    """For the audit: the project and user that a request concerns, if its route does not name them."""

    project_id: str
    user_id: str


CHANGED = web.RequestKey("changed", Changed)
