"""Deletes what is left of deleted projects: events and messages, possibly too many for one transaction.

A project is gone with its row. What remains has a key that nobody can look up, and is deleted in batches, partly in the
background. If a gateway dies, the next review continues.
"""

import asyncio
import logging
from typing import Final

from gateway.db.pool import Database, Transaction

logger = logging.getLogger(__name__)

BATCH_ROWS: Final = 5_000
#: A pack is about as large as some hundred events.
BATCH_PACKS: Final = 200
REVIEW_SECONDS: Final = 10.0


class Remains:
    """The remains of deleted projects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def review(self) -> None:
        """Delete what is left, for some seconds per project."""
        for row in await self._database.fetch_all("list_deleted_projects"):
            await self.remove(row["project_id"], seconds=REVIEW_SECONDS)

    async def remove(self, project_id: str, *, seconds: float) -> bool:
        """Delete what is left of a project, for ``seconds``; whether nothing is left."""
        until = asyncio.get_running_loop().time() + seconds

        async def work(transaction: Transaction) -> bool:
            return await _remove_once(transaction, project_id)

        while not await self._database.transaction(work):
            if asyncio.get_running_loop().time() > until:
                logger.info("a deleted project has rows left", extra={"project": project_id})
                return False
        return True


async def _remove_once(transaction: Transaction, project_id: str) -> bool:
    if await transaction.fetch_one("lock_deleted_project", project_id=project_id) is None:
        return True
    events = await transaction.execute("delete_some_events", project_id=project_id, limit=BATCH_ROWS)
    messages = await transaction.execute("delete_some_messages", project_id=project_id, limit=BATCH_ROWS)
    packs = await transaction.execute("delete_some_packs", project_id=project_id, limit=BATCH_PACKS)
    if events or messages or packs:
        return False
    await transaction.execute("forget_deleted_project", project_id=project_id)
    return True
