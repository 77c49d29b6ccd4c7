"""The audit: who did what to which project, from where, with what outcome. Entries are never changed.

One task writes entries in batches, within milliseconds. A change is answered once its entry is written. Reads are
recorded only if they are refused.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import attrs

from gateway.db.arrays import integer_array, text_array
from gateway.db.every import every
from gateway.db.pool import Database, Row
from gateway.errors import DatabaseUnavailable, GatewayError
from gateway.wire.bounded import Bounded

logger = logging.getLogger(__name__)

AuditOutcome = Literal["done", "refused", "failed", "left"]

MAX_WAITING: Final = 10_000
BATCH: Final = 500
#: How long a response waits for its entry while the database is unavailable.
WAIT_SECONDS: Final = 5.0
#: Identical refusals of one caller are recorded once in this time, with their number.
REPEAT_SECONDS: Final = 60.0
MAX_REPEATED: Final = 10_000
#: How often old entries are deleted, and how many at a time.
SWEEP_SECONDS: Final = 600.0
SWEEP_BATCH: Final = 10_000


@attrs.frozen(kw_only=True)
class Entry:
    """A change, or a refused request."""

    project_id: str | None
    user_id: str | None
    mode: str | None
    token_id: str | None
    method: str
    path: str
    #: ``left``: the client disconnected before the response.
    outcome: AuditOutcome
    status: int | None
    code: str | None
    address: str | None
    request_id: str
    repeats: int = 0

    @property
    def kind(self) -> tuple[object, ...]:
        """Equal for repeated refusals."""
        return self.project_id, self.user_id, self.address, self.method, self.code


@attrs.frozen(kw_only=True)
class Noted(Entry):
    """A stored entry."""

    id: int
    at: datetime

    @classmethod
    def from_row(cls, row: Row) -> "Noted":
        return cls(**{field.name: row[field.name] for field in attrs.fields(cls)})


class Audit:
    """The entries of one database. ``run`` and ``sweep`` are its tasks; ``close`` writes what waits."""

    def __init__(self, database: Database, *, days: int) -> None:
        self._database = database
        self._days = days
        self._waiting: asyncio.Queue[tuple[Entry, asyncio.Future[None]]] = asyncio.Queue(MAX_WAITING)
        #: Refusals of the last minute: since when, and how many have been left out; oldest first.
        self._repeated: Bounded[tuple[object, ...], tuple[float, int]] = Bounded(MAX_REPEATED)

    async def note(self, entry: Entry) -> None:
        """Write an entry, and wait until it is stored. A failure is only logged: the change has already happened."""
        written = self.put(entry)
        if written is not None:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await asyncio.shield(written)
            except TimeoutError:
                logger.warning("an audit entry waits for the database", extra={"request": entry.request_id})

    def put(self, entry: Entry) -> asyncio.Future[None] | None:
        """Queue an entry to be written."""
        if entry.outcome == "refused":
            repeats = self._count(entry)
            if repeats is None:
                return None
            entry = attrs.evolve(entry, repeats=repeats)
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._waiting.put_nowait((entry, written))
        except asyncio.QueueFull:
            logger.error("an audit entry is lost: too many wait for the database", extra=_told(entry))
            return None
        return written

    async def page(self, project_id: str, *, before: int | None, limit: int) -> list[Noted]:
        """A project's entries, newest first, without those of an earlier project with the same id."""
        rows = await self._database.fetch_all("list_audit_entries", project_id=project_id, before=before, limit=limit)
        return [Noted.from_row(row) for row in rows]

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            await self._write([await self._waiting.get(), *self._more()])

    async def sweep(self) -> None:
        """Delete what is old, until cancelled."""
        await every(SWEEP_SECONDS, self._delete_old, failed="old audit entries not deleted")

    async def close(self) -> None:
        """Write queued entries."""
        while rest := self._more():
            await self._write(rest)

    def _more(self) -> list[tuple[Entry, asyncio.Future[None]]]:
        count = min(self._waiting.qsize(), BATCH)
        return [self._waiting.get_nowait() for _ in range(count)]

    async def _write(self, batch: Sequence[tuple[Entry, asyncio.Future[None]]]) -> None:
        try:
            await self._insert([entry for entry, _ in batch])
        finally:
            for _, written in batch:
                if not written.done():
                    written.set_result(None)

    async def _insert(self, entries: Sequence[Entry]) -> None:
        try:
            await self._database.execute(
                "insert_audit_entries",
                **{
                    name: text_array(getattr(entry, name) for entry in entries)
                    for name in (
                        *("project_id", "user_id", "mode", "token_id", "method", "path"),
                        *("outcome", "code", "address", "request_id"),
                    )
                },
                status=integer_array(entry.status for entry in entries),
                repeats=integer_array(entry.repeats for entry in entries),
            )
        except GatewayError as exc:
            if len(entries) > 1 and not isinstance(exc, DatabaseUnavailable):
                # One of them cannot be stored; store the others.
                for entry in entries:
                    await self._insert([entry])
                return
            for entry in entries:
                logger.error("an audit entry is lost", extra={**_told(entry), "error": str(exc)})

    async def _delete_old(self) -> None:
        while await self._database.execute("delete_old_audit_entries", days=self._days, limit=SWEEP_BATCH):
            pass

    def _count(self, entry: Entry) -> int | None:
        """How many identical ones were left out before it; None: this one is left out, too."""
        now = time.monotonic()
        since, left_out = self._repeated.get(entry.kind, (float("-inf"), 0))
        again = now - since < REPEAT_SECONDS
        self._repeated[entry.kind] = (since, left_out + 1) if again else (now, 0)
        return None if again else left_out


def _told(entry: Entry) -> dict[str, object]:
    return {name: value for name, value in attrs.asdict(entry).items() if value is not None}
