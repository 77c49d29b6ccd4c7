"""The transcript: a session's messages, folded from the log.

What turns have left behind is folded into rows once; a history is those rows and, folded on the fly, the end of the
log that no row covers yet. A fold that never ran (the process died) is made up for by the next.
"""

from typing import Any

import attrs

from gateway.db.pool import Database, Row, Transaction
from gateway.log.store import Log
from gateway.wire.events import Cursor, Event, TurnEnded
from gateway.wire.messages import Folder, Message, updated_tool_calls


@attrs.frozen(kw_only=True)
class Page:
    """Messages in the order asked for, and the id after which the next page begins; None on the last."""

    messages: tuple[Message, ...]
    next: str | None


class Transcript:
    """The messages of all sessions in one database."""

    def __init__(self, database: Database, log: Log) -> None:
        self._database = database
        self._log = log

    async def page(
        self, project_id: str, session_id: str, *, after: int | None, limit: int, newest_first: bool
    ) -> Page:
        """One page of a session's history, after a message's id in the order asked for."""
        recent = await self._recent(project_id, session_id)
        if newest_first:
            messages = await self._backwards(project_id, session_id, after, limit + 1, recent)
        else:
            messages = await self._forwards(project_id, session_id, after or 0, limit + 1, recent)
        more = len(messages) > limit
        return Page(messages=tuple(messages[:limit]), next=messages[limit - 1].id if more else None)

    async def fold(self, project_id: str, session_id: str) -> None:
        """Write what stands in the log and in no message yet; a turn that is running is left for its end."""
        known = await self._database.fetch_one("get_fold", project_id=project_id, session_id=session_id)
        if known is None:
            return
        events = _finished(await self._events(project_id, session_id, known["folded_to"]))
        if not events:
            return

        async def work(transaction: Transaction) -> None:
            fold = await transaction.fetch_one("lock_fold", project_id=project_id, session_id=session_id)
            if fold is None or fold["folded_to"] != known["folded_to"]:
                return  # somebody else folded, or the history was cleared
            for message in await self._fold(project_id, session_id, events, transaction):
                await transaction.execute("upsert_message", **_row(project_id, session_id, message))
            last = events[-1].seq
            await transaction.execute("set_folded", project_id=project_id, session_id=session_id, folded_to=last)

        await self._database.transaction(work)

    async def clear(self, project_id: str, session_id: str) -> None:
        """Forget the history up to now; the log, which streams resume from, stays."""
        head = await self._log.head(project_id)

        async def work(transaction: Transaction) -> None:
            await transaction.fetch_one("lock_fold", project_id=project_id, session_id=session_id)
            await transaction.execute("delete_messages", project_id=project_id, session_id=session_id)
            await transaction.execute("set_cleared", project_id=project_id, session_id=session_id, cleared_to=head.head)

        await self._database.transaction(work)

    async def _recent(self, project_id: str, session_id: str) -> list[Message]:
        """The messages that no row covers yet, oldest first."""
        fold = await self._database.fetch_one("get_fold", project_id=project_id, session_id=session_id)
        if fold is None:
            return []
        events = await self._events(project_id, session_id, max(fold["folded_to"], fold["cleared_to"]))
        return await self._fold(project_id, session_id, events, self._database)

    async def _fold(
        self, project_id: str, session_id: str, events: list[Event], reader: "Database | Transaction"
    ) -> list[Message]:
        changed = updated_tool_calls(events)
        rows = (
            await reader.fetch_all(
                "list_tool_messages", project_id=project_id, session_id=session_id, tool_call_ids=sorted(changed)
            )
            if changed
            else []
        )
        folder = Folder(_message(row) for row in rows)
        for event in events:
            folder.add(event)
        return folder.messages()

    async def _events(self, project_id: str, session_id: str, after: int) -> list[Event]:
        head = await self._log.head(project_id)
        events: list[Event] = []
        cursor = Cursor(head.epoch, after)
        while batch := await self._log.read(project_id, cursor, session_id):
            events.extend(batch)
            cursor = batch[-1].cursor
        return events

    async def _forwards(
        self, project_id: str, session_id: str, after: int, limit: int, recent: list[Message]
    ) -> list[Message]:
        rows = await self._database.fetch_all(
            "list_messages", project_id=project_id, session_id=session_id, after=after, limit=limit
        )
        newer = {message.first_seq: message for message in recent if message.first_seq > after}
        merged = {row["first_seq"]: _message(row) for row in rows} | newer
        return [merged[seq] for seq in sorted(merged)][:limit]

    async def _backwards(
        self, project_id: str, session_id: str, before: int | None, limit: int, recent: list[Message]
    ) -> list[Message]:
        end = before or 2**62
        rows = await self._database.fetch_all(
            "list_messages_backwards", project_id=project_id, session_id=session_id, before=end, limit=limit
        )
        newer = {message.first_seq: message for message in recent if message.first_seq < end}
        merged = {row["first_seq"]: _message(row) for row in rows} | newer
        return [merged[seq] for seq in sorted(merged, reverse=True)][:limit]


def _finished(events: list[Event]) -> list[Event]:
    """The events up to the last end of a turn."""
    while events and events[-1].type != TurnEnded.type:
        events.pop()
    return events


def _message(row: Row) -> Message:
    return Message(**{field.name: row[field.name] for field in attrs.fields(Message)})


def _row(project_id: str, session_id: str, message: Message) -> dict[str, Any]:
    return {"project_id": project_id, "session_id": session_id, **attrs.asdict(message, recurse=False)}
