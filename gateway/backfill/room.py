"""The room opened: gaps are filled from OpenCode's own history, as turns end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.backfill.backfill import Histories
from gateway.container.containers import Containers
from gateway.db.pool import Database
from gateway.log.store import Log


@asynccontextmanager
async def open_histories(database: Database, log: Log, containers: Containers) -> AsyncIterator[Histories]:
    histories = Histories(database, log, containers)
    log.listen(histories.appended)
    try:
        yield histories
    finally:
        await histories.close()
