"""What a request carries, and the application beside its rooms, whose keys stand with them; by typed key."""

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

#: As it was at the start. What may have been changed since is in SETTINGS.
CONFIG = web.AppKey("config", Config)
SETTINGS = web.AppKey("settings", Settings)
BODIES = web.AppKey("bodies", Bodies)
DATABASE = web.AppKey("database", Database)
#: By which the gateways of this database know each other's requests.
PSEUDONYM = web.AppKey("pseudonym", str)
#: Work that goes on when the client that asked for it has left.
TASKS = web.AppKey("tasks", Tasks)
EXPOSITION = web.AppKey("exposition", Exposition)
READINESS = web.AppKey("readiness", Readiness)

#: The query parameter with the ticket of a stream of ours; and of one of a container's, which may know another ticket.
STREAM_TICKET = "ticket"
PASSTHROUGH_TICKET = "gatewayTicket"

#: Writes the OpenAPI document.
API_DOCUMENT: web.AppKey[Callable[[], bytes]] = web.AppKey("api_document")

REQUEST_ID = web.RequestKey("request_id", str)
#: Who asks, and their id alone.
CALLER = web.RequestKey("caller", Caller)
USER = web.RequestKey("user", str)
#: The cookie that the answer gives the browser which was signed in, and for how many seconds; none takes it away.
SIGNED_IN = web.RequestKey("signed_in", tuple[str, int])
#: Where its body is held.
BODY_PLACE = web.RequestKey("body_place", Place)
#: How many bytes of its answer an event stream has written.
WRITTEN = web.RequestKey("written", int)
PROJECT = web.RequestKey("project", Project)
#: Whether the caller came by a pass, of which a container is not told.
CAME_BY_PASS = web.RequestKey("came_by_pass", bool)
#: What the caller may do in the project.
ROLE = web.RequestKey("role", Role)


@attrs.frozen
class Route:
    """Where a request is to be forwarded: its upstream, the raw path and query there, and the prefix cut off."""

    upstream: Upstream
    target: str
    prefix: str
    timeouts: Timeouts


ROUTE = web.RequestKey("route", Route)


@attrs.frozen(kw_only=True)
class Changed:
    """What a request has changed where its route does not tell: the project, and the user as whom."""

    project_id: str
    user_id: str


CHANGED = web.RequestKey("changed", Changed)
