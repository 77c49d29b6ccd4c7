"""Which gateways are alive: each renews a row by the database's clock, and is dead once its row has expired.

What a gateway holds (a turn whose prompt it sends, a process that it starts, a session that it takes up, an idempotency
key) names it. This is the one heartbeat for all of it: another gateway takes over what ``gateway_lives`` in PostgreSQL
says that a dead one held.

It is a change that each gateway makes every few seconds, so whether one is committed now is known from it, too.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import attrs

from gateway.db.every import every
from gateway.db.pool import Database
from gateway.errors import GatewayError
from gateway.tasks import running

#: How long stopping waits for the database: the row also expires.
FAREWELL_SECONDS: Final = 1.0
#: A renewal at least so often, and one that has taken longer is late.
MOST_SECONDS: Final = 5.0
LATE_SECONDS: Final = 5.0


@attrs.define(kw_only=True)
class Presence:
    """This gateway's row."""

    #: Unique per process.
    gateway_id: str
    #: Why the newest renewal that has ended failed, and when that under way began, by ``time.monotonic``.
    failure: str | None = None
    _began: float | None = None

    @property
    def is_late(self) -> bool:
        """Whether a renewal takes longer than it should."""
        return self._began is not None and time.monotonic() - self._began > LATE_SECONDS

    async def renew(self, database: Database, seconds: float) -> None:
        self._began = time.monotonic()
        try:
            await database.execute("renew_gateway", id=self.gateway_id, seconds=seconds)
            self.failure = None
        except GatewayError as exc:
            self.failure = str(exc)
            raise
        finally:
            self._began = None


@asynccontextmanager
async def present(database: Database, *, seconds: float) -> AsyncIterator[Presence]:
    """While this is open, other gateways see this one as alive, and for ``seconds`` after its last renewal."""
    presence = Presence(gateway_id=f"gateway-{secrets.token_hex(8)}")
    await database.execute("forget_dead_gateways")

    async def renew() -> None:
        await presence.renew(database, seconds)

    await renew()
    try:
        async with running(
            {"keep presence": every(min(seconds / 3, MOST_SECONDS), renew, failed="presence not renewed")}
        ):
            yield presence
    finally:
        with suppress(GatewayError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await database.execute("delete_gateway", id=presence.gateway_id)


async def expire_gateways(database: Database) -> None:
    """Before the only gateways on a database start: expire all former ones."""
    await database.execute("expire_gateways")
