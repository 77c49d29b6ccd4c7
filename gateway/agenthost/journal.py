"""The events of this host since its start: numbered, encoded once, bounded in number, replayable by id.

An id is ``<bootId>-<n>`` with n = 1, 2, 3, … A reader that falls behind the oldest kept event gets a gap.
"""

import asyncio
import itertools
import secrets
from collections import deque
from datetime import UTC, datetime
from typing import Any

import attrs
import msgspec

from gateway.wire.codec import dump_foreign_json
from gateway.wire.sse import encode_event
from gateway.wire.times import timestamp


def now() -> str:
    return timestamp(datetime.now(UTC))


@attrs.frozen(kw_only=True)
class Event:
    """One encoded event."""

    number: int
    #: The session it belongs to; None goes to every stream, session streams too.
    session_id: str | None
    frame: bytes


@attrs.frozen(kw_only=True)
class Missing:
    """What a gap says is missing."""

    #: The first missing event's id, or what the reader sent if it is not one of our ids.
    first: str
    #: The last missing event's id; None if unknown.
    last: str | None
    reason: str


@attrs.frozen(kw_only=True)
class Start:
    """Where a reader starts: after this event number, and what it has missed before."""

    after: int
    missing: Missing | None = None


class Journal:
    """A ring buffer of the newest events."""

    def __init__(self, *, size: int, size_bytes: int) -> None:
        self.boot_id = secrets.token_hex(8)
        self._size = size
        self._size_bytes = size_bytes
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._head = 0
        self._moved: asyncio.Future[None] | None = None
        self.closed = False

    @property
    def head(self) -> int:
        """The newest event's number; 0 before the first."""
        return self._head

    @property
    def oldest(self) -> int:
        """The number of the oldest kept event, or of the next one if there is none."""
        return self._events[0].number if self._events else self._head + 1

    def id_of(self, number: int) -> str:
        return f"{self.boot_id}-{number}"

    def append(
        self, kind: str, data: Any, *, session_id: str | None = None, agent_id: str | None = None, to_all: bool = False
    ) -> int:
        """Add an event and wake the readers; `data` is a value or JSON as bytes.

        It goes to its session's streams, or to all streams if it has no session or `to_all` is set.
        """
        number = self._head + 1
        # Before the head moves, so that an event that cannot be encoded leaves no hole.
        frame = event_frame(self.id_of(number), kind, data, session_id=session_id, agent_id=agent_id)
        self._head = number
        self._events.append(Event(number=number, session_id=None if to_all else session_id, frame=frame))
        self._bytes += len(frame)
        while len(self._events) > 1 and (len(self._events) > self._size or self._bytes > self._size_bytes):
            self._bytes -= len(self._events.popleft().frame)
        self._wake()
        return self._head

    def start(self, last_event_id: str | None) -> Start:
        """Where a reader with this `Last-Event-ID` starts; None means with the next event."""
        if last_event_id is None:
            return Start(after=self._head)
        boot_id, _, digits = last_event_id.rpartition("-")
        number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None
        if number is None or not boot_id or (boot_id == self.boot_id and number > self._head):
            return self._from_oldest(last_event_id, "unknown_id")
        if boot_id != self.boot_id:
            return self._from_oldest(f"{boot_id}-{number + 1}", "restarted")
        return self.after(number)

    def after(self, number: int) -> Start:
        """Continue after an event of this boot, with a gap if later ones were dropped."""
        if number + 1 >= self.oldest:
            return Start(after=number)
        last = self.oldest - 1
        missing = Missing(first=self.id_of(number + 1), last=self.id_of(last), reason="journal_overflow")
        return Start(after=last, missing=missing)

    def _from_oldest(self, first: str, reason: str) -> Start:
        return Start(after=self.oldest - 1, missing=Missing(first=first, last=None, reason=reason))

    def read(self, after: int, session_id: str | None, limit: int) -> tuple[bytes, int]:
        """About `limit` bytes of frames after an event, and the number of the last event looked at."""
        frames: list[bytes] = []
        size = 0
        begin = max(0, after + 1 - self.oldest)
        for event in itertools.islice(self._events, begin, None):
            after = event.number
            if session_id is None or event.session_id is None or event.session_id == session_id:
                frames.append(event.frame)
                size += len(event.frame)
                if size >= limit:
                    break
        return b"".join(frames), after

    async def moved(self, after: int) -> None:
        """Wait for an event after this one, or for `close`."""
        while self._head <= after and not self.closed:
            if self._moved is None:
                self._moved = asyncio.get_running_loop().create_future()
            # Shielded, because all readers share the future.
            await asyncio.shield(self._moved)

    def close(self) -> None:
        """No more events; readers end after the last one."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        if self._moved is not None:
            self._moved.set_result(None)
            self._moved = None


def event_frame(
    event_id: str, kind: str, data: Any, *, session_id: str | None = None, agent_id: str | None = None
) -> bytes:
    """One server-sent event: `id`, `event`, and the contract's envelope in one `data` line."""
    raw = data if isinstance(data, bytes) else dump_foreign_json(data)
    head: dict[str, str] = {"type": kind}
    if session_id is not None:
        head["sessionId"] = session_id
    if agent_id is not None:
        head["agentId"] = agent_id
    opening = msgspec.json.encode(head)[:-1]
    # In JSON, raw line ends can only be between tokens.
    raw = raw.replace(b"\r", b" ").replace(b"\n", b" ")
    envelope = b'%b,"data":%b,"timestamp":"%b"}' % (opening, raw, now().encode())
    return encode_event(event=kind, id=event_id, data=envelope)


def gap_frame(journal: Journal, start: Start) -> bytes:
    """A `gap` event; its id lets the reader resume after it."""
    assert start.missing is not None
    missing = start.missing
    data = {"from": missing.first, "to": missing.last, "reason": missing.reason}
    return event_frame(journal.id_of(start.after), "gap", data)
