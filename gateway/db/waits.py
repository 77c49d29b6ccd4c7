"""Why statements of ours do not end: what PostgreSQL says that they wait for.

A commit that waits for a synchronous standby fails with nothing: the gateway gives it up, and others time out on the
rows that it holds. So PostgreSQL is asked when something has taken too long, over a connection of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from gateway.db.aiopg_fixes import MendedConnection
from gateway.db.errors import SYNCHRONOUS_STANDBY
from gateway.db.sending import ConnectionLost, send
from gateway.db.troubles import Troubles
from gateway.errors import GatewayError

#: How long an answer is good for, and how long it may take.
FRESH_SECONDS: Final = 2.0
LIMIT_SECONDS: Final = 1.0
_ASK: Final = """
select exists (
    select from pg_stat_activity
    where usename = current_user and datname = current_database()
        and wait_event = 'SyncRep' and state_change < clock_timestamp() - interval '1 second') as stuck
"""


class Waits:
    """Looks, for one database; who asks at the same time shares the answer."""

    def __init__(self, connect: Callable[[], Awaitable[MendedConnection]], troubles: Troubles) -> None:
        self._connect = connect
        self._troubles = troubles
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = -FRESH_SECONDS
        self._closed = False

    async def look(self) -> bool:
        """Whether commits wait for a synchronous standby; False where that cannot be found out."""
        if (
            self._looking is None
            and not self._closed
            and asyncio.get_running_loop().time() - self._looked_at > FRESH_SECONDS
        ):
            self._looking = asyncio.create_task(self._look(), name="what the database waits for")
        if self._looking is not None:
            await asyncio.wait((self._looking,))
        return SYNCHRONOUS_STANDBY.word in self._troubles.lasting()

    async def close(self) -> None:
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))

    async def _look(self) -> None:
        try:
            with suppress(GatewayError, ConnectionLost, TimeoutError):
                async with asyncio.timeout(LIMIT_SECONDS):
                    await self._ask()
        finally:
            self._looking, self._looked_at = None, asyncio.get_running_loop().time()

    async def _ask(self) -> None:
        connection = await self._connect()
        try:
            (row,) = (await send(connection, _ASK, {}, LIMIT_SECONDS)).rows
        finally:
            connection.close()
        if row["stuck"]:
            self._troubles.saw(SYNCHRONOUS_STANDBY)
        else:
            self._troubles.clear(SYNCHRONOUS_STANDBY)
