"""What the application and a request carry, by typed key."""

import attrs
from aiohttp import web

from gateway.config.reload import Settings
from gateway.config.schema import Config
from gateway.container.containers import Containers
from gateway.credentials.store import Credentials
from gateway.credentials.vault import Vault
from gateway.db.pool import Database
from gateway.follow.followers import Followers
from gateway.identity.audit import Audit
from gateway.identity.caller import Caller
from gateway.identity.identify import Identity
from gateway.identity.members import Members
from gateway.identity.passes import Passes
from gateway.identity.proxy import Proxies
from gateway.identity.roles import Role
from gateway.identity.scrapers import Scrapers
from gateway.identity.sign_ins import SignIns
from gateway.identity.sites import Asked, Sites
from gateway.identity.throttle import Throttle
from gateway.identity.watch import Watch
from gateway.injection.injecting import Injecting
from gateway.injection.processes import Processes
from gateway.log.store import Log
from gateway.log.transcript import Transcript
from gateway.oauth.configured import Providers
from gateway.oauth.logins import Logins
from gateway.oauth.news import News
from gateway.oauth.refresh import Refresher
from gateway.oauth.revoke import Revocation
from gateway.permissions.requests import Permissions
from gateway.projects.limits import Limits
from gateway.projects.store import Project, Projects
from gateway.proxy.client import Client
from gateway.proxy.upstream import Timeouts, Upstream
from gateway.sessions.idempotency import IdempotencyKeys
from gateway.sessions.sessions import Sessions
from gateway.sessions.snapshot import Snapshots
from gateway.stream.streams import Streams
from gateway.stream.tail import Tails
from gateway.stream.wakeups import Wakeups
from gateway.tasks import Tasks
from gateway.telemetry.exposition import Exposition
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.readiness import Readiness
from gateway.telemetry.tracing import Tracing
from gateway.turns.turns import Turns
from gateway.upkeep.presence import Presence
from gateway.web.bodies import Bodies, Place

#: As it was at the start. What may have been changed since is in SETTINGS.
CONFIG = web.AppKey("config", Config)
SETTINGS = web.AppKey("settings", Settings)
LIMITS = web.AppKey("limits", Limits)
BODIES = web.AppKey("bodies", Bodies)
DATABASE = web.AppKey("database", Database)
CLIENT = web.AppKey("client", Client)
LOG = web.AppKey("log", Log)
TAILS = web.AppKey("tails", Tails)
STREAMS = web.AppKey("streams", Streams)
WAKEUPS = web.AppKey("wakeups", Wakeups)
FOLLOWERS = web.AppKey("followers", Followers)
TRANSCRIPT = web.AppKey("transcript", Transcript)
PROJECTS = web.AppKey("projects", Projects)
MEMBERS = web.AppKey("members", Members)
AUDIT = web.AppKey("audit", Audit)
THROTTLE = web.AppKey("throttle", Throttle)
#: The proxies in front, behind which a request's client is.
PROXIES = web.AppKey("proxies", Proxies)
SITES = web.AppKey("sites", Sites)
#: By which the gateways of this database know each other's requests.
PSEUDONYM = web.AppKey("pseudonym", str)
PASSES = web.AppKey("passes", Passes)
SIGN_INS = web.AppKey("sign_ins", SignIns)
WATCH = web.AppKey("watch", Watch)
IDENTITY = web.AppKey("identity", Identity)
CONTAINERS = web.AppKey("containers", Containers)
VAULT = web.AppKey("vault", Vault)
CREDENTIALS = web.AppKey("credentials", Credentials)
#: How people connect their accounts, at which providers, and what keeps them fresh.
PROVIDERS = web.AppKey("providers", Providers)
LOGINS = web.AppKey("logins", Logins)
REFRESHER = web.AppKey("refresher", Refresher)
REVOCATION = web.AppKey("revocation", Revocation)
NEWS = web.AppKey("news", News)
INJECTING = web.AppKey("injecting", Injecting)
PROCESSES = web.AppKey("processes", Processes)
SESSIONS = web.AppKey("sessions", Sessions)
SNAPSHOTS = web.AppKey("snapshots", Snapshots)
TURNS = web.AppKey("turns", Turns)
#: This process among the gateways of its database; its id is that of whatever the process holds.
PRESENCE = web.AppKey("presence", Presence)
PERMISSIONS = web.AppKey("permissions", Permissions)
IDEMPOTENCY_KEYS = web.AppKey("idempotency_keys", IdempotencyKeys)
#: Work that goes on when the client that asked for it has left.
TASKS = web.AppKey("tasks", Tasks)
METRICS = web.AppKey("metrics", Metrics)
EXPOSITION = web.AppKey("exposition", Exposition)
SCRAPERS = web.AppKey("scrapers", Scrapers)
TRACING: web.AppKey[Tracing] = web.AppKey("tracing")
READINESS = web.AppKey("readiness", Readiness)

#: The query parameter with the ticket of a stream of ours; and of one of a container's, which may know another ticket.
STREAM_TICKET = "ticket"
PASSTHROUGH_TICKET = "gatewayTicket"

#: The names of the routes whose answer is an event stream of ours.
STREAM_ROUTES = frozenset({"project_events", "session_events"})
#: The name of the route of OpenCode's own events, which are streamed as ours where a project records them.
OPENCODE_EVENTS = "opencode_events"
#: The names of the routes that operators' machinery asks, without identity.
OPERATIONS_ROUTES = frozenset({"healthz", "readyz", "metrics"})

#: Each route with the least role that it wants of its caller; None where there is no project to have one in.
LEAST_ROLES = web.AppKey("least_roles", dict[web.AbstractRoute, Role | None])
#: The routes that concern what is their caller's own beyond one project, with what a credential must allow at least.
OF_USER = web.AppKey("of_user", dict[web.AbstractRoute, Role])
#: The routes that answer anybody: no identity is asked for.
PUBLIC_ROUTES = web.AppKey("public_routes", frozenset[web.AbstractRoute])
#: The names of the query parameters that each route of ours knows.
QUERIES = web.AppKey("queries", dict[web.AbstractRoute, frozenset[str]])
#: The OpenAPI document, as it is sent.
API_DOCUMENT = web.AppKey("api_document", bytes)

REQUEST_ID = web.RequestKey("request_id", str)
ASKED = web.RequestKey("asked", Asked)
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


class Route:
    """Where a request is to be forwarded: its upstream, the raw path and query there, and the prefix cut off."""

    def __init__(self, upstream: Upstream, target: str, prefix: str, timeouts: Timeouts) -> None:
        self.upstream = upstream
        self.target = target
        self.prefix = prefix
        self.timeouts = timeouts


ROUTE = web.RequestKey("route", Route)


@attrs.frozen(kw_only=True)
class Changed:
    """What a request has changed where its route does not tell: the project, and the user as whom."""

    project_id: str
    user_id: str


CHANGED = web.RequestKey("changed", Changed)
