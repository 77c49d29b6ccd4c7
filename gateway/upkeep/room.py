"""Opens packing, retention, counting, and the writing of messages ahead of a turn's end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.config.schema import EventsConfig
from gateway.db.due import Driver
from gateway.db.pool import Database
from gateway.log.room import LogRoom
from gateway.projects.cleanup import Remains
from gateway.projects.store import Retention
from gateway.tasks import running
from gateway.telemetry.metrics import Metrics
from gateway.upkeep.ahead import WritingAhead
from gateway.upkeep.counting import counting
from gateway.upkeep.packing import Packing
from gateway.upkeep.retention import Retaining

REVIEW_SECONDS = 2.0


@asynccontextmanager
async def open_upkeep(database: Database, log: LogRoom, config: EventsConfig, metrics: Metrics) -> AsyncIterator[None]:
    log.store.listen(counting(metrics))
    driver = Driver()
    log.store.listen(WritingAhead(log.folding, driver).appended)
    packing = Packing(database, config.pack_after)
    rule = Retention(max_age_days=config.retention_days or None, max_bytes=config.retention_bytes or None)
    retaining = Retaining(database, log.folding, rule)
    reviews = {
        "message": log.folding.review,
        "packing": packing.review,
        "retention": retaining.review,
        "deleted project": Remains(database).review,
    }
    try:
        async with running({"keep up logs": driver.run(reviews, seconds=REVIEW_SECONDS)}):
            yield
    finally:
        await driver.close()
