"""The gateway as one application: the place where the rooms are joined."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from aiohttp import web

from gateway import __version__
from gateway.backfill.backfill import Histories
from gateway.config.reload import Settings
from gateway.config.schema import Config, ContainersConfig, EventsConfig
from gateway.container.client import ContainerInfo
from gateway.container.containers import Containers, OwnHost
from gateway.credentials import catalogue
from gateway.credentials.checking import check_keys
from gateway.credentials.keyring import Keys
from gateway.credentials.known import KnownSecrets
from gateway.credentials.store import Credentials
from gateway.credentials.vault import Vault
from gateway.db.deployment import pseudonym
from gateway.db.pool import Database
from gateway.errors import ConfigError
from gateway.follow.feeds import AcpFeed, OpencodeFeed
from gateway.follow.follower import Rules
from gateway.follow.followers import Followers
from gateway.follow.lease import Leases
from gateway.follow.spool import SpoolLimits
from gateway.identity.audit import Audit
from gateway.identity.identify import configured
from gateway.identity.members import Members
from gateway.identity.passes import Passes
from gateway.identity.proxy import Proxies
from gateway.identity.scrapers import Scrapers
from gateway.identity.sign_ins import SignIns
from gateway.identity.sites import Sites
from gateway.identity.throttle import Throttle
from gateway.identity.watch import Watch
from gateway.ingest.mask import Masking
from gateway.ingest.opencode import Recording
from gateway.ingest.reconcile import Reconciliation
from gateway.ingest.translate import Translator
from gateway.injection.injecting import Injecting
from gateway.injection.processes import Processes
from gateway.log.folding import Folding
from gateway.log.reviews import keep_up
from gateway.log.store import Log
from gateway.log.transcript import Transcript
from gateway.oauth.configured import configured as configured_providers
from gateway.oauth.room import opened
from gateway.permissions.requests import Permissions
from gateway.projects.addresses import Addresses
from gateway.projects.cleanup import Remains
from gateway.projects.limits import Limits
from gateway.projects.store import Projects, Retention
from gateway.proxy.client import Client
from gateway.proxy.policy import AddressPolicy
from gateway.sessions.idempotency import IdempotencyKeys
from gateway.sessions.revival import Revival
from gateway.sessions.sessions import Sessions
from gateway.sessions.snapshot import Snapshots
from gateway.stream.streams import Streams
from gateway.stream.tail import Tails
from gateway.stream.wakeups import Wakeups
from gateway.tasks import Tasks
from gateway.telemetry.configured import tracing
from gateway.telemetry.exposition import Exposition, Seat
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.upstreams import Upstreams
from gateway.turns.cancelling import Cancelling
from gateway.turns.delivery import Delivery
from gateway.turns.endings import Endings
from gateway.turns.keeper import Keeper
from gateway.turns.queue import Queue
from gateway.turns.stalls import Stalls
from gateway.turns.starting import Starting
from gateway.turns.turns import Turns
from gateway.upkeep.counting import counting
from gateway.upkeep.packing import Packing
from gateway.upkeep.presence import Presence
from gateway.upkeep.retention import Retaining
from gateway.web.bodies import Bodies
from gateway.web.gauges import add_gauges
from gateway.web.keys import (
    AUDIT,
    BODIES,
    CLIENT,
    CONFIG,
    CONTAINERS,
    CREDENTIALS,
    DATABASE,
    EXPOSITION,
    FOLLOWERS,
    IDEMPOTENCY_KEYS,
    IDENTITY,
    INJECTING,
    LIMITS,
    LOG,
    LOGINS,
    MEMBERS,
    METRICS,
    NEWS,
    PASSES,
    PERMISSIONS,
    PRESENCE,
    PROCESSES,
    PROJECTS,
    PROVIDERS,
    PROXIES,
    PSEUDONYM,
    READINESS,
    REFRESHER,
    REVOCATION,
    SCRAPERS,
    SESSIONS,
    SETTINGS,
    SIGN_INS,
    SITES,
    SNAPSHOTS,
    STREAMS,
    TAILS,
    TASKS,
    THROTTLE,
    TRACING,
    TRANSCRIPT,
    TURNS,
    VAULT,
    WAKEUPS,
    WATCH,
)
from gateway.web.leaving import LEAVE
from gateway.web.middleware.addressed import addressed
from gateway.web.middleware.audit import audit, note_switch
from gateway.web.middleware.browsers import browsers, share
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

logger = logging.getLogger(__name__)


def build_app(config: Config | Settings, seat: Seat | None = None, own_host: OwnHost | None = None) -> web.Application:
    """The application for ``config``; it connects to its database when it starts, and lets go when it stops.

    ``seat``: of one of several workers on a port. ``own_host``: an agent host of this process. Given ``Settings``, it
    follows their changes.
    """
    settings = config if isinstance(config, Settings) else Settings(config)
    config = settings.config
    around = [
        *(telemetry, errors, addressed, loops, operations),
        *(browsers, audit, identity, limiting, project, parameters),
    ]
    app = web.Application(middlewares=around, client_max_size=config.server.max_body_bytes)
    app[CONFIG], app[SETTINGS] = config, settings
    proxies = app[PROXIES] = Proxies(config.identity.proxy_addresses)
    metrics = app[METRICS] = Metrics(__version__)
    app[THROTTLE] = Throttle(on_refused=lambda: metrics.refused("failed_credentials"))
    app[BODIES] = Bodies()
    app[SITES] = Sites(
        config.identity.allowed_hosts,
        config.identity.allowed_origins,
        project_hosts=config.server.project_hosts,
        public_url=config.server.public_url,
    )
    app.on_response_prepare.extend((sandbox, share, give_cookie, note_switch))
    app[TRACING] = tracing(config.tracing)
    app[SCRAPERS] = Scrapers(config.metrics, proxies)
    _check_spool(config.events)
    address_policy(config.containers)
    app[PROVIDERS] = configured_providers(config.providers, config.oauth)
    app.cleanup_ctx.append(partial(_rooms, seat=seat, own_host=own_host))
    app[LEAVE] = _leaving(app)
    for step in (_be_unready, _stop_waiting, _stop_streams, _hand_over):
        app.on_shutdown.append(step)
    add_routes(app)
    settings.on_change(partial(_follow, app))
    return app


def _follow(app: web.Application, config: Config) -> None:
    """Hand on what has been changed; those who ask ``SETTINGS`` each time know it already."""
    app[SITES].change(config.identity.allowed_hosts, config.identity.allowed_origins)
    app[SCRAPERS].change(config.metrics)
    app[PROVIDERS].change(configured_providers(config.providers, config.oauth))
    if CLIENT in app:
        app[CLIENT].allow(address_policy(config.containers))


def _leaving(app: web.Application) -> Callable[[], Awaitable[None]]:
    async def leave() -> None:
        await _be_unready(app)
        await asyncio.sleep(app[CONFIG].server.stop_delay)

    return leave


async def _be_unready(app: web.Application) -> None:
    app[READINESS].stop()


async def _stop_waiting(app: web.Application) -> None:
    app[TURNS].stop_waiting()


async def _stop_streams(app: web.Application) -> None:
    await app[STREAMS].stop()


async def _hand_over(app: web.Application) -> None:
    # What containers have said is stored, then other gateways follow them, while we still answer those who wait.
    await app[FOLLOWERS].hand_over()


def address_policy(config: ContainersConfig) -> AddressPolicy:
    """Where containers may be; ``ConfigError`` with the entry that is wrong."""
    try:
        return AddressPolicy.parse(config.allow)
    except ValueError as exc:
        raise ConfigError(f"containers.allow: {exc}") from exc


def _check_spool(config: EventsConfig) -> None:
    if config.spool_dir and not Path(config.spool_dir).is_dir():
        raise ConfigError(f"events.spool_dir: {config.spool_dir!r} is no directory; make it, or leave this empty")


def _spool_limits(config: EventsConfig) -> SpoolLimits:
    return SpoolLimits(
        memory_bytes=config.spool_memory_bytes,
        max_bytes=config.spool_max_bytes,
        directory=Path(config.spool_dir) if config.spool_dir else None,
    )


async def _rooms(app: web.Application, *, seat: Seat | None, own_host: OwnHost | None) -> AsyncIterator[None]:
    """Open the rooms from the ground up; close them in the other order."""
    async with AsyncExitStack() as stack:
        refresh = await _open_rooms(app, stack, own_host)
        exposition = app[EXPOSITION] = Exposition(app[METRICS], refresh, seat)
        await stack.enter_async_context(exposition.open())
        yield


async def _open_rooms(
    app: web.Application, stack: AsyncExitStack, own_host: OwnHost | None
) -> Callable[[], Awaitable[None]]:
    """Gives what looks up the figures that have to be waited for."""
    config, metrics = app[CONFIG], app[METRICS]
    database = app[DATABASE] = await Database.open(
        config.database.url,
        size=config.database.pool_size,
        statement_timeout=config.database.statement_timeout,
        connect_timeout=config.database.connect_timeout,
    )
    stack.push_async_callback(database.close)
    vault_keys = Keys.load(config.vault)
    await check_keys(database, vault_keys)
    vault = app[VAULT] = Vault(vault_keys)
    own = config.credentials.catalogue
    credentials = app[CREDENTIALS] = Credentials(database, vault, catalogue.load(Path(own)) if own else None)
    gateway_id = f"gateway-{secrets.token_hex(8)}"
    known = KnownSecrets(database, credentials, gateway_id=gateway_id)
    stack.push_async_callback(app[TRACING].close)
    app[PSEUDONYM] = await pseudonym(database)
    addresses = Addresses(database, shared=config.containers.shared)
    observer = Upstreams(metrics, app[TRACING])
    client = app[CLIENT] = await stack.enter_async_context(
        Client(address_policy(config.containers), guard=addresses.guard, observer=observer, via=app[PSEUDONYM])
    )
    app[LIMITS] = Limits(app[SETTINGS], database, metrics)
    all_projects = app[PROJECTS] = Projects(database, vault, config.containers, addresses)
    watch = app[WATCH] = Watch(database)

    def members_changed() -> None:
        all_projects.forget()
        watch.look_now()

    app[MEMBERS] = Members(database, on_changed=members_changed)
    passes = app[PASSES] = Passes(database, config.identity.modes)
    app[SIGN_INS] = SignIns(database)
    audit_log = app[AUDIT] = Audit(database, days=config.identity.audit_days)
    stack.push_async_callback(audit_log.close)
    app[IDENTITY] = configured(config.identity, database, app[THROTTLE], app[PROXIES])
    containers = app[CONTAINERS] = Containers(database, all_projects, client, config.containers, known, own_host)
    log = app[LOG] = Log(database)
    log.listen(counting(metrics))
    tails = app[TAILS] = Tails(log, max_bytes=config.events.tail_bytes)
    drain = min(config.events.drain, config.server.shutdown_timeout)
    streams = app[STREAMS] = Streams(
        log,
        tails,
        attrs.evolve(config.events, drain=drain),
        reads_at_once=max(1, config.database.pool_size // 2),
        metrics=metrics,
    )
    stack.push_async_callback(streams.close)
    folding = Folding(database, log)
    transcript = app[TRANSCRIPT] = Transcript(database, log, folding)
    app[SNAPSHOTS] = Snapshots(database, transcript, folding)
    translator = Translator(database, log, permission_timeout=config.permissions.timeout)
    masking = Masking(known, translator)
    reconciliation = Reconciliation(database, log, containers)

    async def on_connected(project_id: str, info: ContainerInfo, fence: int) -> None:
        await masking.connected(project_id)
        translator.connected(project_id, info)
        await reconciliation.connected(project_id, info, fence)
        await turns.reconcile(project_id, info, fence)
        await app[PERMISSIONS].connected(project_id, info, fence)
        histories.connected(project_id)

    rules = Rules(
        max_event_bytes=config.events.max_event_bytes,
        silence=config.events.container_silence,
        spool=_spool_limits(config.events),
        metrics=metrics,
    )
    presence = app[PRESENCE] = Presence(database, gateway_id=gateway_id, seconds=config.events.lease)
    wakeups = app[WAKEUPS] = Wakeups(database, gateway_id=presence.gateway_id)
    log.listen(wakeups.moved)
    wakeups.on_moved(tails.move)
    leases = Leases(database, holder=presence.gateway_id, seconds=config.events.lease)
    await stack.enter_async_context(presence.announced())
    await stack.enter_async_context(_running(presence.keep(), "keep presence"))
    acp = AcpFeed(log, leases, find=containers.find, translate=masking, on_connected=on_connected)
    recording = Recording(database, known)
    opencode = OpencodeFeed(
        log,
        leases,
        find=containers.find_opencode,
        translate=recording,
        on_connected=recording.connected,
        count_gap=metrics.gap,
    )
    followers = app[FOLLOWERS] = Followers(database, log, tails, leases, rules, wakeups, acp=acp, opencode=opencode)
    found = app[READINESS] = readiness(database, vault_keys, followers)
    stack.push_async_callback(found.close)
    rooms = opened(
        database,
        vault,
        app[CREDENTIALS],
        log,
        app[PROVIDERS],
        config.oauth,
        holder=presence.gateway_id,
        count_refresh=metrics.credential_refreshed,
    )
    accounts = await stack.enter_async_context(rooms)
    app[LOGINS], app[REFRESHER] = accounts.logins, accounts.refresher
    app[REVOCATION], app[NEWS] = accounts.revocation, accounts.news
    endings = Endings(database, log)
    delivery = Delivery(database, log, containers, endings, gateway_id=presence.gateway_id)
    cancelling = Cancelling(database, log, containers, endings, config.turns)
    injecting = app[INJECTING] = Injecting(
        database, credentials, containers, known, gateway_id=gateway_id, fresh=accounts.refresher.fresh
    )
    accounts.refresher.on_renewed(injecting.renewed)
    processes = app[PROCESSES] = Processes(database, containers, injecting, gateway_id=gateway_id)
    revival = Revival(database, log, containers, injecting, processes, gateway_id=gateway_id)
    starting = Starting(log, containers, followers, revival, delivery)
    limits = app[LIMITS]
    queue = Queue(database, log, containers, starting, limits, max_queued=config.turns.max_queued)
    turns = app[TURNS] = Turns(database, log, tails, folding, endings, starting, queue, cancelling, limits, injecting)
    histories = Histories(database, log, containers)
    stalls = Stalls(database, log, containers, endings, cancelling, histories, config.turns)
    app[SESSIONS] = Sessions(database, log, containers, followers, injecting, processes)
    asked = app[PERMISSIONS] = Permissions(database, log, containers)
    keeper = Keeper(database, endings, delivery, cancelling, stalls, queue, followers, asked, config.turns)
    keys = app[IDEMPOTENCY_KEYS] = IdempotencyKeys(
        database, hold_seconds=config.events.lease, hours=config.server.idempotency_hours
    )
    app[TASKS] = Tasks()
    for room in (followers, histories, delivery, turns, queue, keeper, asked, injecting, app[TASKS]):
        stack.push_async_callback(room.close)
    await stack.enter_async_context(_running(tails.poll(), "poll heads"))
    await stack.enter_async_context(_running(streams.beat(), "heartbeats"))
    await stack.enter_async_context(_running(wakeups.run(), "wake-ups"))
    await stack.enter_async_context(_running(followers.review(), "review followers"))
    await stack.enter_async_context(_running(followers.renew(), "renew leases"))
    packing = Packing(database, config.events.pack_after)
    rule = Retention(max_age_days=config.events.retention_days or None, max_bytes=config.events.retention_bytes or None)
    retaining = Retaining(database, folding, rule)
    upkeep = keep_up([folding.review, packing.review, retaining.review, Remains(database).review])
    await stack.enter_async_context(_running(upkeep, "keep up logs"))
    await stack.enter_async_context(_running(keeper.keep(), "keep house"))
    await stack.enter_async_context(_running(audit_log.run(), "write audit"))
    await stack.enter_async_context(_running(watch.run(), "watch access"))
    await stack.enter_async_context(_running(passes.sweep(), "sweep passes"))
    await stack.enter_async_context(_running(known.keep_up(), "know what containers were given"))
    await stack.enter_async_context(_running(keys.sweep(), "sweep idempotency keys"))
    await stack.enter_async_context(_running(accounts.poller.run(), "poll providers"))
    await stack.enter_async_context(_running(accounts.refresher.run(), "renew credentials"))
    await stack.enter_async_context(_running(accounts.revocation.run(), "revoke tokens again"))
    return add_gauges(metrics, database, followers, streams)


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """``work`` in a task for as long as this is open; its end before that is a fault, and logged."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_log_end)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


def _log_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("task died", exc_info=task.exception(), extra={"task": task.get_name()})
