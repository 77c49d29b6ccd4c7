"""The room opened: permission requests, and the delivery of their answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.container.containers import Containers
from gateway.db.pool import Database
from gateway.log.store import Log
from gateway.permissions.requests import Permissions

PERMISSIONS = web.AppKey("permissions", Permissions)


@asynccontextmanager
async def open_permissions(database: Database, log: Log, containers: Containers) -> AsyncIterator[Permissions]:
    permissions = Permissions(database, log, containers)
    log.listen(permissions.appended)
    try:
        yield permissions
    finally:
        await permissions.close()
