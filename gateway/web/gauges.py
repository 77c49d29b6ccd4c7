"""Gauges of what the rooms hold now; they are computed when metrics are read."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.db.pool import Database
from gateway.errors import GatewayError
from gateway.follow.followers import Followers
from gateway.stream.streams import Streams
from gateway.telemetry.metrics import Metrics

#: Gauges that need the database are left out if it takes longer.
LOOK_UP_SECONDS: Final = 1.0


def add_gauges(
    metrics: Metrics, database: Database, followers: Followers, streams: Streams
) -> Callable[[], Awaitable[None]]:
    """Add the gauges to ``metrics``. The function returned refreshes those that need the database."""
    waiting: dict[tuple[str, ...], float] = {}

    def of_followers() -> dict[tuple[str, ...], float]:
        followed, connected = followers.counts()
        return {("connected",): connected, ("trying",): followed - connected}

    def of_pool() -> dict[tuple[str, ...], float]:
        usage = database.usage()
        return {("lent",): usage.lent, ("free",): usage.size - usage.lent, ("awaited",): usage.waiting}

    async def refresh() -> None:
        waiting.clear()
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                row = await database.fetch_one("count_waiting_permissions", project_ids=followers.held())
        except (GatewayError, TimeoutError):
            return
        waiting[()] = row["waiting"] if row else 0

    metrics.add_gauge("acp_gateway_streams", "Open event streams of clients.", (), lambda: {(): len(streams)})
    metrics.add_gauge(
        "acp_gateway_followers",
        "Containers' streams that are followed here: those that are read, and those that are tried.",
        ("state",),
        of_followers,
    )
    metrics.add_gauge(
        "acp_gateway_database_connections",
        "Connections to PostgreSQL: lent, free, and how many callers wait for one.",
        ("state",),
        of_pool,
    )
    metrics.add_gauge(
        "acp_gateway_permissions_waiting",
        "Permission requests that wait for an answer, of the projects that are followed here.",
        (),
        lambda: waiting,
    )
    return refresh
