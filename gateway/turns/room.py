"""The room opened: turns, and the driver that brings them to their ends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.backfill.backfill import Histories
from gateway.config.schema import TurnsConfig
from gateway.container.containers import Containers
from gateway.db.due import Driver
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
from gateway.turns.driver import TurnDriver
from gateway.turns.queue import Queue
from gateway.turns.starting import Starting
from gateway.turns.store import TurnStore
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
    driver: Driver,
    config: TurnsConfig,
    gateway_id: str,
) -> AsyncIterator[Turns]:
    limits, known = projects.limits, sessions.sessions
    store = TurnStore(database, log.store, gateway_id=gateway_id)
    delivery = Delivery(log.store, store, known, containers, sessions.revival, driver)
    starting = Starting(log.store, containers, followers, sessions.revival, delivery, gateway_id=gateway_id)
    queue = Queue(log.store, store, known, containers, starting, limits, driver, max_queued=config.max_queued)
    cancelling = Cancelling(log.store, store, known, containers, config)
    turns = Turns(
        *(store, known, streams.tails, log.folding, starting, queue, cancelling),
        *(limits, injection.injecting, driver),
    )
    open_ones = TurnDriver(log.store, store, containers, histories, delivery, queue, cancelling, driver, config)
    for listener in (turns.appended, queue.appended):
        log.store.listen(listener)
    reviews = {
        "turn": lambda: open_ones.review(followers.held()),
        "permission": lambda: permissions.review(followers.held()),
    }
    try:
        async with running({"drive turns and permission answers": driver.run(reviews)}):
            yield turns
    finally:
        await turns.close()
