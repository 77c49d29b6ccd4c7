"""Builds the application with its middleware and routes, and opens what handlers share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.config.reload import Settings
from gateway.credentials.keyring import Keys
from gateway.db.pool import Database
from gateway.follow.followers import Followers
from gateway.stream.room import StreamsRoom
from gateway.tasks import Tasks
from gateway.telemetry.exposition import Exposition, Seat
from gateway.telemetry.metrics import Metrics
from gateway.upkeep.presence import Presence
from gateway.web.bodies import Bodies
from gateway.web.gauges import add_gauges
from gateway.web.keys import BODIES, CONFIG, EXPOSITION, READINESS, SETTINGS, TASKS
from gateway.web.middleware.audit import audit, note_switch
from gateway.web.middleware.browsers import browsers, share
from gateway.web.middleware.classified import classified
from gateway.web.middleware.errors import errors
from gateway.web.middleware.identity import give_cookie, identity
from gateway.web.middleware.limiting import limiting
from gateway.web.middleware.loops import loops
from gateway.web.middleware.operations import operations
from gateway.web.middleware.parameters import parameters
from gateway.web.middleware.project import project
from gateway.web.middleware.sandbox import sandbox
from gateway.web.middleware.telemetry import telemetry
from gateway.web.readiness import readiness
from gateway.web.routes import add_routes


def application(settings: Settings) -> web.Application:
    """The application. Its rooms are opened when it starts."""
    config = settings.config
    around = [
        *(classified, telemetry, errors, loops, operations),
        *(browsers, audit, identity, limiting, project, parameters),
    ]
    app = web.Application(middlewares=around, client_max_size=config.server.max_body_bytes)
    app.on_response_prepare.extend((sandbox, share, give_cookie, note_switch))
    app[CONFIG], app[SETTINGS] = config, settings
    add_routes(app)
    return app


@asynccontextmanager
async def open_web(
    app: web.Application,
    database: Database,
    presence: Presence,
    keys: Keys,
    followers: Followers,
    streams: StreamsRoom,
    metrics: Metrics,
    seat: Seat | None,
) -> AsyncIterator[None]:
    """On exit, work whose clients have disconnected is cancelled."""
    tasks, ready = Tasks(), readiness(database, presence, keys, followers, streams.wakeups)
    exposition = Exposition(metrics, add_gauges(metrics, database, followers, streams.streams), seat)
    app[TASKS], app[BODIES], app[READINESS], app[EXPOSITION] = tasks, Bodies(), ready, exposition
    async with exposition.open():
        try:
            yield
        finally:
            await tasks.close()
            await ready.close()
