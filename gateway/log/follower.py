"""The follower: reads one feed of a container and appends it to the feed's log, watched or not.

One per feed in the whole cluster, by lease. From a container that numbers its events it goes on at the mark that
is committed, so that each is stored once; from one that does not, every break of the stream is a gap in the log.
"""

import asyncio
import logging
import random
from contextlib import suppress
from datetime import datetime

import attrs

from gateway.db.availability import log_failure
from gateway.errors import GatewayError, ProjectNotFound
from gateway.log.feeds import Feed
from gateway.log.lease import Lease
from gateway.log.recorder import Recorder
from gateway.log.source import Source
from gateway.log.spool import Spool, SpoolLimits
from gateway.log.store import Log, StaleFence
from gateway.telemetry.context import about
from gateway.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.1, 5.0
#: A stream that lasted so long, or brought something, is opened again at once.
SOUND_SECONDS = 2.0


@attrs.frozen(kw_only=True)
class Rules:
    """A follower's settings."""

    max_event_bytes: int
    silence: float
    spool: SpoolLimits
    metrics: Metrics


class Follower:
    """Follows a feed of one project's container for as long as ``run`` runs, under a lease that somebody else keeps."""

    def __init__(self, lease: Lease, feed: Feed, log: Log, rules: Rules) -> None:
        self._lease = lease
        self._project_id = lease.project_id
        self._feed = feed
        self._log = log
        self._rules = rules
        #: Why the last attempt failed, for those who wait for the connection.
        self.failure: GatewayError | None = None
        self._recorder: Recorder | None = None
        self._stopping = False

    @property
    def is_connected(self) -> bool:
        """Whether the container's stream is being read."""
        return self._recorder is not None

    @property
    def stored_at(self) -> datetime | None:
        """All that the stream brought until then is stored; None while it is not read."""
        return None if self._recorder is None else self._recorder.stored_at

    async def run(self) -> None:
        """Follow, again and again, until stopped, or until the project is gone; ``StaleFence`` once another follows."""
        about(project_id=self._project_id)
        loop = asyncio.get_running_loop()
        backoff = MIN_BACKOFF_SECONDS
        while not self._stopping:
            began = loop.time()
            try:
                await self._read_stream()
            except ProjectNotFound:
                return
            except StaleFence:
                raise
            except GatewayError as exc:
                self.failure = exc
                log_id = self._feed.log_id(self._project_id)
                log_failure(
                    logger, "container not followed", exc, level=logging.INFO, project=self._project_id, log=log_id
                )
            if self._recorder is not None:
                # One that ends whenever it is opened would fill the log with gaps.
                if self._recorder.has_stored or loop.time() - began >= SOUND_SECONDS:
                    backoff = MIN_BACKOFF_SECONDS
                stored_at = self._recorder.stored_at
                self._recorder = None
                with suppress(GatewayError):
                    await self._feed.end(self._lease, stored_at)
            if not self._stopping:
                await asyncio.sleep(backoff * random.uniform(0.5, 1.0))
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)

    def stop(self) -> bool:
        """Read no more; whether ``run`` will end by itself, once what has been read is stored."""
        self._stopping = True
        if self._recorder is None:
            return False
        self._recorder.stop()
        return True

    async def _read_stream(self) -> None:
        container = await self._feed.find(self._project_id)
        info = await container.info()
        log_id = self._feed.log_id(self._project_id)
        source = await Source.of(info, self._lease.fence, log_id, self._log)
        async with container.events(
            info,
            source.last_event_id,
            max_event_bytes=self._rules.max_event_bytes,
            silence=self._rules.silence,
        ) as reads:

            async def is_same_boot() -> bool:
                return (await container.info()).boot_id == source.boot

            await self._feed.begin(self._lease, source, info)
            self.failure = None
            logger.info("following", extra={"project": self._project_id, "log": log_id, "source": source.boot})
            self._recorder = Recorder(
                log_id,
                self._lease.fence,
                source,
                Spool(self._rules.spool, sheds=not source.numbered),
                log=self._log,
                translate=self._feed.translate,
                is_same_boot=is_same_boot,
                metrics=self._rules.metrics,
                gap=self._feed.gap,
                strange=self._feed.strange,
            )
            await self._recorder.record(reads)
