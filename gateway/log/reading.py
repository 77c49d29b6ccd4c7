"""Reads the log: the events after a place, or the fact that they are no longer kept.

Each read is one statement, so that the events and the log's floor are consistent, and concurrent deletion never looks
like a hole.
"""

from collections.abc import Sequence
from typing import Final

from gateway.db.pool import Database, Row, Transaction
from gateway.errors import GatewayError, ProjectNotFound
from gateway.log.ids import LogId
from gateway.log.packs import PackCache
from gateway.wire.events import Cursor, Event

#: The limits of statements that read rows.
PAGE_EVENTS, PAGE_BYTES = 500, 262_144
#: Bytes of decoded packs in the cache.
CACHE_BYTES: Final = 16_777_216

#: Runs named queries.
Reader = Database | Transaction


class NotKept(GatewayError):
    """The log no longer has the events after this place.

    They were deleted, or the log's epoch has changed. ``epoch``, ``floor`` and ``head`` are as in ``Head``.
    """

    status, code = 410, "not_kept"

    def __init__(self, *, epoch: int, floor: int, head: int) -> None:
        super().__init__()
        self.epoch, self.floor, self.head = epoch, floor, head


class Reading:
    """Reads logs: rows and packs, without a difference for callers."""

    def __init__(self) -> None:
        self._packs = PackCache(max_bytes=CACHE_BYTES)

    async def read(self, reader: Reader, log_id: LogId, after: Cursor, session_id: str | None = None) -> list[Event]:
        """The next events after a place, at most about 1,000 and 512 KiB; of one session with what concerns them all.

        Raises ``NotKept`` if later events were deleted, and ``ProjectNotFound``.
        """
        while True:
            known = self._packs.of(log_id, after.epoch)
            rows = await _rows(reader, log_id, after, session_id, list(known))
            log = rows[0]
            if after.seq < log["floor"] or after.epoch != log["epoch"]:
                raise NotKept(epoch=log["epoch"], floor=log["floor"], head=log["head"])
            events = [event_of(row, after.epoch) for row in rows if row["type"] is not None]
            pack = next((row for row in rows if row["pack"]), None)
            if pack is None:
                return events
            last: int = pack["seq"]
            packed = known.get(last) or self._packs.take(log_id, after.epoch, last, pack["payload"])
            end = events[-1].seq if is_cut(events) else last
            events += [
                event for event in packed if after.seq < event.seq <= end and session_id in (None, event.session_id)
            ]
            if events:
                return sorted(events, key=lambda event: event.seq)
            # All of the session's events in this pack are before the place.
            after = Cursor(after.epoch, last)

    async def event(self, reader: Reader, log_id: LogId, cursor: Cursor, session_id: str) -> Event | None:
        """The session's event at a place; None if it is not kept. Raises ``ProjectNotFound``."""
        row = await reader.fetch_one("read_event", **log_id.params, epoch=cursor.epoch, seq=cursor.seq)
        if row is not None:
            return event_of(row, cursor.epoch)
        try:
            events = await self.read(reader, log_id, Cursor(cursor.epoch, cursor.seq - 1), session_id)
        except NotKept:
            return None
        return next((event for event in events if event.cursor == cursor), None)


async def _rows(
    reader: Reader, log_id: LogId, after: Cursor, session_id: str | None, known: list[int]
) -> Sequence[Row]:
    place = {**log_id.params, "after": after.seq, "known": known}
    if session_id is None:
        rows = await reader.fetch_all("read_events", **place)
    else:
        rows = await reader.fetch_all("read_session_events", session_id=session_id, **place)
    if not rows:
        raise ProjectNotFound()
    return rows


def is_cut(events: Sequence[Event]) -> bool:
    """Whether the statement's limits may have cut off rows before the pack's end."""
    return len(events) >= PAGE_EVENTS or sum(len(event.data) for event in events) >= PAGE_BYTES


def event_of(row: Row, epoch: int) -> Event:
    return Event(
        cursor=Cursor(epoch, row["seq"]),
        type=row["type"],
        session_id=row["session_id"],
        turn_id=row["turn_id"],
        agent_id=row["agent_id"],
        at=row["at"],
        data=row["payload"],
    )
