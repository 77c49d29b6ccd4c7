"""aiopg's connection with the faults of release 1.4.0 mended.

- A statement that the server cancels (``statement_timeout``) raised ``asyncio.CancelledError`` into a task that nobody
  cancelled. Here the driver's own error reaches the caller and the connection stays usable.
- libpq closes and reopens its socket during the handshake (``sslmode=prefer`` after a refused password), under
  the same number. The event loop kept watching the closed one: asyncio waited for ever, uvloop raised
  ``RuntimeError: UVPoll … closed``. Here the socket is let go before libpq is called and watched again after it.
- When a connection died, ``select.select`` was asked about its descriptor, which raises for numbers from 1024 on, so
  that a server with many clients never noticed. Here the driver is asked.
- uvloop tells of a socket in error once, and never again. libpq had read no more than the WARNING of a server that was
  stopped at once, so that its end was noticed when the statement's time was up. Here libpq is asked until it has read
  everything.
- A failed statement closed the queue of notifications. Here only a dead connection does.
- A cursor and its transaction held each other, and PostgreSQL's whole answer with them, until the garbage collector
  came by: hundreds of megabytes where much is read. ``let_go`` parts them.
"""

import asyncio
import select
import weakref
from typing import Any

import psycopg2
import psycopg2.extensions
from aiopg.connection import Connection, Cursor


def _bytes(value: str | bytes | None, cursor: Any) -> bytes | None:
    return None if value is None else bytes(psycopg2.BINARY(value, cursor))


#: PostgreSQL's number of its type.
BYTEA = 17
# The driver would give memoryviews of its own buffers. Of a ``bytea`` alone it still does, and ``sending`` makes bytes
# of them: here each would first become a text of twice its size.
_BYTEA_ARRAY = psycopg2.extensions.new_array_type(
    (1001,), "BYTES[]", psycopg2.extensions.new_type((BYTEA,), "BYTES", _bytes)
)


def let_go(cursor: Cursor) -> None:
    """Release the cursor's memory."""
    del cursor._transaction


class MendedConnection(Connection):
    """One session of PostgreSQL, in autocommit; ``bytea`` comes as ``bytes``. Use from one coroutine at a time."""

    def __init__(self, timeout: float, parameters: dict[str, str]):
        self._established = False
        self._reading = False
        #: Whether it holds more memory than it should go on holding.
        self.is_worn = False
        #: Whether its server has said that it is not, or no longer, the primary that the gateway knows.
        self.is_outdated = False
        #: Statements that each transaction begins with (``gateway.db.session``).
        self.preamble = ""
        options: dict[str, Any] = {**parameters}
        super().__init__(None, timeout, enable_hstore=False, **options)
        self._reading = True

    @classmethod
    async def open(cls, parameters: dict[str, str], *, timeout: float) -> "MendedConnection":
        """Connect within ``timeout`` seconds; ``psycopg2.Error`` or ``TimeoutError``."""
        connection = cls(timeout, parameters)
        await connection
        psycopg2.extensions.register_type(_BYTEA_ARRAY, connection.raw)
        connection._established = True
        return connection

    def is_alive(self) -> bool:
        """Whether the server has not hung up since ``settle``, nor announced that it will, and is the primary still.

        Asks the socket: the loop may not have come round to telling us. An idle session is told nothing but its end.
        """
        if not self._conn.closed:
            self._ready(self._weakref)
        return not self._conn.closed and not self._conn.notices and not self.is_outdated

    def settle(self) -> bool:
        """After use: whether it can be used again: open, outside any transaction, not worn, on a primary."""
        self._conn.notices.clear()
        if self.is_worn or self.is_outdated or self._conn.closed:
            return False
        return bool(self._conn.get_transaction_status() == psycopg2.extensions.TRANSACTION_STATUS_IDLE)

    @staticmethod
    def _ready(weak_self: "weakref.ref[Any]") -> None:
        self: MendedConnection | None = weak_self()
        if self is None or self._conn.closed:
            return
        if not self._established:
            self._let_go()
        try:
            state = self._conn.poll()
            while self._established and self._is_cut_off() and not self._has_answer(state):
                state = self._conn.poll()
        except (psycopg2.Error, psycopg2.Warning) as exc:
            self._failed(exc)
            return
        while self._conn.notifies:
            self._notifies.put_nowait(self._conn.notifies.pop(0))
        self._watch(writing=state == psycopg2.extensions.POLL_WRITE)
        if state == psycopg2.extensions.POLL_OK and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _has_answer(self, state: int) -> bool:
        return self._waiter is not None and bool(state == psycopg2.extensions.POLL_OK)

    def _is_cut_off(self) -> bool:
        """Whether nothing more will come than what is waiting to be read."""
        asked = select.poll()
        asked.register(self._conn.fileno(), 0)
        return bool(asked.poll(0))

    def _failed(self, exc: Exception) -> None:
        if self._conn.closed or not self._established:
            # libpq has closed the socket; its number may be somebody else's from now on.
            self._let_go()
            self._notifies_proxy.close(exc)
        else:
            self._watch(writing=False)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc)

    def _watch(self, *, writing: bool) -> None:
        if self._fileno is None:
            self._fileno = self._conn.fileno()
        if not self._reading:
            self._loop.add_reader(self._fileno, self._ready, self._weakref)
            self._reading = True
        if writing and not self._writing:
            self._loop.add_writer(self._fileno, self._ready, self._weakref)
        elif self._writing and not writing:
            self._loop.remove_writer(self._fileno)
        self._writing = writing

    def _let_go(self) -> None:
        if self._fileno is None:
            return
        self._loop.remove_reader(self._fileno)
        if self._writing:
            self._loop.remove_writer(self._fileno)
        self._fileno, self._reading, self._writing = None, False, False

    async def _poll(self, waiter: "asyncio.Future[None]", timeout: float) -> None:
        self._ready(self._weakref)
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except (asyncio.CancelledError, TimeoutError):
            # The answer is still to come: nobody else may use this connection.
            self.close()
            raise
        finally:
            self._waiter = None
