"""Opens the followers; they begin once they are given their feeds (``ingest``)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.config.schema import EventsConfig
from gateway.db.pool import Database
from gateway.follow.follower import Rules
from gateway.follow.followers import Followers
from gateway.follow.lease import Leases
from gateway.follow.spool import SpoolLimits
from gateway.log.store import Log
from gateway.stream.room import StreamsRoom
from gateway.tasks import running
from gateway.telemetry.metrics import Metrics

FOLLOWERS = web.AppKey("followers", Followers)


@asynccontextmanager
async def open_followers(
    database: Database, log: Log, streams: StreamsRoom, config: EventsConfig, metrics: Metrics, gateway_id: str
) -> AsyncIterator[Followers]:
    """On exit, all leases are released. Raises ``ConfigError``."""
    rules = Rules(
        max_event_bytes=config.max_event_bytes,
        silence=config.container_silence,
        spool=SpoolLimits.of(config),
        metrics=metrics,
    )
    leases = Leases(database, holder=gateway_id, seconds=config.lease)
    followers = Followers(database, log, streams.tails, leases, rules, streams.wakeups)
    streams.wakeups.on_released(followers.look)
    try:
        async with running({"renew leases": followers.renew()}):
            yield followers
    finally:
        await followers.hand_over()
