"""Frames of events in log order, found by place and size without looking at each."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, Self

#: The most that is written to a client at once, unless one event is larger.
PIECE_BYTES: Final = 65_536


class Run:
    """Frames of a part of the log, of all its events or of some."""

    def __init__(self) -> None:
        self._seqs: list[int] = []
        self._frames: list[bytes] = []
        #: Cumulative sizes of the frames, from the run's original start.
        self._ends: list[int] = []
        self._forgotten = 0

    @classmethod
    def of(cls, numbered: Sequence[tuple[int, bytes]]) -> Self:
        """From frames in log order, each with its event's number."""
        run = cls()
        run._seqs = [seq for seq, _ in numbered]
        run._frames = [frame for _, frame in numbered]
        run._ends = [*accumulate(map(len, run._frames))]
        return run

    def __len__(self) -> int:
        return len(self._seqs)

    @property
    def size(self) -> int:
        """Bytes of all frames."""
        return self._ends[-1] - self._forgotten if self._ends else 0

    @property
    def last(self) -> int:
        """The newest event's number; the run must not be empty."""
        return self._seqs[-1]

    def push(self, seq: int, frame: bytes) -> None:
        self._seqs.append(seq)
        self._frames.append(frame)
        self._ends.append((self._ends[-1] if self._ends else self._forgotten) + len(frame))

    def excess(self, max_bytes: int) -> int:
        """How many of the oldest must be dropped to fit; the newest always stays."""
        if self.size <= max_bytes:
            return 0
        return min(bisect_right(self._ends, self._ends[-1] - max_bytes - 1) + 1, len(self) - 1)

    def forget(self, seq: int) -> None:
        """Drop all events up to this one."""
        count = bisect_right(self._seqs, seq)
        if count:
            self._forgotten = self._ends[count - 1]
            del self._seqs[:count], self._frames[:count], self._ends[:count]

    def end(self, after: int, limit_bytes: int) -> int:
        """The last event that fits into ``limit_bytes`` after a place; at least the next one."""
        first = bisect_right(self._seqs, after)
        if first == len(self):
            return after
        begin = self._ends[first] - len(self._frames[first])
        return self._seqs[max(bisect_right(self._ends, begin + limit_bytes), first + 1) - 1]

    def has(self, after: int, through: int) -> bool:
        """Whether there is an event between two places."""
        return bool(self._seqs) and bisect_right(self._seqs, after) < bisect_right(self._seqs, through)

    def between(self, after: int, through: int) -> list[bytes]:
        """The frames between two places."""
        return self._frames[bisect_right(self._seqs, after) : bisect_right(self._seqs, through)]

    def merged(self, other: "Run", after: int, through: int) -> bytes:
        """The frames of both runs between two places, in order."""
        found = sorted((*self._numbered(after, through), *other._numbered(after, through)))
        return b"".join(frame for _, frame in found)

    def _numbered(self, after: int, through: int) -> list[tuple[int, bytes]]:
        part = slice(bisect_right(self._seqs, after), bisect_right(self._seqs, through))
        return list(zip(self._seqs[part], self._frames[part], strict=True))
