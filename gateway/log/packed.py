"""Long passages of packed events, framed directly from the columns of their packs, for clients far behind."""

import asyncio
from collections.abc import Sequence
from typing import Final

from gateway.db.pool import Database, Row
from gateway.errors import ProjectNotFound
from gateway.log.ids import LogId
from gateway.log.packs import frames
from gateway.log.reading import NotKept, event_of, is_cut
from gateway.log.run import Run
from gateway.wire.events import Cursor

#: Packs that are read at once, unless their events are large.
_PACKS: Final = 6
#: No further pack is read once the frames take this much.
_BYTES: Final = 1_048_576


async def read_packed(
    database: Database, log_id: LogId, after: Cursor, session_id: str | None
) -> tuple[Run, int] | None:
    """The frames of packed events after a place, with the rows among them, about 3,000 or 1 MiB, and how far they go.

    None if no pack is left. Raises ``NotKept`` if later events were deleted, and ``ProjectNotFound``.
    """
    rows = await database.fetch_all("read_packs", **log_id.params, after=after.seq, session_id=session_id, limit=_PACKS)
    if not rows:
        raise ProjectNotFound()
    log = rows[0]
    if after.seq < log["floor"] or after.epoch != log["epoch"]:
        raise NotKept(epoch=log["epoch"], floor=log["floor"], head=log["head"])
    packs = [row for row in rows if row["pack"]]
    if not packs:
        return None
    events = [event_of(row, after.epoch) for row in rows if row["type"] is not None]
    limit = events[-1].seq if is_cut(events) else packs[-1]["seq"]
    packed, through = await _open(packs, after, session_id, limit)
    stayed = [(event.seq, event.frame()) for event in events if event.seq <= through]
    return Run.of(sorted(packed + stayed) if stayed else packed), through


async def _open(
    packs: Sequence[Row], after: Cursor, session_id: str | None, limit: int
) -> tuple[list[tuple[int, bytes]], int]:
    """The frames of packs up to ``limit``, until they are large enough, and how far they go."""
    found: list[tuple[int, bytes]] = []
    size = 0
    for pack in packs:
        own = frames(pack["payload"], after, session_id)
        found += own
        size += sum(len(frame) for _, frame in own)
        if pack["seq"] >= limit:
            break
        if size >= _BYTES:
            return found, pack["seq"]
        # Each takes milliseconds: let other tasks run.
        await asyncio.sleep(0)
    return [frame for frame in found if frame[0] <= limit], limit
