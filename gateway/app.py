"""The gateway as one application: the list of its rooms, in the order in which they open."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import web

from gateway.administration.room import ADMINISTRATION, open_administration
from gateway.backfill.room import open_histories
from gateway.config.reload import Settings
from gateway.config.schema import Config
from gateway.container.containers import Containers, OwnHost
from gateway.container.room import CONTAINERS
from gateway.credentials.room import CREDENTIALS, open_credentials
from gateway.db.deployment import pseudonym
from gateway.db.due import open_driver
from gateway.db.pool import Database
from gateway.follow.room import FOLLOWERS, open_followers
from gateway.identity.room import IDENTITY, open_identity
from gateway.ingest.room import open_ingest
from gateway.injection.room import INJECTION, open_injection
from gateway.log.room import LOG, open_log
from gateway.oauth.room import OAUTH, open_oauth
from gateway.permissions.room import PERMISSIONS, open_permissions
from gateway.projects.room import PROJECTS, open_projects
from gateway.sessions.room import SESSIONS, open_sessions
from gateway.stream.room import STREAMS, open_streams
from gateway.telemetry.exposition import Seat
from gateway.telemetry.room import TELEMETRY, open_telemetry
from gateway.turns.room import TURNS, open_turns
from gateway.upkeep.presence import present
from gateway.upkeep.room import open_upkeep
from gateway.web.keys import CONFIG, DATABASE, PSEUDONYM, SETTINGS
from gateway.web.leaving import LEAVE
from gateway.web.room import application, open_web
from gateway.web.stopping import leave, stop


def build_app(config: Config | Settings, seat: Seat | None = None, own_host: OwnHost | None = None) -> web.Application:
    """The application for ``config``; it connects to its database when it starts, and lets go when it stops.

    ``seat``: of one of several workers on a port. ``own_host``: an agent host of this process. Given ``Settings``, it
    follows their changes. What is wrong in the configuration is a ``ConfigError`` when it starts.
    """
    app = application(config if isinstance(config, Settings) else Settings(config))
    app[LEAVE] = lambda: leave(app)
    app.on_shutdown.append(stop)
    app.cleanup_ctx.append(partial(_rooms, seat=seat, own_host=own_host))
    return app


async def _rooms(app: web.Application, *, seat: Seat | None, own_host: OwnHost | None) -> AsyncIterator[None]:
    """Open the rooms from the ground up; close them in the other order."""
    settings, config = app[SETTINGS], app[CONFIG]
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        telemetry = app[TELEMETRY] = await enter(open_telemetry(config.tracing))
        metrics = telemetry.metrics
        database = app[DATABASE] = await Database.open(
            config.database.url,
            direct_url=config.database.direct_url,
            size=config.database.pool_size,
            statement_timeout=config.database.statement_timeout,
            connect_timeout=config.database.connect_timeout,
        )
        stack.push_async_callback(database.close)
        presence = await enter(present(database, seconds=config.events.lease))
        gateway_id = presence.gateway_id
        credentials = app[CREDENTIALS] = await enter(open_credentials(database, config, gateway_id))
        via = app[PSEUDONYM] = await pseudonym(database)
        log = app[LOG] = open_log(database)
        projects = app[PROJECTS] = await enter(
            open_projects(database, log.store, credentials.vault, settings, telemetry, via)
        )
        on_throttled = partial(metrics.refused, "failed_credentials")
        app[IDENTITY] = await enter(open_identity(database, settings, on_throttled, projects.store.forget))
        containers = app[CONTAINERS] = Containers(
            *(database, projects.store, projects.client, config.containers, credentials.known, own_host),
            deployment=via,
        )
        await enter(open_upkeep(database, log, config.events, metrics))
        streams = app[STREAMS] = await enter(open_streams(database, log.store, config, metrics, gateway_id))
        oauth = app[OAUTH] = await enter(open_oauth(database, credentials, log.store, settings, metrics, gateway_id))
        followers = app[FOLLOWERS] = await enter(
            open_followers(database, log.store, streams, config.events, metrics, gateway_id)
        )
        injection = app[INJECTION] = await enter(
            open_injection(database, credentials, containers, oauth.refresher, gateway_id)
        )
        sessions = app[SESSIONS] = await enter(
            open_sessions(database, log, containers, followers, injection, config, gateway_id)
        )
        histories = await enter(open_histories(database, log.store, containers))
        driver = await enter(open_driver())
        permissions = app[PERMISSIONS] = open_permissions(database, log.store, containers, driver)
        turns = app[TURNS] = await enter(
            open_turns(
                *(database, log, streams, projects, containers, followers, injection, sessions),
                *(permissions, histories, driver, config.turns, gateway_id),
            )
        )
        await enter(
            open_ingest(
                *(database, log.store, containers, credentials.known, followers),
                *(turns, permissions, histories, config.permissions, metrics),
            )
        )
        members = app[IDENTITY].members
        app[ADMINISTRATION] = await enter(
            open_administration(
                *(database, log.store, projects, members, credentials, oauth, followers),
                *(injection.withdrawals, metrics),
            )
        )
        await enter(open_web(app, database, presence, credentials.keys, followers, streams, metrics, seat))
        yield
