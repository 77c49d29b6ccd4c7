"""A bounded set of connections, lent one at a time.

aiopg's own pool connects while it holds its only lock, so that one slow handshake stops every release and every
acquire; after a restart of PostgreSQL the first caller reopens all of them in a row. Here a borrower opens the one
connection it needs, and waits for nobody but PostgreSQL.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs

from gateway.db.aiopg_fixes import MendedConnection
from gateway.db.errors import unavailable


@attrs.frozen(kw_only=True)
class Usage:
    """How many connections there may be, how many are lent, and how many callers wait for one."""

    size: int
    lent: int
    waiting: int


class Connections:
    """At most ``size`` connections; ``connect`` makes one and raises ``DatabaseUnavailable`` if it cannot."""

    def __init__(self, connect: Callable[[], Awaitable[MendedConnection]], *, size: int, acquire_timeout: float):
        self._connect = connect
        self._slots = asyncio.Semaphore(size)
        self._acquire_timeout = acquire_timeout
        # The last one used is lent first: it is the least likely to have been dropped by a firewall.
        self._idle: list[MendedConnection] = []
        self._closed = False
        self._size = size
        self._lent = 0
        self._waiting = 0

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[MendedConnection]:
        """A living connection outside any transaction; ``DatabaseUnavailable`` when none is free in time."""
        await self._slot()
        self._lent += 1
        try:
            connection = self._take() or await self._connect()
            try:
                yield connection
            finally:
                self._give_back(connection)
        finally:
            self._lent -= 1
            self._slots.release()

    def usage(self) -> Usage:
        return Usage(size=self._size, lent=self._lent, waiting=self._waiting)

    async def _slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()  # Does not wait, so it needs no timer.
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(self._acquire_timeout):
                await self._slots.acquire()
        except TimeoutError:
            raise unavailable("all connections are busy") from None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Close the idle ones now and the lent ones when they come back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> MendedConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_alive():
                return connection
            connection.close()
        return None

    def _give_back(self, connection: MendedConnection) -> None:
        if connection.settle() and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()
