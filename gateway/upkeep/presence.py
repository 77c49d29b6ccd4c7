"""Which gateways live: each renews a row by the database's clock, and one whose row has expired is dead.

What a gateway holds for a while (a turn whose prompt it sends, a key, an entry of a queue) names it, so that another
takes over what a dead one held.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from gateway.db.availability import log_failure
from gateway.db.pool import Database
from gateway.errors import GatewayError

logger = logging.getLogger(__name__)

#: Whoever stops waits no longer for a database that does not answer: its row expires by itself.
FAREWELL_SECONDS = 1.0


class Presence:
    """This process among the gateways of one database."""

    def __init__(self, database: Database, *, gateway_id: str, seconds: float) -> None:
        """``gateway_id`` is unique for a process; it counts as dead ``seconds`` after it was last heard of."""
        self._database = database
        self.gateway_id = gateway_id
        self._seconds = seconds

    @asynccontextmanager
    async def announced(self) -> AsyncIterator[None]:
        """Others see this gateway from now on, and no more once this is left."""
        await self._database.execute("forget_dead_gateways")
        await self._renew()
        try:
            yield
        finally:
            with suppress(GatewayError, TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._database.execute("delete_gateway", id=self.gateway_id)

    async def keep(self) -> None:
        """Renew the row until cancelled. A database that is away may come back before it has expired."""
        while True:
            await asyncio.sleep(self._seconds / 3)
            try:
                await self._renew()
            except GatewayError as exc:
                log_failure(logger, "presence not renewed", exc, gateway=self.gateway_id)

    @staticmethod
    async def expire_all(database: Database) -> None:
        """Before the only gateways on a database start: whoever was there is gone."""
        await database.execute("expire_gateways")

    async def _renew(self) -> None:
        await self._database.execute("renew_gateway", id=self.gateway_id, seconds=self._seconds)
