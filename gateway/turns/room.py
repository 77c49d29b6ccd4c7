"""The room opened: turns, and what looks after them until their end."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from gateway.backfill.backfill import Histories
from gateway.config.schema import TurnsConfig
from gateway.container.containers import Containers
from gateway.db.pool import Database
from gateway.follow.followers import Followers
from gateway.injection.room import InjectionRoom
from gateway.log.room import LogRoom
from gateway.permissions.requests import Permissions
from gateway.projects.room import ProjectsRoom
from gateway.sessions.room import SessionsRoom
from gateway.stream.room import StreamsRoom
from gateway.tasks import running
from gateway.turns.cancelling import Cancelling
from gateway.turns.delivery import Delivery
from gateway.turns.endings import Endings
from gateway.turns.keeper import Keeper
from gateway.turns.queue import Queue
from gateway.turns.stalls import Stalls
from gateway.turns.starting import Starting
from gateway.turns.turns import Turns

TURNS = web.AppKey("turns", Turns)


@asynccontextmanager
async def open_turns(
    database: Database,
    log: LogRoom,
    streams: StreamsRoom,
    projects: ProjectsRoom,
    containers: Containers,
    followers: Followers,
    injection: InjectionRoom,
    sessions: SessionsRoom,
    permissions: Permissions,
    histories: Histories,
    config: TurnsConfig,
    gateway_id: str,
) -> AsyncIterator[Turns]:
    limits = projects.limits
    endings = Endings(database, log.store)
    delivery = Delivery(database, log.store, containers, sessions.revival, endings, gateway_id=gateway_id)
    cancelling = Cancelling(database, log.store, containers, endings, config)
    starting = Starting(log.store, containers, followers, sessions.revival, delivery)
    queue = Queue(database, log.store, containers, starting, limits, max_queued=config.max_queued)
    turns = Turns(
        database,
        log.store,
        streams.tails,
        log.folding,
        endings,
        starting,
        queue,
        cancelling,
        limits,
        injection.injecting,
    )
    stalls = Stalls(database, log.store, containers, endings, cancelling, histories, config)
    keeper = Keeper(database, endings, delivery, cancelling, stalls, queue, followers, permissions, config)
    async with AsyncExitStack() as stack:
        for part in (delivery, turns, queue, keeper):
            stack.push_async_callback(part.close)
        await stack.enter_async_context(running({"keep house": keeper.keep()}))
        yield turns
