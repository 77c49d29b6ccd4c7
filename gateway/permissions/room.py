"""The room opened: permission requests, and the delivery of their answers."""

from aiohttp import web

from gateway.container.containers import Containers
from gateway.db.due import Driver
from gateway.db.pool import Database
from gateway.log.store import Log
from gateway.permissions.requests import Permissions

PERMISSIONS = web.AppKey("permissions", Permissions)


def open_permissions(database: Database, log: Log, containers: Containers, driver: Driver) -> Permissions:
    permissions = Permissions(database, log, containers, driver)
    log.listen(permissions.appended)
    return permissions
