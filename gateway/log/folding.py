"""Folds the log into messages: what turns have left is written once, the rest is folded on reading.

A fold proceeds turn by turn, and a long turn in parts, so that memory is bounded and a fold that dies has not worked in
vain. Folds that did not happen because a gateway died are made up for by the next review of any gateway.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence, Set
from typing import Any, Final
from weakref import WeakValueDictionary

import attrs

from gateway.db.arrays import bytea_array, integer_array, text_array, time_array
from gateway.db.pool import Database, Row, Transaction
from gateway.errors import HistoryTooLong
from gateway.log.ids import LogId
from gateway.log.packs import restore, shrink
from gateway.log.reading import NotKept, Reader
from gateway.log.reviews import of_each
from gateway.log.store import Log
from gateway.tasks import Slice
from gateway.wire.events import Cursor, Event, TurnEnded, TurnStarted
from gateway.wire.folder import Folder
from gateway.wire.messages import Message
from gateway.wire.references import outlined
from gateway.wire.updates import Update, changed_message, update_of

#: How often a fold restarts because another one has folded the events that it was about to read.
ATTEMPTS: Final = 3
#: A running turn's part of this size is written, so that nobody folds more than this.
PART_BYTES: Final = 4_194_304
#: Bytes of events that a reader folds, unless others write faster than that is read.
READ_BYTES: Final = 4_194_304
#: Bytes of events before what they make is written, where a turn is written ahead.
AHEAD_BYTES: Final = 524_288
#: Stored tool calls that are loaded at once. Each may be as large as ``MAX_TOOL_CALL``.
LEARNED_AT_ONCE: Final = 1
#: Messages per statement.
WRITTEN_MESSAGES: Final = 500
WRITTEN_BYTES: Final = 1_048_576


@attrs.frozen(kw_only=True)
class Unfolded:
    """The messages after the written ones, oldest first."""

    messages: list[Message]
    folded_to: int


class Folding:
    """Folds the events of all sessions."""

    def __init__(self, database: Database, log: Log) -> None:
        self._database = database
        self._log = log
        #: A fold of this process at a time: the next has little left to do.
        self._folds: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def fold(self, project_id: str, session_id: str) -> None:
        """Write messages of ended turns that are not written yet."""
        ended = await self._database.fetch_all("list_unfolded_turns", project_id=project_id, session_id=session_id)
        fold = await self._fold(project_id, session_id, settle=False)
        if ended and fold is not None and not fold.lost:
            await self._database.execute("mark_folded", project_id=project_id, ids=[row["id"] for row in ended])

    async def settle(self, project_id: str, session_id: str) -> int | None:
        """Write everything except a running turn; returns the first event that no message covers, or None."""
        fold = await self._fold(project_id, session_id, settle=True)
        if fold is None:
            return None
        return fold.folded_to + 1 if fold.lost else fold.turn_from

    async def review(self) -> None:
        """Fold what was left by turns whose gateway has died."""
        rows = await self._database.fetch_all("list_unfolded_sessions")
        await of_each(rows, lambda row: self.fold(row["project_id"], row["session_id"]))

    async def shorten(self, project_id: str, session_id: str) -> None:
        """Write what a running turn has left so far; see ``HistoryTooLong``."""
        await self._fold(project_id, session_id, settle=False, ahead=True)

    async def write_ahead(self, project_id: str) -> None:
        """Shorten the sessions of a project that run a turn, and have many events unwritten."""
        rows = await self._database.fetch_all("list_unwritten_sessions", project_id=project_id, bytes=AHEAD_BYTES)
        await of_each(rows, lambda row: self.shorten(row["project_id"], row["session_id"]))

    async def unfolded(
        self, project_id: str, session_id: str, *, within: Transaction | None = None, however_long: bool = False
    ) -> "Unfolded":
        """The messages that are not written yet.

        Raises ``HistoryTooLong`` if they are too large, or come of too many bytes of events, unless ``however_long``.
        """
        reader = within or self._database
        for last in (*[False] * (ATTEMPTS - 1), True):
            place = await reader.fetch_one("get_fold", project_id=project_id, session_id=session_id)
            if place is None:
                return Unfolded(messages=[], folded_to=0)
            stored = _Stored(reader, project_id, session_id, before=place["folded_to"])
            folder, read = Folder(resumed=await stored.open_messages(place)), 0
            try:
                async for events in self._batches(project_id, session_id, place, within):
                    read += sum(len(event.data) for event in events)
                    if read > READ_BYTES and not however_long:
                        raise HistoryTooLong
                    async for _ in stored.taken(folder, events):
                        if folder.size > PART_BYTES:
                            raise HistoryTooLong
            except NotKept:
                if last:
                    raise
                continue
            return Unfolded(messages=list(folder.messages()), folded_to=place["folded_to"])
        raise AssertionError("unreachable")

    async def folded_to(self, project_id: str, session_id: str) -> int:
        """The last event that written messages cover; 0 if there is no such session."""
        place = await self._database.fetch_one("get_fold", project_id=project_id, session_id=session_id)
        return 0 if place is None else int(place["folded_to"])

    async def _fold(self, project_id: str, session_id: str, *, settle: bool, ahead: bool = False) -> "_Fold | None":
        lock = self._folds.setdefault((project_id, session_id), asyncio.Lock())
        async with lock:
            return await self._fold_alone(project_id, session_id, settle, ahead)

    async def _fold_alone(self, project_id: str, session_id: str, settle: bool, ahead: bool) -> "_Fold | None":
        for last in (*[False] * (ATTEMPTS - 1), True):
            place = await self._database.fetch_one("get_fold", project_id=project_id, session_id=session_id)
            if place is None:
                return None
            stored = _Stored(self._database, project_id, session_id, before=place["folded_to"])
            folder = Folder(resumed=await stored.open_messages(place))
            fold = _Fold(
                *(self._database, project_id, session_id),
                folded_to=place["folded_to"],
                settle=settle,
                ahead=ahead,
                folder=folder,
            )
            try:
                async for events in self._batches(project_id, session_id, place, None):
                    for part in _parts(events):
                        await fold.add(part)
            except NotKept:
                if last:
                    raise
                continue
            await fold.finish()
            return fold
        raise AssertionError("unreachable")

    async def _batches(
        self, project_id: str, session_id: str, place: Row, within: Transaction | None
    ) -> AsyncIterator[list[Event]]:
        """The events that no message covers, up to where the log ended: a turn may speak faster than it is read."""
        cursor = Cursor(place["epoch"], max(place["folded_to"], place["cleared_to"], place["floor"]))
        while cursor.seq < place["head"]:
            events = await self._log.read(LogId(project_id), cursor, session_id, within=within)
            if not events:
                break
            yield events
            cursor = events[-1].cursor


@attrs.define
class _Fold:
    """One fold in progress. ``settle``: also write what comes before a running turn; ``ahead``: everything."""

    database: Database
    project_id: str
    session_id: str
    folded_to: int
    settle: bool
    ahead: bool
    folder: Folder
    newest: int | None = None
    #: Bytes of events since it was written.
    taken: int = 0
    #: The first event of the running turn.
    turn_from: int | None = None
    #: Somebody else has folded, or the history was cleared.
    lost: bool = False

    async def add(self, events: Sequence[Event]) -> None:
        """Take events of which at most the last ends a turn, and at most the first begins one."""
        if events[0].type == TurnStarted.type:
            if self.settle and self.turn_from is None:
                await self._write()
            self.turn_from = events[0].seq
        rest = events
        while rest:
            stored = _Stored(self.database, self.project_id, self.session_id, before=self.folded_to)
            async for taken in stored.taken(self.folder, rest):
                self.newest, rest = taken[-1].seq, rest[len(taken) :]
                self.taken += sum(len(event.data) for event in taken)
                if self._is_large:
                    break
            if self._is_large:
                # Later events may change what is written now.
                await self._write()
        if events[-1].type == TurnEnded.type:
            self.turn_from = None
            await self._write()

    @property
    def _is_large(self) -> bool:
        return self.folder.size > PART_BYTES or (self.ahead and self.taken > AHEAD_BYTES)

    async def finish(self) -> None:
        if self.ahead or (self.settle and self.turn_from is None):
            await self._write()

    async def _write(self) -> None:
        if self.newest is None:
            return
        folded_to, goes_on = self.newest, self.folder.open
        messages = list(self.folder.messages())
        self.folder, self.newest, self.taken = self.folder.successor(messages, goes_on), None, 0

        async def work(transaction: Transaction) -> bool:
            fold = await transaction.fetch_one("lock_fold", project_id=self.project_id, session_id=self.session_id)
            if fold is None or fold["folded_to"] != self.folded_to:
                return False
            for some in _written_at_once(messages):
                # Compressing some megabytes takes a second.
                columns = await asyncio.to_thread(_columns, some)
                await transaction.execute(
                    "upsert_messages", project_id=self.project_id, session_id=self.session_id, **columns
                )
            await transaction.execute(
                "set_folded",
                project_id=self.project_id,
                session_id=self.session_id,
                folded_to=folded_to,
                open_messages=sorted(goes_on),
            )
            return True

        if await self.database.transaction(work):
            self.folded_to = folded_to
        else:
            self.lost = True


@attrs.frozen
class _Stored:
    """The stored messages of a session that events may change.

    Only those from ``before``, because later ones may have been folded from these events.
    """

    reader: Reader
    project_id: str
    session_id: str
    before: int = attrs.field(kw_only=True)

    async def taken(self, folder: Folder, events: Sequence[Event]) -> AsyncIterator[Sequence[Event]]:
        """Add the events to the folder, and yield each part that was added, since it may have grown a lot."""
        piece = Slice()
        updates: list[Update] = []
        for event in events:
            updates.append(update_of(event))
            if piece.is_over:
                await piece.give_way()
        changed = [changed_message(event, update) for event, update in zip(events, updates, strict=True)]
        stored = await self._among({one for one in changed if one is not None} - folder.tool_calls)
        for start, end in _with_few_calls(changed, stored):
            await self._learn(folder, stored.intersection(filter(None, changed[start:end])) - folder.tool_calls)
            for event, update in zip(events[start:end], updates[start:end], strict=True):
                folder.add(event, update)
                if piece.is_over:
                    await piece.give_way()
            yield events[start:end]

    async def open_messages(self, place: Row) -> list[Message]:
        """The text and plans that events after a place go on with."""
        if not place["open_messages"]:
            return []
        rows = await self.reader.fetch_all(
            "list_open_messages",
            project_id=self.project_id,
            session_id=self.session_id,
            first_seqs=place["open_messages"],
            folded_to=place["folded_to"],
        )
        return [message_from_row(row) for row in rows]

    async def _among(self, tool_call_ids: Set[str]) -> set[str]:
        if not tool_call_ids:
            return set()
        rows = await self.reader.fetch_all("list_stored_tool_calls", **self._those(tool_call_ids))
        return {row["tool_call_id"] for row in rows}

    async def _learn(self, folder: Folder, tool_call_ids: Set[str]) -> None:
        if tool_call_ids:
            rows = await self.reader.fetch_all("list_tool_messages", **self._those(tool_call_ids))
            folder.learn(message_from_row(row) for row in rows)

    def _those(self, tool_call_ids: Set[str]) -> dict[str, Any]:
        whose = {"project_id": self.project_id, "session_id": self.session_id, "before": self.before}
        return {**whose, "tool_call_ids": sorted(tool_call_ids)}


def _with_few_calls(changed: Sequence[str | None], stored: Set[str]) -> Iterator[tuple[int, int]]:
    """Cuts events into parts that change few stored tool calls; ``changed`` is the call that each event changes."""
    start, calls = 0, set[str]()
    for index, tool_call_id in enumerate(changed if stored else ()):
        if tool_call_id in stored and tool_call_id not in calls and tool_call_id is not None:
            if len(calls) == LEARNED_AT_ONCE:
                yield start, index
                start, calls = index, set()
            calls.add(tool_call_id)
    yield start, len(changed)


def _parts(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """Cuts events after each end of a turn and before each beginning."""
    start = 0
    for index, event in enumerate(events):
        if event.type == TurnStarted.type and index > start:
            yield events[start:index]
            start = index
        if event.type == TurnEnded.type:
            yield events[start : index + 1]
            start = index + 1
    if start < len(events):
        yield events[start:]


def message_from_row(row: Row) -> Message:
    values = {field.name: row[field.name] for field in attrs.fields(Message)}
    return Message(**(values | {"body": restore(row["body"])}))


def _written_at_once(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """In batches: one statement for a long turn would lock its session for long."""
    some: list[Message] = []
    size = 0
    for message in messages:
        some.append(message)
        size += len(message.body)
        if len(some) >= WRITTEN_MESSAGES or size >= WRITTEN_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _columns(messages: Sequence[Message]) -> dict[str, str]:
    return {
        "first_seqs": integer_array([message.first_seq for message in messages]),
        "last_seqs": integer_array([message.last_seq for message in messages]),
        "roles": text_array([message.role for message in messages]),
        "turn_ids": text_array([message.turn_id for message in messages]),
        "tool_call_ids": text_array([message.tool_call_id for message in messages]),
        "ats": time_array([message.at for message in messages]),
        "updated_ats": time_array([message.updated_at for message in messages]),
        "bodies": bytea_array([shrink(message.body) for message in messages]),
        "outlines": bytea_array([_outline(message.body) for message in messages]),
    }


def _outline(body: bytes) -> bytes:
    """The body's outline for storage; empty if nothing in it is large."""
    outline = outlined(body)
    return b"" if outline is body else shrink(outline)
