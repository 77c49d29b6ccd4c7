"""The transcript: a session's messages, as people read them.

A history is the messages that have been written and, folded on the fly, the end of the log that none of them covers.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Final

import attrs

from gateway.db.pool import Database, Transaction
from gateway.errors import Conflict, SessionNotFound
from gateway.log.folding import Folding, message_from_row
from gateway.log.store import Log
from gateway.wire.messages import Message

_END: Final = 2**62


@attrs.frozen(kw_only=True)
class Page:
    """Messages in the order asked for, and the id after which the next page begins; None on the last."""

    messages: tuple[Message, ...]
    next: str | None


class Transcript:
    """The messages of all sessions in one database."""

    def __init__(self, database: Database, log: Log, folding: Folding) -> None:
        self._database = database
        self._log = log
        self._folding = folding

    async def page(
        self,
        project_id: str,
        session_id: str,
        *,
        after: int | None,
        limit: int,
        newest_first: bool,
        within: Transaction | None = None,
    ) -> Page:
        """One page of a session's history, after a message's id in the order asked for."""
        # First what is not written: what is written meanwhile is then found twice, and shown as it was written.
        recent = await self._folding.unfolded(project_id, session_id, within=within)
        reader = within or self._database
        place = {"project_id": project_id, "session_id": session_id, "limit": limit + 1}
        if newest_first:
            end = after or _END
            rows = await reader.fetch_all("list_messages_backwards", before=end, **place)
            newer = {message.first_seq: message for message in recent if message.first_seq < end}
        else:
            start = after or 0
            rows = await reader.fetch_all("list_messages", after=start, **place)
            newer = {message.first_seq: message for message in recent if message.first_seq > start}
        merged = newer | {row["first_seq"]: _later(message_from_row(row), newer) for row in rows}
        messages = [merged[seq] for seq in sorted(merged, reverse=newest_first)]
        more = len(messages) > limit
        return Page(messages=tuple(messages[:limit]), next=messages[limit - 1].id if more else None)

    async def all(self, project_id: str, session_id: str) -> AsyncIterator[Message]:
        """A session's whole history, oldest first, with some of it in memory at a time.

        Raises ``Conflict`` or ``SessionNotFound`` at the end of one that was cleared or deleted meanwhile.
        """
        before = await self._cleared_to(project_id, session_id)
        recent = await self._folding.unfolded(project_id, session_id)
        updated = {message.first_seq: message for message in recent}
        last = 0
        async for message in self._written(project_id, session_id):
            last = message.first_seq
            yield _later(message, updated)
        for message in recent:
            if message.first_seq > last:
                yield message
        if await self._cleared_to(project_id, session_id) != before:
            raise Conflict("The history was cleared while it was read.")

    async def clear(self, project_id: str, session_id: str) -> None:
        """Forget the history up to now; the log, which streams resume from, stays."""
        head = await self._log.head(project_id)

        async def work(transaction: Transaction) -> None:
            await transaction.fetch_one("lock_fold", project_id=project_id, session_id=session_id)
            await transaction.execute("delete_messages", project_id=project_id, session_id=session_id)
            await transaction.execute("set_cleared", project_id=project_id, session_id=session_id, cleared_to=head.head)

        await self._database.transaction(work)

    async def _cleared_to(self, project_id: str, session_id: str) -> int:
        place = await self._database.fetch_one("get_fold", project_id=project_id, session_id=session_id)
        if place is None:
            raise SessionNotFound()
        cleared_to: int = place["cleared_to"]
        return cleared_to

    async def _written(self, project_id: str, session_id: str) -> AsyncIterator[Message]:
        last = 0
        while rows := await self._database.fetch_all(
            "export_messages", project_id=project_id, session_id=session_id, after=last
        ):
            for row in rows:
                yield message_from_row(row)
            last = rows[-1]["first_seq"]


def _later(written: Message, unwritten: Mapping[int, Message]) -> Message:
    """A message as it is in rows, or as events that none covered went on with it: whichever goes further."""
    other = unwritten.get(written.first_seq, written)
    return other if other.last_seq > written.last_seq else written
