"""A stream: one client's cursor over the log. Live is replay with a wait, so there is no seam to lose events in."""

import asyncio
from typing import Final

import attrs

from gateway.errors import ProjectNotFound
from gateway.log.store import Head, Log
from gateway.log.tail import Entry, Tail
from gateway.wire.events import Cursor, Reset

CHUNK_BYTES: Final = 262_144


@attrs.frozen
class Chunk:
    """What to write next, and the cursor that the client has once it is written."""

    data: bytes
    cursor: Cursor


class Stream:
    """The events of a project, or of one session with the project's gaps, from a cursor on."""

    def __init__(self, log: Log, tail: Tail, project_id: str, cursor: Cursor, session_id: str | None = None) -> None:
        self._log = log
        self._tail = tail
        self._project_id = project_id
        self._session_id = session_id
        self.cursor = cursor

    async def next(self, seconds: float) -> Chunk | None:
        """The next chunk, waiting for one up to ``seconds``; None where nothing came.

        Raises ``ProjectNotFound`` once the project has been deleted.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            chunk = await self._read()
            if chunk:
                return chunk
            if self._tail.gone:
                raise ProjectNotFound()
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not await self._tail.wait(self.cursor, left):
                return None

    def advance(self, chunk: Chunk) -> None:
        """The chunk has been accepted by the client's connection."""
        self.cursor = chunk.cursor

    async def _read(self) -> Chunk | None:
        # The head is taken before reading: what is appended meanwhile is left for the next round, not skipped.
        while (head := Cursor(self._tail.epoch, self._tail.head)) != self.cursor:
            if head.epoch != self.cursor.epoch:
                reset = _reset(await self._log.head(self._project_id), "other_epoch")
                return Chunk(reset.frame(), Cursor(reset.epoch, reset.head))
            if head.seq <= self.cursor.seq:
                return None
            entries = self._tail.after(self.cursor, CHUNK_BYTES)
            if entries is None:
                entries = await self._read_log()
            data = b"".join(entry.frame for entry in entries if self._wants(entry))
            cursor = entries[-1].event.cursor if entries else head
            if data:
                return Chunk(data, cursor)
            self.cursor = cursor
        return None

    async def _read_log(self) -> list[Entry]:
        events = await self._log.read(self._project_id, self.cursor, self._session_id)
        return [Entry(event, event.frame()) for event in events]

    def _wants(self, entry: Entry) -> bool:
        event = entry.event
        if self._session_id is None:
            return True
        return event.session_id == self._session_id or (event.type == "gap" and event.session_id is None)


def judge(head: Head, text: str | None, *, from_start: bool) -> Cursor | Reset:
    """Where a client that names ``text`` as its last event id begins, or the reset that it is told.

    With none it begins at the head, or at the log's start where it asks for that.
    """
    if not text:
        return Cursor(head.epoch, head.floor if from_start else head.head)

    cursor = Cursor.parse(text)
    if cursor is None:
        return _reset(head, "unreadable_cursor")
    if cursor.epoch != head.epoch:
        return _reset(head, "other_epoch")
    if cursor.seq > head.head:
        return _reset(head, "beyond_head")
    if cursor.seq < head.floor:
        return _reset(head, "no_longer_kept")
    return cursor


def _reset(head: Head, reason: str) -> Reset:
    return Reset(epoch=head.epoch, floor=head.floor, head=head.head, reason=reason)
