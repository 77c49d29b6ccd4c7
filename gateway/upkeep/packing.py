"""Packs old events: many rows become one compressed row, without a difference for readers.

Any gateway packs any log, one pack per transaction under the lock of the log's storage row. The log's head is not
locked, so appends continue. A reader's statement sees either the rows or the pack.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

import attrs

from gateway.db.pool import Database, Row, Transaction
from gateway.log.ids import LogId
from gateway.log.packs import encode
from gateway.log.reviews import of_each

logger = logging.getLogger(__name__)

#: Fewer events than these are packed only if they have this size.
LEAST_EVENTS: Final = 100
LEAST_BYTES: Final = 65_536


@attrs.frozen
class Packing:
    """Packs what is older than ``pack_after`` seconds."""

    database: Database
    pack_after: float

    async def review(self) -> None:
        """Pack what is old enough, in all projects that no other gateway is packing."""
        await self.database.execute("settle_logs", least=LEAST_EVENTS)
        rows = await self.database.fetch_all("list_logs_to_pack", least=LEAST_EVENTS, seconds=self.pack_after)
        await of_each(rows, lambda row: self.pack(LogId.of(row)))

    async def pack(self, log_id: LogId) -> int:
        """Pack what is old enough in a log; returns the number of events."""
        number = 0

        async def work(transaction: Transaction) -> int:
            return await self._pack_once(transaction, log_id)

        while packed := await self.database.transaction(work):
            number += packed
        if number:
            logger.debug("events packed", extra={"project": log_id.project_id, "log": str(log_id), "count": number})
        return number

    async def _pack_once(self, transaction: Transaction, log_id: LogId) -> int:
        log = await transaction.fetch_one("lock_storage", **log_id.params, seconds=self.pack_after)
        if log is None:
            return 0
        rows = await transaction.fetch_all(
            "list_events_to_pack", **log_id.params, after=log["packed_to"], old_to=log["old_to"]
        )
        if not _is_enough(rows):
            await transaction.execute("note_head", **log_id.params, head=log["head"])
            return 0
        await _replace(transaction, log_id, rows)
        return len(rows)


async def _replace(transaction: Transaction, log_id: LogId, rows: Sequence[Row]) -> None:
    stored = await transaction.fetch_one(
        "pack_events",
        **log_id.params,
        first_seq=rows[0]["seq"],
        last_seq=rows[-1]["seq"],
        number=len(rows),
        sessions=sorted({row["session_id"] for row in rows} - {None}),
        newest_at=max(row["at"] for row in rows),
        # Compressing takes milliseconds, during which streams would wait.
        encoded=await asyncio.to_thread(encode, rows),
    )
    if stored is None:
        raise RuntimeError(f"events of {str(log_id)!r} changed while they were packed")


def _is_enough(rows: Sequence[Row]) -> bool:
    return len(rows) >= LEAST_EVENTS or sum(len(row["payload"]) for row in rows) >= LEAST_BYTES
