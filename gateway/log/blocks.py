"""Long passages of the log that PostgreSQL has framed: nothing here looks at each event."""

from typing import Final

from gateway.db.errors import UnstorableText
from gateway.db.pool import Database, Row
from gateway.errors import ProjectNotFound
from gateway.log.ids import LogId
from gateway.log.reading import NotKept
from gateway.log.run import PIECE_BYTES, Run
from gateway.wire.events import Cursor

#: The events of a passage, where they are not large.
BLOCK_EVENTS: Final = 3_000
#: What stands between the events of a passage, and has to follow the last.
_END: Final = b"}\n\n"
#: How an event begins, after another one. No event's data has a line break in it.
_NEXT: Final = b"\n\nid: "
#: Of each event: its id, its type, its data, and the one that ends it.
_LINES: Final = 4


class Blocks:
    """The blocks of all events after ``after``, one after the other, up to ``through``."""

    def __init__(self, data: bytes, after: Cursor, through: int) -> None:
        self._data = data
        self._epoch, self._after = after.epoch, after.seq
        self.through = through
        #: Where the event after each of these places begins.
        self._places = {after.seq: 0}

    @property
    def size(self) -> int:
        return len(self._data)

    @property
    def is_whole(self) -> bool:
        """Whether it was not cut short, its events being large or the last ones; what comes next will be so, too."""
        return self.through - self._after == BLOCK_EVENTS

    def piece(self, after: int) -> tuple[bytes, int]:
        """The blocks that come next after a place, and the place behind them."""
        begin = self._places.get(after)
        if begin is None:
            begin = self._data.index(_NEXT + b"%d-%d\n" % (self._epoch, after + 1)) + 2
        if len(self._data) - begin <= PIECE_BYTES:
            return self._data[begin:], self.through
        last = self._data.rfind(_NEXT, begin, begin + PIECE_BYTES)
        if last < 0:
            last = self._data.find(_NEXT, begin + PIECE_BYTES - len(_NEXT))
            if last < 0:
                return self._data[begin:], self.through
        end = last + 2
        # The next event's number tells how far this goes: the log has no holes.
        through = int(self._data[end : self._data.index(b"\n", end)].rpartition(b"-")[2]) - 1
        self._places[through] = end
        return self._data[begin:end], through


async def read_blocks(database: Database, log_id: LogId, after: Cursor) -> Blocks | None:
    """The events after a place, at most 3,000 and about 1 MiB; None where they have to be read one by one.

    Raises ``NotKept`` where events after that place have been deleted, and ``ProjectNotFound``.
    """
    row = await _row(database, "read_blocks", after, log_id)
    if row is None or row["blocks"] is None:
        return None
    data, through = row["blocks"].encode() + _END, row["last_seq"]
    return Blocks(data, after, through) if _has(data, through - after.seq) else None


async def read_session_blocks(database: Database, log_id: LogId, after: Cursor, session_id: str) -> Run | None:
    """The same of one session, with the project's gaps."""
    row = await _row(database, "read_session_blocks", after, log_id, session_id=session_id)
    if row is None or row["blocks"] is None:
        return None
    data, seqs = row["blocks"].encode() + _END, row["seqs"]
    if not _has(data, len(seqs)):
        return None
    return Run.of([(seq, block + _END) for seq, block in zip(seqs, data.split(_END), strict=False)])


async def _row(database: Database, query: str, after: Cursor, log_id: LogId, **params: object) -> Row | None:
    try:
        row = await database.fetch_one(query, **log_id.params, after=after.seq, limit=BLOCK_EVENTS, **params)
    except UnstorableText:
        # Some event's data is no UTF-8.
        return None
    if row is None:
        raise ProjectNotFound()
    if after.seq < row["floor"] or after.epoch != row["epoch"]:
        raise NotKept(epoch=row["epoch"], floor=row["floor"], head=row["head"])
    return row


def _has(data: bytes, number: int) -> bool:
    """Whether these are the blocks of so many events, none of whose data has line breaks."""
    return b"\r" not in data and data.count(b"\n") == _LINES * number
