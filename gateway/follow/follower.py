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
from gateway.follow.feeds import Feed
from gateway.follow.lease import Lease
from gateway.follow.recorder import Recorder
from gateway.follow.source import Source
from gateway.follow.spool import Spool, SpoolLimits
from gateway.log.store import Log, StaleFence
from gateway.telemetry.context import about
from gateway.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

#: Between the attempts to open a stream. A container that nobody waits for, and that has not been there for long, is
#: asked every few minutes.
MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.1, 300.0
#: How much longer each pause is than the one before, for one that has been there, and for one that nobody has seen yet.
SEEN_FACTOR, UNSEEN_FACTOR = 2, 10
#: At most so long while somebody waits for it: who makes a call that needs it, or whose turn is not over yet; or who
#: watches its log.
ASKED_BACKOFF_SECONDS, WATCHED_BACKOFF_SECONDS = 5.0, 30.0
#: For how long somebody waits who does not say so again.
PATIENCE_SECONDS = 30.0
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
        #: Set when somebody waits for the container; and how long a pause may be until when, by the loop's clock.
        self._waited_for = asyncio.Event()
        self._longest_pause, self._waited_until = MAX_BACKOFF_SECONDS, 0.0
        #: What was logged last of why it cannot be followed: only another reason is news.
        self._told: str | None = None

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
        backoff, factor = MIN_BACKOFF_SECONDS, UNSEEN_FACTOR
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
                self._tell(exc)
            if self._recorder is not None:
                # One that ends whenever it is opened would fill the log with gaps.
                if self._recorder.has_stored or loop.time() - began >= SOUND_SECONDS:
                    backoff = MIN_BACKOFF_SECONDS
                factor = SEEN_FACTOR
                stored_at = self._recorder.stored_at
                self._recorder = None
                with suppress(GatewayError):
                    await self._feed.end(self._lease, stored_at)
            if not self._stopping:
                await self._pause(backoff * random.uniform(0.5, 1.0))
                backoff = min(backoff * factor, MAX_BACKOFF_SECONDS)

    def wait_for(self, *, at_most: float) -> None:
        """Somebody waits for the container: it is tried again after ``at_most`` seconds, for some time from now on."""
        now = asyncio.get_running_loop().time()
        if now >= self._waited_until or at_most <= self._longest_pause:
            self._longest_pause, self._waited_until = at_most, now + PATIENCE_SECONDS
            self._waited_for.set()

    async def _pause(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            self._waited_for.clear()
            waited_for = loop.time() < self._waited_until
            left = began + (min(seconds, self._longest_pause) if waited_for else seconds) - loop.time()
            if left <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._waited_for.wait()

    def _tell(self, exc: GatewayError) -> None:
        if str(exc) != self._told:
            self._told = str(exc)
            about_log = {"project": self._project_id, "log": str(self._feed.log_id(self._project_id))}
            log_failure(logger, "container not followed", exc, level=logging.INFO, **about_log)

    def stop(self) -> bool:
        """Read no more; whether ``run`` will end by itself, once what has been read is stored."""
        self._stopping = True
        if self._recorder is None:
            return False
        self._recorder.stop()
        return True

    async def _read_stream(self) -> None:
        container = await self._feed.find(self._project_id)
        facts = await container.read_facts()
        log_id = self._feed.log_id(self._project_id)
        source = await Source.of(facts, self._lease.fence, log_id, self._log)
        async with container.events(
            facts,
            source.last_event_id,
            max_event_bytes=self._rules.max_event_bytes,
            silence=self._rules.silence,
        ) as reads:

            async def is_same_boot() -> bool:
                return (await container.read_facts()).boot_id == source.boot

            await self._feed.begin(self._lease, source, facts)
            self.failure = self._told = None
            logger.info("following", extra={"project": self._project_id, "log": str(log_id), "source": source.boot})
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
            )
            await self._recorder.record(reads)
