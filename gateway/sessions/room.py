"""The room opened: sessions, what takes them up again, their snapshots, and the keys of idempotent calls."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
from aiohttp import web

from gateway.config.schema import Config
from gateway.container.containers import Containers
from gateway.db.pool import Database
from gateway.follow.followers import Followers
from gateway.injection.room import InjectionRoom
from gateway.log.room import LogRoom
from gateway.sessions.idempotency import IdempotencyKeys
from gateway.sessions.revival import Revival
from gateway.sessions.sessions import Sessions
from gateway.sessions.snapshot import Snapshots
from gateway.tasks import running


@attrs.frozen(kw_only=True)
class SessionsRoom:
    sessions: Sessions
    snapshots: Snapshots
    revival: Revival
    idempotency: IdempotencyKeys


SESSIONS = web.AppKey("sessions", SessionsRoom)


@asynccontextmanager
async def open_sessions(
    database: Database,
    log: LogRoom,
    containers: Containers,
    followers: Followers,
    injection: InjectionRoom,
    config: Config,
    gateway_id: str,
) -> AsyncIterator[SessionsRoom]:
    injecting, processes = injection.injecting, injection.processes
    idempotency = IdempotencyKeys(database, gateway_id=gateway_id, hours=config.server.idempotency_hours)
    try:
        async with running({"sweep idempotency keys": idempotency.sweep()}):
            yield SessionsRoom(
                sessions=Sessions(database, log.store, containers, followers, injecting, processes),
                snapshots=Snapshots(database, log.transcript, log.folding),
                revival=Revival(database, log.store, containers, injecting, processes, gateway_id=gateway_id),
                idempotency=idempotency,
            )
    finally:
        await idempotency.close()
