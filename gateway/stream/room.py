"""Opens clients' streams, the tails that they read, and the wake-ups between gateways."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
from aiohttp import web

from gateway.config.schema import Config
from gateway.db.pool import Database
from gateway.log.store import Log
from gateway.stream.streams import Streams
from gateway.stream.tail import Tails
from gateway.stream.wakeups import Wakeups
from gateway.tasks import running
from gateway.telemetry.metrics import Metrics


@attrs.frozen(kw_only=True)
class StreamsRoom:
    streams: Streams
    tails: Tails
    wakeups: Wakeups


STREAMS = web.AppKey("streams", StreamsRoom)


@asynccontextmanager
async def open_streams(
    database: Database, log: Log, config: Config, metrics: Metrics, gateway_id: str
) -> AsyncIterator[StreamsRoom]:
    tails = Tails(log, max_bytes=config.events.tail_bytes)
    wakeups = Wakeups(database, gateway_id=gateway_id)
    events = attrs.evolve(config.events, drain=min(config.events.drain, config.server.shutdown_timeout))
    reads_at_once = max(1, config.database.pool_size // 2)
    streams = Streams(log, tails, events, reads_at_once=reads_at_once, metrics=metrics)
    log.listen(tails.extend)
    log.timeline.listen(tails.forget)
    log.listen(wakeups.moved)
    wakeups.on_moved(tails.move)
    try:
        async with running({"poll heads": tails.poll(), "heartbeats": streams.beat(), "wake-ups": wakeups.run()}):
            yield StreamsRoom(streams=streams, tails=tails, wakeups=wakeups)
    finally:
        await streams.close()
