"""Completes permission requests from the log."""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import attrs
import msgspec

from gateway.db.pool import Database
from gateway.errors import ProjectNotFound
from gateway.log.ids import LogId
from gateway.log.reading import NotKept
from gateway.log.store import Log
from gateway.permissions.calls import AskedCall, Told, TurnCalls, told
from gateway.wire.codec import DecodeError, dump_foreign_json, is_too_deep, members_of
from gateway.wire.events import Cursor, Event

#: The bytes that a request is completed with, so that short requests about a long call cannot fill the disk.
MOST_BYTES: Final = 1_048_576
#: Member of a request's ``_meta``: the names of omitted members.
OMITTED: Final = "acp-gateway/omitted"
#: Bytes of calls in memory, for one project and for all.
_PROJECT_BYTES, _ALL_BYTES = 16_777_216, 33_554_432
_SESSION_BYTES = 32_768


@attrs.frozen(kw_only=True)
class Merged:
    """A completed request; and each kind that the call may have, None if any."""

    #: JSON.
    tool_call: bytes
    kinds: tuple[str | None, ...]


@attrs.define
class _Reading:
    """How far a session's log has been read, and its calls."""

    cursor: Cursor
    calls: TurnCalls = attrs.field(factory=TurnCalls)

    @property
    def size(self) -> int:
        return self.calls.size + _SESSION_BYTES


class Merging:
    """Completes requests of the containers that this process follows.

    Everything that an agent said before it asked is in the log by then. What was read is cached.
    """

    def __init__(self, database: Database, log: Log) -> None:
        self._database = database
        self._log = log
        #: By project and session; the most recently used is last.
        self._readings: OrderedDict[tuple[str, str], _Reading] = OrderedDict()

    async def complete(self, project_id: str, session_id: str, tool_call: bytes) -> Merged:
        """A request's tool call (JSON of any shape), completed from its turn."""
        try:
            reading = await self._read(project_id, session_id)
        except ProjectNotFound:
            return Merged(tool_call=tool_call, kinds=(None,))
        asked = members_of(tool_call)
        call = AskedCall.of(asked)
        kinds = reading.calls.kinds(call)
        if (known := reading.calls.get(call)) is not None:
            wanted = {name: place for name, place in known.members.items() if asked.get(name, b"null") == b"null"}
            found = await self._found(project_id, session_id, reading.cursor.epoch, wanted)
            tool_call = _completed(asked, wanted, found)
        return Merged(tool_call=tool_call, kinds=kinds)

    async def _read(self, project_id: str, session_id: str) -> _Reading:
        """The session's newest turn, read up to now."""
        reading = await self._begun(project_id, session_id)
        while True:
            try:
                events = await self._log.read(LogId(project_id), reading.cursor, session_id)
            except NotKept as exc:
                reading.cursor, reading.calls.incomplete = Cursor(exc.epoch, exc.floor), True
                continue
            if not events:
                break
            for event in events:
                reading.calls.add(event)
            reading.cursor = events[-1].cursor
        self._forget([key for key in self._readings if key[0] == project_id], _PROJECT_BYTES)
        self._forget(list(self._readings), _ALL_BYTES)
        return reading

    async def _begun(self, project_id: str, session_id: str) -> _Reading:
        row = await self._database.fetch_one("newest_turn", project_id=project_id, session_id=session_id)
        start = Cursor(row["epoch"], row["before_seq"]) if row else Cursor(0, 0)
        reading = self._readings.pop((project_id, session_id), None)
        if reading is None or reading.cursor.epoch != start.epoch or reading.cursor.seq < start.seq:
            reading = _Reading(start)
        self._readings[project_id, session_id] = reading
        return reading

    def _forget(self, keys: Sequence[tuple[str, str]], most_bytes: int) -> None:
        """Drop readings in this order until the rest fits, but never the last."""
        held = sum(self._readings[key].size for key in keys)
        for key in keys[:-1]:
            if held <= most_bytes:
                break
            held -= self._readings.pop(key).size

    async def _found(
        self, project_id: str, session_id: str, epoch: int, wanted: Mapping[str, bytes | int | None]
    ) -> dict[str, bytes]:
        """The JSON of members, as far as available."""
        found = {name: place for name, place in wanted.items() if isinstance(place, bytes)}
        for seq in {place for place in wanted.values() if isinstance(place, int)}:
            event = await self._log.event(LogId(project_id), Cursor(epoch, seq), session_id)
            call = _told(event) if event is not None else None
            if call is not None:
                found |= {name: bytes(value) for name, value in call.members().items() if wanted.get(name) == seq}
        return found


def _told(event: Event) -> Told | None:
    try:
        return told(event)
    except DecodeError:
        return None


def _completed(asked: Mapping[str, bytes], wanted: Collection[str], found: Mapping[str, bytes]) -> bytes:
    completed, room = dict(asked), MOST_BYTES
    for name, value in sorted(found.items(), key=lambda member: len(member[1])):
        room -= len(value)
        if room >= 0 and not is_too_deep(value):
            completed[name] = value
    if omitted := sorted(name for name in wanted if completed.get(name, b"null") == b"null"):
        meta = {name: msgspec.Raw(value) for name, value in members_of(asked.get("_meta", b"null")).items()}
        completed["_meta"] = dump_foreign_json(meta | {OMITTED: omitted})
    return dump_foreign_json({name: msgspec.Raw(value) for name, value in completed.items()})
