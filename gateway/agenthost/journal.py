"""The events of this host since it started: numbered, encoded once, bounded, replayable by id.

An id is ``<bootId>-<n>``; n counts up by one from 1. A reader that falls behind what is kept is told so by a gap.
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
    """The time as the contract writes it: UTC, milliseconds, Z."""
    return timestamp(datetime.now(UTC))


@attrs.frozen(kw_only=True)
class Event:
    """One event, as it goes over the wire."""

    number: int
    #: The session it belongs to; None goes to every stream, session streams too.
    session_id: str | None
    frame: bytes


@attrs.frozen(kw_only=True)
class Missing:
    """What a reader asked for and cannot have, as a gap tells it."""

    #: The first missing event's id, or what the reader sent where that is no id of ours.
    first: str
    #: The last missing event's id; None where nobody can know it.
    last: str | None
    reason: str


@attrs.frozen(kw_only=True)
class Start:
    """Where a reader begins: after the event of this number, and what it has missed until there."""

    after: int
    missing: Missing | None = None


class Journal:
    """A ring of the newest events."""

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
        """The number of the oldest event that is kept, or that the first one will have."""
        return self._events[0].number if self._events else self._head + 1

    def id_of(self, number: int) -> str:
        return f"{self.boot_id}-{number}"

    def append(
        self, kind: str, data: Any, *, session_id: str | None = None, agent_id: str | None = None, to_all: bool = False
    ) -> int:
        """Add an event and wake the readers; `data` is a value, or bytes that are its JSON already.

        It goes to the streams of its session, or of every session where it has none or `to_all` is set.
        """
        number = self._head + 1
        # Before the head moves: what cannot be framed takes no number, or readers would count a hole as an event.
        frame = event_frame(self.id_of(number), kind, data, session_id=session_id, agent_id=agent_id)
        self._head = number
        self._events.append(Event(number=number, session_id=None if to_all else session_id, frame=frame))
        self._bytes += len(frame)
        while len(self._events) > 1 and (len(self._events) > self._size or self._bytes > self._size_bytes):
            self._bytes -= len(self._events.popleft().frame)
        self._wake()
        return self._head

    def start(self, last_event_id: str | None) -> Start:
        """Where to begin for a reader whose newest event was `last_event_id`; None begins with what comes next."""
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
        """Go on after an event of this boot; with a gap where the journal has dropped some since."""
        if number + 1 >= self.oldest:
            return Start(after=number)
        last = self.oldest - 1
        missing = Missing(first=self.id_of(number + 1), last=self.id_of(last), reason="journal_overflow")
        return Start(after=last, missing=missing)

    def _from_oldest(self, first: str, reason: str) -> Start:
        return Start(after=self.oldest - 1, missing=Missing(first=first, last=None, reason=reason))

    def read(self, after: int, session_id: str | None, limit: int) -> tuple[bytes, int]:
        """The frames after an event, some `limit` bytes of them, and the number that they reach to."""
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
        """Wait for an event after this one, or for the end."""
        while self._head <= after and not self.closed:
            if self._moved is None:
                self._moved = asyncio.get_running_loop().create_future()
            # One future for all readers: a reader that gives up must not cancel it for the others.
            await asyncio.shield(self._moved)

    def close(self) -> None:
        """Nothing more will come; readers end once they have what there is."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        if self._moved is not None:
            self._moved.set_result(None)
            self._moved = None


def event_frame(
    event_id: str, kind: str, data: Any, *, session_id: str | None = None, agent_id: str | None = None
) -> bytes:
    """One event as a server-sent one: `id`, `event`, and the contract's envelope in one `data` line."""
    raw = data if isinstance(data, bytes) else dump_foreign_json(data)
    head: dict[str, str] = {"type": kind}
    if session_id is not None:
        head["sessionId"] = session_id
    if agent_id is not None:
        head["agentId"] = agent_id
    opening = msgspec.json.encode(head)[:-1]
    # The contract has one data line. Raw line ends can only stand between JSON's tokens.
    raw = raw.replace(b"\r", b" ").replace(b"\n", b" ")
    envelope = b'%b,"data":%b,"timestamp":"%b"}' % (opening, raw, now().encode())
    return encode_event(event=kind, id=event_id, data=envelope)


def gap_frame(journal: Journal, start: Start) -> bytes:
    """`event: gap` for what a reader has missed; its id lets the reader resume after it."""
    assert start.missing is not None
    missing = start.missing
    data = {"from": missing.first, "to": missing.last, "reason": missing.reason}
    return event_frame(journal.id_of(start.after), "gap", data)
