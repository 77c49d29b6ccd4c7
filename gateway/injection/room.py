"""The room opened: credentials given to containers, and the processes that run with them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
from aiohttp import web

from gateway.container.containers import Containers
from gateway.credentials.room import CredentialsRoom
from gateway.db.pool import Database
from gateway.injection.injecting import Injecting
from gateway.injection.processes import Processes
from gateway.injection.withdrawals import Withdrawals
from gateway.oauth.refresh import Refresher
from gateway.tasks import running


@attrs.frozen(kw_only=True)
class InjectionRoom:
    injecting: Injecting
    processes: Processes
    withdrawals: Withdrawals


INJECTION = web.AppKey("injection", InjectionRoom)


@asynccontextmanager
async def open_injection(
    database: Database, credentials: CredentialsRoom, containers: Containers, refresher: Refresher, gateway_id: str
) -> AsyncIterator[InjectionRoom]:
    withdrawals = Withdrawals(database, containers)
    injecting = Injecting(
        *(database, credentials.store, containers, credentials.known, withdrawals),
        gateway_id=gateway_id,
        fresh=refresher.fresh,
    )
    refresher.on_renewed(injecting.renewed)
    processes = Processes(database, containers, injecting, gateway_id=gateway_id)
    try:
        async with running({"take credentials back": withdrawals.run()}):
            yield InjectionRoom(injecting=injecting, processes=processes, withdrawals=withdrawals)
    finally:
        await withdrawals.close()
