"""A stream: one client's cursor over the log, and its connection.

The cursor is the only state. Writers write whole blocks and move the cursor with them, so that a heartbeat between any
two has the right cursor.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from gateway.log.store import Head
from gateway.stream.dialects import OWN, Dialect
from gateway.wire.events import Cursor, Reset

#: A connection with more unsent bytes is given nothing more.
FULL_BYTES: Final = 32_768


def chunked(data: bytes) -> bytes:
    """``data`` as one chunk of HTTP/1.1's chunked coding (RFC 9112 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Carrier(Protocol):
    """Writes to many streams at the same place."""

    served: int


class Stream:
    """The events of a project, or of one session with what concerns all sessions, from a cursor on, for one client."""

    def __init__(
        self,
        transport: asyncio.Transport,
        drain: Callable[[], Awaitable[None]],
        cursor: Cursor,
        session_id: str | None,
        *,
        is_chunked: bool,
        dialect: Dialect = OWN,
    ) -> None:
        """``drain`` waits until the transport has little left to send, or is lost."""
        transport.set_write_buffer_limits(high=FULL_BYTES)
        self.transport = transport
        self.drain = drain
        self.session_id = session_id
        self.is_chunked = is_chunked
        self.dialect = dialect
        self.epoch = cursor.epoch
        self._seq = cursor.seq
        #: While it is up to date, its place is the carrier's.
        self.carrier: Carrier | None = None
        #: Done when the pump releases it.
        self.released: asyncio.Future[None] | None = None
        #: Bytes written to the transport.
        self.written = 0
        #: The time of the last write, by the loop's clock.
        self.wrote_at = asyncio.get_running_loop().time()
        self._taken = 0
        self._taken_at = self.wrote_at

    @property
    def seq(self) -> int:
        return self._seq if self.carrier is None else self.carrier.served

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.seq)

    @property
    def is_full(self) -> bool:
        return self.transport.get_write_buffer_size() > FULL_BYTES

    def settle(self, carrier: Carrier) -> None:
        """Take the carrier's place from now on."""
        self.carrier = carrier

    def unsettle(self) -> None:
        """Keep the carrier's current place."""
        if self.carrier is not None:
            self._seq, self.carrier = self.carrier.served, None

    def write(self, data: bytes, cursor: Cursor | None = None) -> None:
        """Write whole blocks, which take the client to ``cursor``."""
        if data:
            framed = chunked(data) if self.is_chunked else data
            self.transport.write(framed)
            self.written += len(framed)
            self.wrote_at = asyncio.get_running_loop().time()
        if cursor is not None:
            self.epoch, self._seq = cursor.epoch, cursor.seq

    def beat(self, *, retry: int | None = None) -> None:
        """Send a heartbeat with the cursor and, if ``retry`` is given, the reconnection time in milliseconds."""
        self.write(self.dialect.heartbeat(self.cursor, retry=retry))

    def has_stalled(self, now: float, seconds: float) -> bool:
        """Whether the client has read nothing for ``seconds``. To be called regularly."""
        waiting = self.transport.get_write_buffer_size()
        taken = self.written - waiting
        if not waiting or taken > self._taken:
            self._taken, self._taken_at = taken, now
        return now - self._taken_at > seconds


def judge(head: Head, text: str | None, *, from_start: bool) -> Cursor | Reset:
    """Where a client with this last event id starts, or its reset.

    Without an id it starts at the head, or at the log's start if requested.
    """
    if not text:
        return Cursor(head.epoch, head.floor if from_start else head.head)

    cursor = Cursor.parse(text)
    if cursor is None:
        return reset(head, "unreadable_cursor")
    if cursor.epoch != head.epoch:
        if head.former is None or head.former.epoch != cursor.epoch:
            return reset(head, "other_epoch")
        if cursor.seq > head.former.seq:
            return reset(head, "lost_in_failover")
        cursor = Cursor(head.epoch, cursor.seq)
    if cursor.seq > head.head:
        return reset(head, "beyond_head")
    if cursor.seq < head.floor:
        return reset(head, "no_longer_kept")
    return cursor


def reset(head: Head, reason: str) -> Reset:
    """Tells a client to start again; it continues at the head."""
    return Reset(epoch=head.epoch, floor=head.floor, head=head.head, reason=reason)
