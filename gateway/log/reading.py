"""Read the log: the events after a place, or the certainty that they are no longer kept.

Each read is one statement, so that what it finds and where the log begins are true at one moment: what is deleted
meanwhile is never taken for a hole that is none.
"""

from gateway.db.pool import Database, Row, Transaction
from gateway.errors import GatewayError, ProjectNotFound
from gateway.wire.events import Cursor, Event

#: Who runs a named query.
Reader = Database | Transaction


class NotKept(GatewayError):
    """The log no longer holds what comes after that place.

    Its events have been deleted, or the log is another one by now. ``epoch``, ``floor`` and ``head`` are where it
    begins and ends, as in ``Head``.
    """

    status, code = 410, "not_kept"

    def __init__(self, *, epoch: int, floor: int, head: int) -> None:
        super().__init__()
        self.epoch, self.floor, self.head = epoch, floor, head


async def read(reader: Reader, project_id: str, after: Cursor, session_id: str | None = None) -> list[Event]:
    """The next events after a place, at most 500 and about 256 KiB; of one session with the project's gaps.

    Raises ``NotKept`` where events after that place have been deleted, and ``ProjectNotFound``.
    """
    place = {"project_id": project_id, "after": after.seq}
    if session_id is None:
        rows = await reader.fetch_all("read_events", **place)
    else:
        rows = await reader.fetch_all("read_session_events", session_id=session_id, **place)
    if not rows:
        raise ProjectNotFound()
    log = rows[0]
    if after.seq < log["floor"] or after.epoch != log["epoch"]:
        raise NotKept(epoch=log["epoch"], floor=log["floor"], head=log["head"])
    return [_event(row, after.epoch) for row in rows if row["seq"] is not None]


def _event(row: Row, epoch: int) -> Event:
    return Event(
        cursor=Cursor(epoch, row["seq"]),
        type=row["type"],
        session_id=row["session_id"],
        turn_id=row["turn_id"],
        agent_id=row["agent_id"],
        at=row["at"],
        data=row["payload"],
    )
