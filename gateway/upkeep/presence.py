"""Which gateways are alive: each renews a row by the database's clock, and is dead once its row has expired.

What a gateway holds (a turn whose prompt it sends, a process that it starts, a session that it takes up, an idempotency
key) names it. This is the one heartbeat for all of it: another gateway takes over what ``gateway_lives`` in PostgreSQL
says that a dead one held.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from gateway.db.every import every
from gateway.db.pool import Database
from gateway.errors import GatewayError
from gateway.tasks import running

#: How long stopping waits for the database: the row also expires.
FAREWELL_SECONDS = 1.0


@asynccontextmanager
async def present(database: Database, *, seconds: float) -> AsyncIterator[str]:
    """While this is open, other gateways see this one as alive, and for ``seconds`` after its last renewal.

    Yields its id, which is unique per process.
    """
    gateway_id = f"gateway-{secrets.token_hex(8)}"
    await database.execute("forget_dead_gateways")

    async def renew() -> None:
        await database.execute("renew_gateway", id=gateway_id, seconds=seconds)

    await renew()
    try:
        async with running({"keep presence": every(seconds / 3, renew, failed="presence not renewed")}):
            yield gateway_id
    finally:
        with suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await database.execute("delete_gateway", id=gateway_id)


async def expire_gateways(database: Database) -> None:
    """Before the only gateways on a database start: expire all former ones."""
    await database.execute("expire_gateways")
