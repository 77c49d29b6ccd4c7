"""Long passages of the log that PostgreSQL has already framed, so that events are not handled one by one."""

from typing import Final

from gateway.db.errors import UnstorableText
from gateway.db.pool import Database, Row
from gateway.errors import ProjectNotFound
from gateway.log.ids import LogId
from gateway.log.reading import NotKept
from gateway.log.run import PIECE_BYTES, Run
from gateway.wire.events import Cursor

#: Events of a passage, unless they are large.
BLOCK_EVENTS: Final = 3_000
#: Between two events, and to be added after the last.
_END: Final = b"}\n\n"
#: The start of the next event. Data of events has no line breaks.
_NEXT: Final = b"\n\nid: "
#: Lines per event: id, type, data, and an empty one.
_LINES: Final = 4


class Blocks:
    """The blocks of all events after ``after`` up to ``through``."""

    def __init__(self, data: bytes, after: Cursor, through: int) -> None:
        self._data = data
        self._epoch, self._after = after.epoch, after.seq
        self.through = through
        #: After each of these events, where the next one begins.
        self._places = {after.seq: 0}

    @property
    def size(self) -> int:
        return len(self._data)

    @property
    def is_whole(self) -> bool:
        """Whether the passage was cut by the number of events. If not, its events were large or the last ones."""
        return self.through - self._after == BLOCK_EVENTS

    def piece(self, after: int) -> tuple[bytes, int]:
        """The next blocks after a place, and the place after them."""
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
        # The next event's number, less one: the log has no holes.
        through = int(self._data[end : self._data.index(b"\n", end)].rpartition(b"-")[2]) - 1
        self._places[through] = end
        return self._data[begin:end], through


async def read_blocks(database: Database, log_id: LogId, after: Cursor) -> Blocks | None:
    """The events after a place, at most 3,000 and about 1 MiB; None if they must be read one by one.

    Raises ``NotKept`` if later events were deleted, and ``ProjectNotFound``.
    """
    row = await _row(database, "read_blocks", after, log_id)
    if row is None or row["blocks"] is None:
        return None
    data, through = row["blocks"].encode() + _END, row["last_seq"]
    return Blocks(data, after, through) if _has(data, through - after.seq) else None


async def read_session_blocks(database: Database, log_id: LogId, after: Cursor, session_id: str) -> Run | None:
    """The same for one session, with the project's gaps and changes."""
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
        # Some data is not UTF-8.
        return None
    if row is None:
        raise ProjectNotFound()
    if after.seq < row["floor"] or after.epoch != row["epoch"]:
        raise NotKept(epoch=row["epoch"], floor=row["floor"], head=row["head"])
    return row


def _has(data: bytes, number: int) -> bool:
    """Whether ``data`` has this number of blocks, and no data with line breaks."""
    return b"\r" not in data and data.count(b"\n") == _LINES * number
