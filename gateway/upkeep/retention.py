"""Retention: deletes what a project need not keep from the beginning of its log.

There are two rules, the project's own or the gateway's: events and messages beyond an age, and events beyond a number
of bytes. Events that no message covers yet stay, and so does a running turn. Each batch deletes events and raises the
log's floor in one transaction, so that readers find the next events or learn that they are no longer kept.

The keys of deleted events are kept for a week without data, so that a repeated event is still stored once.
"""

import logging
from typing import Final

import attrs

from gateway.db.pool import Database, Row, Transaction
from gateway.log.folding import Folding
from gateway.log.ids import ACP, LogId
from gateway.log.reviews import of_each
from gateway.projects.store import Retention

logger = logging.getLogger(__name__)

BATCH_EVENTS: Final = 5_000


@attrs.frozen
class Retaining:
    """Applies the rules. ``default`` is for projects without a rule of their own."""

    database: Database
    folding: Folding
    default: Retention

    async def review(self) -> None:
        """Apply retention to logs that were not looked at for a minute."""
        some = self.default == Retention()
        rows = await self.database.fetch_all("claim_logs_with_rule" if some else "claim_logs_to_look_at")
        await of_each(rows, lambda row: self.apply(LogId.of(row), Retention.from_row(row["retention"]) or self.default))

    async def apply(self, log_id: LogId, rule: Retention) -> int:
        """Apply a rule; returns by how much the log's floor has risen."""
        if rule == Retention():
            return 0
        place = await self.database.fetch_one("find_retention_cut", **log_id.params, **_limits(rule))
        if place is None:
            return 0
        raised = await self._delete_events(log_id, place)
        await self._in_batches("delete_old_keys", **log_id.params)
        if log_id.name == ACP and rule.max_age_days is not None:
            days = rule.max_age_days
            await self._in_batches("delete_old_messages", project_id=log_id.project_id, days=days)
        if raised:
            logger.info("events deleted", extra={"project": log_id.project_id, "log": str(log_id), "count": raised})
        return raised

    async def _delete_events(self, log_id: LogId, place: Row) -> int:
        if place["cut"] is None or place["cut"] <= place["floor"]:
            return 0
        cut = await self._settled(log_id, place["cut"])
        for seq in [*range(place["floor"] + BATCH_EVENTS, cut, BATCH_EVENTS), cut]:
            if seq > place["floor"]:
                await self._delete_up_to(log_id, seq)
        return max(0, cut - int(place["floor"]))

    async def _settled(self, log_id: LogId, cut: int) -> int:
        """How far up to ``cut`` messages cover the log."""
        if log_id.name != ACP:
            return cut  # it has no messages
        project_id = log_id.project_id
        for row in await self.database.fetch_all("list_sessions_up_to", project_id=project_id, seq=cut):
            first = await self.folding.settle(project_id, row["id"])
            if first is not None:
                cut = min(cut, first - 1)
        return cut

    async def _delete_up_to(self, log_id: LogId, seq: int) -> None:
        async def work(transaction: Transaction) -> None:
            if await transaction.fetch_one("lock_log_storage", **log_id.params) is None:
                return  # the project has been deleted
            place = {**log_id.params, "seq": seq}
            await transaction.execute("delete_packs_up_to", **place)
            await transaction.execute("delete_events_up_to", **place)
            await transaction.execute("empty_events_up_to", **place)
            # Last, because appends wait for this row.
            await transaction.execute("raise_floor", **place)

        await self.database.transaction(work)

    async def _in_batches(self, query: str, **params: object) -> None:
        while await self.database.execute(query, **params, limit=BATCH_EVENTS) == BATCH_EVENTS:
            pass


def _limits(rule: Retention) -> dict[str, int | None]:
    return {"days": rule.max_age_days, "bytes": rule.max_bytes}
