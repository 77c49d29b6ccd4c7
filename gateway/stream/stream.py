"""A stream: one client's cursor over the log, and the connection that it is written to.

The cursor is the only state. Whoever writes to a stream writes whole blocks and moves its cursor with them, so that a
heartbeat between any two tells the client where it stands.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from gateway.log.store import Head
from gateway.stream.dialects import OWN, Dialect
from gateway.wire.events import Cursor, Reset

#: A connection that has more than this to send is given nothing more.
FULL_BYTES: Final = 32_768


def chunked(data: bytes) -> bytes:
    """``data`` as one chunk of HTTP/1.1's chunked coding (RFC 9112 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Carrier(Protocol):
    """Who writes to many streams that stand at the same place."""

    served: int


class Stream:
    """The events of a project, or of one session with the project's gaps, from a cursor on, to one client."""

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
        #: While it is up to date, its place is that of all for whom this one writes.
        self.carrier: Carrier | None = None
        #: Done when the pump lets go of it.
        self.released: asyncio.Future[None] | None = None
        #: Bytes written to the transport.
        self.written = 0
        #: When it was last written to, by the loop's clock.
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
        """From now on the carrier's place is this one's."""
        self.carrier = carrier

    def unsettle(self) -> None:
        """Stay at the place where the carrier is now."""
        if self.carrier is not None:
            self._seq, self.carrier = self.carrier.served, None

    def write(self, data: bytes, cursor: Cursor | None = None) -> None:
        """Write whole blocks, after which the client is at ``cursor``."""
        if data:
            framed = chunked(data) if self.is_chunked else data
            self.transport.write(framed)
            self.written += len(framed)
            self.wrote_at = asyncio.get_running_loop().time()
        if cursor is not None:
            self.epoch, self._seq = cursor.epoch, cursor.seq

    def beat(self, *, retry: int | None = None) -> None:
        """Tell the client its cursor; ``retry``: and after how many milliseconds it is to come back."""
        self.write(self.dialect.heartbeat(self.cursor, retry=retry))

    def has_stalled(self, now: float, seconds: float) -> bool:
        """Whether its client has taken nothing of what waits for it in so many seconds. To be asked now and then."""
        waiting = self.transport.get_write_buffer_size()
        taken = self.written - waiting
        if not waiting or taken > self._taken:
            self._taken, self._taken_at = taken, now
        return now - self._taken_at > seconds


def judge(head: Head, text: str | None, *, from_start: bool) -> Cursor | Reset:
    """Where a client that names ``text`` as its last event id begins, or the reset that it is told.

    With none it begins at the head, or at the log's start where it asks for that.
    """
    if not text:
        return Cursor(head.epoch, head.floor if from_start else head.head)

    cursor = Cursor.parse(text)
    if cursor is None:
        return reset(head, "unreadable_cursor")
    if cursor.epoch != head.epoch:
        return reset(head, "other_epoch")
    if cursor.seq > head.head:
        return reset(head, "beyond_head")
    if cursor.seq < head.floor:
        return reset(head, "no_longer_kept")
    return cursor


def reset(head: Head, reason: str) -> Reset:
    """A client is told to start again, and goes on at the head."""
    return Reset(epoch=head.epoch, floor=head.floor, head=head.head, reason=reason)
