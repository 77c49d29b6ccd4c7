"""Fold the log into messages: what turns have left behind is written once each, and a reading of the rest.

A fold goes turn by turn, so that no more than one turn's messages are in memory and a fold that dies has not worked in
vain. One that never ran, because its gateway died, is made up for by the next review of any gateway.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

import attrs

from gateway.db.arrays import bytea_array, integer_array, text_array, time_array
from gateway.db.pool import Database, Row, Transaction
from gateway.log.packs import restore, shrink
from gateway.log.reading import NotKept, Reader
from gateway.log.store import Log
from gateway.log.upkeep import of_each
from gateway.wire.events import Cursor, Event, TurnEnded, TurnStarted
from gateway.wire.messages import Folder, Message, changed_tool_calls

#: How often a fold begins again because what it was about to read has been folded and deleted meanwhile.
ATTEMPTS: Final = 3
#: What one statement writes.
WRITTEN_MESSAGES: Final = 500
WRITTEN_BYTES: Final = 1_048_576


class Folding:
    """Folds all sessions' events in one database."""

    def __init__(self, database: Database, log: Log) -> None:
        self._database = database
        self._log = log

    async def fold(self, project_id: str, session_id: str) -> None:
        """Write what turns that have ended left in the log and in no message yet."""
        ended = await self._database.fetch_all("list_unfolded_turns", project_id=project_id, session_id=session_id)
        fold = await self._fold(project_id, session_id, settle=False)
        if ended and fold is not None and not fold.lost:
            await self._database.execute("mark_folded", project_id=project_id, ids=[row["id"] for row in ended])

    async def settle(self, project_id: str, session_id: str) -> int | None:
        """Write all but a running turn; the first event that no message covers then, or None where all are covered."""
        fold = await self._fold(project_id, session_id, settle=True)
        if fold is None:
            return None
        return fold.folded_to + 1 if fold.lost else fold.turn_from

    async def review(self) -> None:
        """Fold what turns left behind whose gateway died before it did."""
        rows = await self._database.fetch_all("list_unfolded_sessions")
        await of_each(rows, lambda row: self.fold(row["project_id"], row["session_id"]))

    async def unfolded(self, project_id: str, session_id: str, *, within: Transaction | None = None) -> list[Message]:
        """The messages that no row covers yet, oldest first."""
        reader = within or self._database
        for last in (*[False] * (ATTEMPTS - 1), True):
            place = await reader.fetch_one("get_fold", project_id=project_id, session_id=session_id)
            if place is None:
                return []
            folder = Folder()
            try:
                async for events in self._batches(project_id, session_id, place, within):
                    await _learn(folder, reader, project_id, session_id, events, before=place["folded_to"])
                    folder.add_all(events)
            except NotKept:
                if last:
                    raise
                continue
            return folder.messages()
        raise AssertionError("unreachable")

    async def _fold(self, project_id: str, session_id: str, *, settle: bool) -> "_Fold | None":
        for last in (*[False] * (ATTEMPTS - 1), True):
            place = await self._database.fetch_one("get_fold", project_id=project_id, session_id=session_id)
            if place is None:
                return None
            fold = _Fold(self._database, project_id, session_id, folded_to=place["folded_to"], settle=settle)
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
        cursor = Cursor(place["epoch"], max(place["folded_to"], place["cleared_to"], place["floor"]))
        while events := await self._log.read(project_id, cursor, session_id, within=within):
            yield events
            cursor = events[-1].cursor


@attrs.define
class _Fold:
    """One fold under way. ``settle``: what stands before a running turn, or where none runs, is written too."""

    database: Database
    project_id: str
    session_id: str
    folded_to: int
    settle: bool
    folder: Folder = attrs.field(factory=Folder)
    #: The newest event in the folder.
    newest: int | None = None
    #: The first event of the turn that runs.
    turn_from: int | None = None
    #: Somebody else folded meanwhile, or the history was cleared.
    lost: bool = False

    async def add(self, events: Sequence[Event]) -> None:
        """Take events of which none but the last ends a turn and none but the first begins one."""
        if events[0].type == TurnStarted.type:
            if self.settle and self.turn_from is None:
                await self._write()
            self.turn_from = events[0].seq
        await _learn(self.folder, self.database, self.project_id, self.session_id, events, before=self.folded_to)
        self.folder.add_all(events)
        self.newest = events[-1].seq
        if events[-1].type == TurnEnded.type:
            self.turn_from = None
            await self._write()

    async def finish(self) -> None:
        if self.settle and self.turn_from is None:
            await self._write()

    async def _write(self) -> None:
        if self.newest is None:
            return
        folded_to, messages = self.newest, self.folder.messages()

        async def work(transaction: Transaction) -> bool:
            fold = await transaction.fetch_one("lock_fold", project_id=self.project_id, session_id=self.session_id)
            if fold is None or fold["folded_to"] != self.folded_to:
                return False
            for some in _written_at_once(messages):
                await transaction.execute(
                    "upsert_messages", project_id=self.project_id, session_id=self.session_id, **_columns(some)
                )
            await transaction.execute(
                "set_folded", project_id=self.project_id, session_id=self.session_id, folded_to=folded_to
            )
            return True

        if await self.database.transaction(work):
            self.folded_to = folded_to
        else:
            self.lost = True
        self.folder, self.newest = Folder(), None


async def _learn(
    folder: Folder, reader: Reader, project_id: str, session_id: str, events: Sequence[Event], *, before: int
) -> None:
    """Bring the stored messages of tool calls that these events go on to change.

    Only those from ``before``: what was written meanwhile may have been folded from these very events.
    """
    if changed := changed_tool_calls(events) - folder.tool_calls:
        rows = await reader.fetch_all(
            "list_tool_messages",
            project_id=project_id,
            session_id=session_id,
            tool_call_ids=sorted(changed),
            before=before,
        )
        folder.learn(message_from_row(row) for row in rows)


def _parts(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """The events cut behind each end of a turn and before each beginning of one."""
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
    """Some at a time: one by one, the messages of a long turn would hold their session for long."""
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
    }
