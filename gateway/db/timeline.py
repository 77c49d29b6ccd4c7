"""Notices that the database was failed over: to a standby that may lack the last commits.

Every new connection is looked at before anything else is sent on it. ``look_at_timeline`` in `migrations/functions.sql`
begins new epochs of all logs where the timeline is another one; here a process finds out that this has happened, and
tells those who keep something of the logs in memory.

A pooler keeps our connection and puts another server behind it. There each transaction requires the epoch that was
found last; one that is refused closes the connection, and the next one is looked at.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Final
from weakref import WeakSet

from gateway.db.aiopg_fixes import MendedConnection
from gateway.db.errors import StatementFailed, unavailable
from gateway.db.sending import send

logger = logging.getLogger(__name__)

#: How long after a failover something may still be missing that is being read again.
FRESH_SECONDS: Final = 60.0
_LOOK = "select look_at_timeline() as epoch"
#: No such function: the database has not been migrated.
_NOT_MIGRATED = "42883"


class Timeline:
    """The database as this process knows it.

    ``epoch``: which all logs began at the last failover; 0 before the first, None before the first connection.
    """

    def __init__(self) -> None:
        self.epoch: int | None = None
        self._changed = asyncio.Event()
        self._changed_at = -math.inf
        self._listeners: list[Callable[[int], None]] = []
        #: All that were looked at.
        self._connections: WeakSet[MendedConnection] = WeakSet()

    def listen(self, listener: Callable[[int], None]) -> None:
        """Call ``listener(epoch)`` at each failover, before anything is sent to the new primary; it must not block."""
        self._listeners.append(listener)

    @property
    def is_fresh(self) -> bool:
        """Whether there was a failover a moment ago."""
        return time.monotonic() - self._changed_at < FRESH_SECONDS

    async def after(self, epoch: int | None) -> None:
        """Wait until the epoch is another one."""
        while self.epoch == epoch:
            await self._changed.wait()

    async def look(self, connection: MendedConnection, limit: float) -> None:
        """Look at a new connection; ``DatabaseUnavailable`` if it leads to a former primary."""
        try:
            result = await send(connection, connection.preamble + _LOOK, {}, limit)
        except StatementFailed as exc:
            if exc.sqlstate != _NOT_MIGRATED:
                raise
            return
        epoch: int | None = result.rows[0]["epoch"]
        if epoch is None:
            return
        if connection.preamble:
            connection.preamble += f"select require_epoch({epoch}); "
        if epoch != self.epoch:
            self._found(epoch)
        self._connections.add(connection)

    def check(self, epoch: int | None) -> None:
        """``DatabaseUnavailable`` if what was asked for in this epoch would be sent in a later one.

        What it was based on may be lost, such as the number of the last event of a container that is stored.
        """
        if epoch is not None and epoch != self.epoch:
            raise unavailable("it was failed over")

    def _found(self, epoch: int) -> None:
        if self.epoch is not None and epoch < self.epoch:
            raise unavailable("this is a former primary")
        known, self.epoch = self.epoch, epoch
        if known is None:
            return
        for former in self._connections:
            # It may lead to the former primary, which may still take writes.
            former.is_outdated = True
        logger.warning("database was failed over", extra={"epoch": epoch})
        self._changed_at = time.monotonic()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        for listener in self._listeners:
            listener(epoch)
