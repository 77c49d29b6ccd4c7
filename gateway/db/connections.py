"""A bounded set of connections, lent one at a time.

aiopg's own pool connects while it holds its only lock, so that one slow handshake stops every release and every
acquire; after a restart of PostgreSQL the first caller reopens all of them in a row. Here a borrower opens the one
connection it needs, and waits for nobody but PostgreSQL.

Where PostgreSQL gives no further one, and some are open, a borrower waits for one of those.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import attrs

from gateway.db.aiopg_fixes import MendedConnection
from gateway.db.errors import unavailable
from gateway.errors import DatabaseUnavailable

#: After PostgreSQL has refused a further connection, none is asked for as long as that, unless one of ours has ended.
REFUSED_SECONDS: Final = 1.0


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
        #: How many are open or being opened, and who waits for one of them. None: try for a new one again.
        self._open_ones = 0
        self._short: deque[asyncio.Future[MendedConnection | None]] = deque()
        self._refusal: DatabaseUnavailable | None = None
        self._refused_until = 0.0

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[MendedConnection]:
        """A living connection outside any transaction; ``DatabaseUnavailable`` when none is free in time."""
        give_up_at = asyncio.get_running_loop().time() + self._acquire_timeout
        await self._slot()
        self._lent += 1
        try:
            connection = self._take() or await self._open(give_up_at)
            try:
                yield connection
            finally:
                self._give_back(connection)
        finally:
            self._lent -= 1
            self._slots.release()

    def usage(self) -> Usage:
        return Usage(size=self._size, lent=self._lent - len(self._short), waiting=self._waiting + len(self._short))

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
        self._close_idle()

    def _take(self) -> MendedConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_alive():
                return connection
            self._drop(connection)
        return None

    async def _open(self, give_up_at: float) -> MendedConnection:
        """A new one, or where there is none to be had, one of ours that comes back until then."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._open_ones or loop.time() >= self._refused_until:
                try:
                    return await self._new()
                except DatabaseUnavailable as exc:
                    if not self._open_ones:
                        raise
                    self._refusal, self._refused_until = exc, loop.time() + REFUSED_SECONDS
            ours = self._take() or await self._next_of_ours(give_up_at)
            if ours is not None:
                return ours

    async def _new(self) -> MendedConnection:
        # It counts already: others may wait for it instead of failing.
        self._open_ones += 1
        try:
            return await self._connect()
        except BaseException as exc:
            self._open_ones -= 1
            if not self._open_ones:
                # Nothing will come back. They would only ask for what was refused just now.
                self._release_waiting(exc if isinstance(exc, DatabaseUnavailable) else None)
            raise

    def _release_waiting(self, refusal: DatabaseUnavailable | None) -> None:
        """Nobody waits any longer: they fail, or without a refusal try for themselves."""
        while self._short:
            ours = self._short.popleft()
            if ours.done():
                continue
            if refusal is None:
                ours.set_result(None)
            else:
                ours.set_exception(refusal)

    async def _next_of_ours(self, give_up_at: float) -> MendedConnection | None:
        ours: asyncio.Future[MendedConnection | None] = asyncio.get_running_loop().create_future()
        self._short.append(ours)
        try:
            async with asyncio.timeout_at(give_up_at):
                return await ours
        except (TimeoutError, asyncio.CancelledError) as exc:
            if ours in self._short:
                self._short.remove(ours)
            elif not ours.cancelled() and ours.exception() is None:
                # It came at the same time as the end of waiting: somebody else waits for it.
                if (late := ours.result()) is not None:
                    self._give_back(late)
                else:
                    self._wake(None)
            if isinstance(exc, TimeoutError) and self._refusal is not None:
                raise self._refusal.with_traceback(None) from None
            raise

    def _give_back(self, connection: MendedConnection) -> None:
        if connection.is_outdated:
            # The others lead to the same server, which may not be the primary any more.
            self._close_idle()
        if not connection.settle() or self._closed:
            self._drop(connection)
            if self._open_ones:
                self._wake(None)
            else:
                self._release_waiting(None)
        elif not self._wake(connection):
            self._idle.append(connection)

    def _wake(self, connection: MendedConnection | None) -> bool:
        """Whether there was somebody who waits for one of ours."""
        while self._short:
            ours = self._short.popleft()
            if not ours.done():
                ours.set_result(connection)
                return True
        return False

    def _close_idle(self) -> None:
        while self._idle:
            self._drop(self._idle.pop())

    def _drop(self, connection: MendedConnection) -> None:
        self._open_ones -= 1
        self._refused_until = 0.0
        connection.close()
