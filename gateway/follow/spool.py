"""Buffers a container's events until the log has taken them: in memory up to a limit, then in files.

It keeps PostgreSQL's pauses from reaching the container, which drops events when its reader lags. It is a buffer and
not a log: its files have no name, so they vanish with the process. A container that numbers its events still has those
of a dead process; for another, the next follower records a gap.
"""

import asyncio
import tempfile
import zlib
from collections import deque
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Any, Self

import attrs
import msgspec

from gateway.config.schema import EventsConfig
from gateway.errors import ConfigError, GatewayError
from gateway.wire.sse import OversizedEvent, SSEEvent

#: Approximate memory of an event in addition to its data.
EVENT_BYTES = 250
#: Small reads are combined into records of about this size.
RECORD_BYTES = 65_536
#: Files are deleted when they have been read; so this is the unit in which disk space is released.
FILE_BYTES = 16_777_216


class SpoolFull(GatewayError):
    """The database was unavailable for longer than the container's events could be buffered."""

    status, code = 503, "spool_full"


class SpoolDamaged(GatewayError):
    """A buffer file came back changed."""

    status, code = 500, "spool_damaged"


@attrs.frozen
class Dropped:
    """Stands for events that were not kept."""

    count: int
    reason: str


Item = SSEEvent | OversizedEvent | Dropped
Read = Sequence[SSEEvent | OversizedEvent]


@attrs.frozen(kw_only=True)
class SpoolLimits:
    """For each project: bytes in memory, further bytes in files, and the files' directory (None: the temporary one)."""

    memory_bytes: int
    max_bytes: int
    directory: Path | None = None

    @classmethod
    def of(cls, config: EventsConfig) -> Self:
        """The configured limits; ``ConfigError`` if the directory does not exist."""
        directory = Path(config.spool_dir) if config.spool_dir else None
        if directory is not None and not directory.is_dir():
            raise ConfigError(f"events.spool_dir: {config.spool_dir!r} is no directory; make it, or leave this empty")
        return cls(memory_bytes=config.spool_memory_bytes, max_bytes=config.spool_max_bytes, directory=directory)


@attrs.frozen
class _Record:
    size: int
    checksum: int
    count: int


@attrs.define
class _File:
    """A file without a name: records are appended at the end and read from the start.

    Unbuffered, so that nothing of a record that does not fit on the disk is written later.
    """

    file: FileIO
    written: int = 0
    read: int = 0
    records: deque[_Record] = attrs.field(factory=deque)

    def write(self, raw: bytes, count: int) -> None:
        self.file.seek(self.written)
        rest = memoryview(raw)
        while rest:
            rest = rest[self.file.write(rest) :]
        self.written += len(raw)
        self.records.append(_Record(len(raw), zlib.crc32(raw), count))

    def next(self) -> tuple[_Record, bytes | None]:
        """The next record and its bytes; None if they were changed."""
        record = self.records.popleft()
        place, self.read = self.read, self.read + record.size
        try:
            self.file.seek(place)
            raw = self.file.read(record.size)
        except OSError:
            return record, None
        return record, raw if zlib.crc32(raw) == record.checksum and len(raw) == record.size else None


class Spool:
    """First in, first out. ``sheds``: what does not fit is dropped and counted, otherwise refused."""

    def __init__(self, limits: SpoolLimits, *, sheds: bool) -> None:
        self._limits = limits
        self._sheds = sheds
        self._memory: deque[tuple[Sequence[Item], int]] = deque()
        self._memory_bytes = 0
        self._files: deque[_File] = deque()
        self._file_bytes = 0
        #: Items after the files, too small for a record.
        self._gathered: list[Item] = []
        self._gathered_bytes = 0
        self._dropped = 0
        self._ended = False
        self._changed = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        return not (self._memory or self._files or self._gathered or self._dropped)

    def put(self, read: Read) -> None:
        """Buffer a read; ``SpoolFull`` if it does not fit and must not be dropped.

        File writes do not block while the page cache has room.
        """
        size = EVENT_BYTES * len(read) + sum([len(event.data) for event in read if isinstance(event, SSEEvent)])
        self._changed.set()
        if not self._files and not self._gathered and self._fits_memory(size):
            self._remember(read, size)
        elif self._file_bytes + self._gathered_bytes + size <= self._limits.max_bytes:
            self._gather(read, size)
        else:
            self._refuse(read)

    def end(self) -> None:
        """No more items will come."""
        self._ended = True
        self._changed.set()

    async def take(self) -> Sequence[Item] | None:
        """The oldest items; None at the end."""
        while True:
            if found := self._next():
                return found
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()

    def close(self) -> None:
        while self._files:
            self._files.pop().file.close()

    def _fits_memory(self, size: int) -> bool:
        return not self._memory or self._memory_bytes + size <= self._limits.memory_bytes

    def _remember(self, read: Sequence[Item], size: int) -> None:
        if self._dropped:
            read = [self._dropped_so_far(), *read]
        self._memory.append((read, size))
        self._memory_bytes += size

    def _gather(self, read: Read, size: int) -> None:
        if self._dropped:
            self._gathered.append(self._dropped_so_far())
        self._gathered += read
        self._gathered_bytes += size
        if self._gathered_bytes < RECORD_BYTES:
            return
        try:
            self._write()
        except OSError:
            # For example a full disk; no part of the record counts as written.
            lost, self._gathered, self._gathered_bytes = self._gathered, [], 0
            self._refuse(lost)

    def _write(self) -> None:
        raw = msgspec.msgpack.encode([_packed(item) for item in self._gathered])
        if not self._files or self._files[-1].written >= FILE_BYTES:
            file = tempfile.TemporaryFile(dir=self._limits.directory, buffering=0)  # noqa: SIM115 - `close` ends it
            self._files.append(_File(file))
        self._files[-1].write(raw, len(self._gathered))
        self._file_bytes += len(raw)
        self._gathered, self._gathered_bytes = [], 0

    def _refuse(self, items: Sequence[Item]) -> None:
        if not self._sheds:
            raise SpoolFull()
        self._dropped += sum(item.count if isinstance(item, Dropped) else item.event != "ping" for item in items)

    def _next(self) -> Sequence[Item]:
        if self._memory:
            items, size = self._memory.popleft()
            self._memory_bytes -= size
            return items
        while self._files:
            if self._files[0].records:
                return self._next_record(self._files[0])
            self._file_bytes -= self._files[0].written
            self._files.popleft().file.close()
        items, self._gathered, self._gathered_bytes = self._gathered, [], 0
        if not items and self._dropped:
            return [self._dropped_so_far()]
        return items

    def _next_record(self, file: _File) -> Sequence[Item]:
        record, raw = file.next()
        if raw is not None:
            return [_unpacked(packed) for packed in msgspec.msgpack.decode(raw)]
        if not self._sheds:
            raise SpoolDamaged()
        return [Dropped(record.count, "spool_damaged")]

    def _dropped_so_far(self) -> Dropped:
        dropped, self._dropped = Dropped(self._dropped, "spool_full"), 0
        return dropped


def _packed(item: Item) -> tuple[Any, ...]:
    match item:
        case SSEEvent():
            return (0, item.event, item.data, item.id)
        case OversizedEvent():
            return (1, item.event, item.size, item.id)
        case Dropped():
            return (2, item.reason, item.count, None)


def _unpacked(packed: Sequence[Any]) -> Item:
    kind, text, value, id = packed
    match kind:
        case 0:
            return SSEEvent(event=text, data=value, id=id)
        case 1:
            return OversizedEvent(event=text, size=value, id=id)
        case _:
            return Dropped(value, text)
