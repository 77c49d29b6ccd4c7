"""The transcript: a session's messages.

A history is the written messages and, folded on the fly, the end of the log that they do not cover.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

import attrs

from gateway.db.pool import Database, Transaction
from gateway.errors import Conflict, HistoryTooLong, SessionNotFound
from gateway.log.folding import ATTEMPTS, Folding, Unfolded, message_from_row
from gateway.log.ids import LogId
from gateway.log.store import Effect, Log, NewEvent
from gateway.wire.events import SessionCleared
from gateway.wire.limits import PAGE_BYTES
from gateway.wire.messages import Message
from gateway.wire.references import Content, content_of, outlined

_END: Final = 2**62
#: Bodies that are longer are outlined in a thread.
_LARGE_BYTES: Final = 262_144
#: Contents that are read at once: each takes some times its size.
CONTENTS_AT_ONCE: Final = 4


@attrs.frozen(kw_only=True)
class Page:
    """Messages in the requested order, and the id after which the next page begins; None on the last."""

    messages: tuple[Message, ...]
    next: str | None


class Transcript:
    """The messages of all sessions."""

    def __init__(self, database: Database, log: Log, folding: Folding) -> None:
        self._database = database
        self._log = log
        self._folding = folding
        self._contents = asyncio.Semaphore(CONTENTS_AT_ONCE)

    async def page(
        self,
        project_id: str,
        session_id: str,
        *,
        after: int | None,
        limit: int,
        newest_first: bool,
        size: int | None = None,
        within: Transaction | None = None,
        however_long: bool = False,
    ) -> Page:
        """One page of a session's history, after a message's id in the requested order: at most ``limit`` messages
        and ``size`` bytes (by default 4 MiB). Large contents are left to references.

        Raises ``HistoryTooLong`` if it is read ``within`` a transaction; see ``Folding.unfolded``.
        """
        size = PAGE_BYTES if size is None else size
        for _ in range(ATTEMPTS):
            # Unwritten messages first: what is written meanwhile is then found twice, and the later one is shown.
            recent = await self._recent(project_id, session_id, within, however_long)
            page = await self._page(project_id, session_id, recent.messages, after, limit, newest_first, size, within)
            # Otherwise a message was written meanwhile, and another one behind it may be missing.
            if within or await self._folding.folded_to(project_id, session_id) == recent.folded_to:
                break
        return page

    async def _page(
        self,
        project_id: str,
        session_id: str,
        recent: Sequence[Message],
        after: int | None,
        limit: int,
        newest_first: bool,
        size: int,
        within: Transaction | None,
    ) -> Page:
        reader = within or self._database
        place = {"project_id": project_id, "session_id": session_id, "limit": limit + 1, "bytes": size}
        if newest_first:
            end = after or _END
            rows = await reader.fetch_all("list_messages_backwards", before=end, **place)
            newer = {message.first_seq: message for message in recent if message.first_seq < end}
        else:
            start = after or 0
            rows = await reader.fetch_all("list_messages", after=start, **place)
            newer = {message.first_seq: message for message in recent if message.first_seq > start}
        written = {row["first_seq"]: row for row in rows}
        seqs = sorted(written.keys() | newer.keys(), reverse=newest_first)
        if sum(len(row["body"]) for row in rows) >= size:
            # There may be others after the last one.
            seqs = seqs[: seqs.index(rows[-1]["first_seq"]) + 1]
            more = True
        else:
            more = len(seqs) > limit
        messages: list[Message] = []
        left = size
        for seq in seqs[:limit]:
            row = written.get(seq)
            message = newer[seq] if row is None else _later(message_from_row(row), newer)
            if row is None or seq in newer or not row["is_outlined"]:
                message = await _outlined(message)
            left -= len(message.body)
            if left < 0 and messages:
                more = True
                break
            messages.append(message)
        return Page(messages=tuple(messages), next=messages[-1].id if more else None)

    async def content(self, project_id: str, session_id: str, message_id: int, number: int) -> Content | None:
        """The large value that a message's reference of this number stands for; None if there is no such."""
        # A fold may wait for another one of its session, and takes no place of the others meanwhile.
        recent = await self._recent(project_id, session_id, None)
        async with self._contents:
            message = next((one for one in recent.messages if one.first_seq == message_id), None)
            if message is None:
                place = {"project_id": project_id, "session_id": session_id, "first_seq": message_id}
                row = await self._database.fetch_one("get_message", **place)
                if row is None:
                    return None
                message = await asyncio.to_thread(message_from_row, row)
            return await asyncio.to_thread(content_of, message.body, number)

    async def all(self, project_id: str, session_id: str) -> AsyncIterator[Message]:
        """A session's whole history, oldest first, with a part of it in memory at a time.

        Raises ``Conflict`` or ``SessionNotFound`` at the end if it was cleared or deleted meanwhile.
        """
        before = await self._cleared_to(project_id, session_id)
        last = 0
        while True:
            # Unwritten messages first: what is written meanwhile is then found twice, and never missed.
            recent = await self._recent(project_id, session_id, None)
            updated = {message.first_seq: message for message in recent.messages}
            newest: Message | None = None
            async for message in self._written(project_id, session_id, after=last):
                if newest is not None:
                    last = newest.first_seq
                    yield _later(newest, updated)
                newest = message
            if await self._folding.folded_to(project_id, session_id) == recent.folded_to:
                if newest is not None:
                    last = newest.first_seq
                    yield _later(newest, updated)
                break
            # Messages were written meanwhile, perhaps after what was yielded, and the newest may have grown: continue
            # there. Each round only has what was written since.
        for message in recent.messages:
            if message.first_seq > last:
                yield message
        if await self._cleared_to(project_id, session_id) != before:
            raise Conflict("The history was cleared while it was read.")

    async def _recent(
        self, project_id: str, session_id: str, within: Transaction | None, however_long: bool = False
    ) -> Unfolded:
        however_long = however_long or within is None
        for _ in range(0 if within else ATTEMPTS):
            with suppress(HistoryTooLong):
                return await self._folding.unfolded(project_id, session_id)
            # Only now, when what was read before is no longer referenced.
            await self._folding.shorten(project_id, session_id)
        return await self._folding.unfolded(project_id, session_id, within=within, however_long=however_long)

    async def clear(self, project_id: str, session_id: str, *, agent_id: str, by: str) -> None:
        """Delete the history up to now; the log stays."""
        which = {"project_id": project_id, "session_id": session_id}
        cleared = NewEvent.of(
            SessionCleared(cleared_by=by),
            session_id=session_id,
            agent_id=agent_id,
            key=f"session_cleared:{secrets.token_hex(10)}",
            effects=(Effect("set_cleared", which), Effect("delete_messages", which)),
        )
        await self._log.append(LogId(project_id), [cleared])

    async def _cleared_to(self, project_id: str, session_id: str) -> int:
        place = await self._database.fetch_one("get_fold", project_id=project_id, session_id=session_id)
        if place is None:
            raise SessionNotFound()
        cleared_to: int = place["cleared_to"]
        return cleared_to

    async def _written(self, project_id: str, session_id: str, *, after: int) -> AsyncIterator[Message]:
        last = after
        while rows := await self._database.fetch_all(
            "export_messages", project_id=project_id, session_id=session_id, after=last
        ):
            for row in rows:
                yield message_from_row(row)
            last = rows[-1]["first_seq"]


def _later(written: Message, unwritten: Mapping[int, Message]) -> Message:
    """The message of the rows, or the one of the events if those continued it: whichever is later."""
    other = unwritten.get(written.first_seq, written)
    return other if other.last_seq > written.last_seq else written


async def _outlined(message: Message) -> Message:
    if len(message.body) > _LARGE_BYTES:
        outline = await asyncio.to_thread(outlined, message.body)
    else:
        outline = outlined(message.body)
    return message if outline is message.body else attrs.evolve(message, body=outline)
