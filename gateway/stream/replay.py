"""Reads the log for streams before the tail's start: a bounded number of reads at once, each shared by all who need it.

After a restart thousands of clients reconnect within a second, most of them near the same place. Streams at the same
place share one read. Others start their reads at a common earlier place, and share all following ones. Results are kept
for a moment.
"""

import asyncio
from collections import OrderedDict
from typing import Final, Protocol

import attrs

from gateway.log.blocks import BLOCK_EVENTS, Blocks
from gateway.log.ids import LogId
from gateway.log.reading import NotKept
from gateway.log.run import PIECE_BYTES, Run
from gateway.log.store import Log
from gateway.wire.events import Cursor

#: Reads start at multiples of this, if that reaches the place in one read.
STRIDE: Final = 500
#: A stream this many events behind gets what PostgreSQL has framed.
FAR: Final = 2_000
#: Bytes of frames that are kept.
KEPT_BYTES: Final = 16_777_216
#: Approximate memory of an entry in addition to its frames.
_OVERHEAD: Final = 1_000

#: A log, a session or None for all, and the place to read from.
Key = tuple[LogId, str | None, Cursor]


class Passage(Protocol):
    """Frames of a part of the log, up to ``through``."""

    through: int

    @property
    def size(self) -> int: ...

    def piece(self, after: int) -> tuple[bytes, int]:
        """The next bytes after a place, and the place after them."""
        ...


@attrs.define
class Frames:
    """A passage of events that were read one by one."""

    run: Run
    through: int

    @property
    def size(self) -> int:
        return self.run.size

    def piece(self, after: int) -> tuple[bytes, int]:
        end = self.run.end(after, PIECE_BYTES)
        if end == after:
            return b"", self.through
        return b"".join(self.run.between(after, end)), end


class Replays:
    """Reads passages of logs, ``at_once`` at a time, in order of request."""

    def __init__(self, log: Log, *, at_once: int) -> None:
        self._log = log
        self._turn = asyncio.Semaphore(at_once)
        self._reading: dict[Key, asyncio.Task[Passage]] = {}
        self._kept: OrderedDict[Key, Passage] = OrderedDict()
        self._bytes = 0

    @property
    def turn(self) -> asyncio.Semaphore:
        """To be held by others that read for a stream."""
        return self._turn

    async def read(self, log_id: LogId, place: Cursor, session_id: str | None, head: int) -> Passage | None:
        """What comes after a place, of all sessions or of one with what concerns them all; None if there is nothing.

        Up to ``head`` nothing is missing if a session has nothing more. Raises ``NotKept``, ``ProjectNotFound``, and
        database errors.
        """
        common = attrs.evolve(place, seq=place.seq - place.seq % STRIDE)
        key = (log_id, session_id, place)
        if common != place and key not in self._kept and key not in self._reading:
            try:
                passage = await self._shared((log_id, session_id, common), head)
            except NotKept:
                passage = None
            if passage and passage.through > place.seq:
                return passage
        passage = await self._shared(key, head)
        return passage if passage.through > place.seq else None

    def foresee(self, log_id: LogId, passage: Passage, place: Cursor, session_id: str | None, head: int) -> None:
        """Start to read what will be requested after a passage that ends at ``place``, if no read is waiting."""
        places = [place]
        if isinstance(passage, Blocks) and passage.is_whole and head - place.seq >= FAR + BLOCK_EVENTS:
            # PostgreSQL's framing is the slowest part: let two of its processes share it.
            places.append(attrs.evolve(place, seq=place.seq + BLOCK_EVENTS))
        for one in places:
            if not self._turn.locked():
                self._begin((log_id, session_id, one), head)

    async def close(self) -> None:
        """Cancel open reads."""
        tasks = set(self._reading.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _shared(self, key: Key, head: int) -> Passage:
        task = self._begin(key, head)
        return self._kept[key] if task is None else await asyncio.shield(task)

    def _begin(self, key: Key, head: int) -> "asyncio.Task[Passage] | None":
        """The task that reads it; None if it is kept. The first requester may leave while others wait."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return None
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.create_task(self._read(key, head), name=f"replay {key[0]}")
            task.add_done_callback(lambda ended: self._ended(key, ended))
        return task

    async def _read(self, key: Key, head: int) -> Passage:
        log_id, session_id, place = key
        async with self._turn:
            if head - place.seq >= FAR and (far := await self._far(key)):
                self._keep(key, far)
                return far
            events = await self._log.read(log_id, place, session_id)
        run = Run.of([(event.seq, event.frame()) for event in events])
        if not events:
            # Not kept, since more may arrive at once.
            return Frames(run, place.seq if session_id is None else max(place.seq, head))
        passage = Frames(run, run.last)
        self._keep(key, passage)
        return passage

    async def _far(self, key: Key) -> Passage | None:
        """A long passage, without a look at each event; None if events must be read one by one."""
        log_id, session_id, place = key
        if session_id is None and (blocks := await self._log.blocks(log_id, place)):
            return blocks
        if packed := await self._log.packed(log_id, place, session_id):
            return Frames(*packed)
        run = None if session_id is None else await self._log.session_blocks(log_id, place, session_id)
        return Frames(run, run.last) if run else None

    def _ended(self, key: Key, task: asyncio.Task[Passage]) -> None:
        self._reading.pop(key, None)
        if not task.cancelled():
            # Marks a failure as retrieved: perhaps nobody waits any more.
            task.exception()

    def _keep(self, key: Key, passage: Passage) -> None:
        self._kept[key] = passage
        self._bytes += passage.size + _OVERHEAD
        while self._bytes > KEPT_BYTES and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size + _OVERHEAD
