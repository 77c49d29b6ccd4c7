"""The follower: reads one feed of a container and appends it to its log, watched or not.

There is one per feed in the cluster, by lease. It continues after the committed mark of a container that numbers its
events, so that each is stored once; otherwise every break of the stream is a gap.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import attrs

from gateway.db.availability import log_failure
from gateway.db.retry import retry_until_stored
from gateway.errors import GatewayError, ProjectNotFound, UpstreamUnreachable
from gateway.follow.feeds import Feed
from gateway.follow.lease import Lease
from gateway.follow.recorder import Recorder
from gateway.follow.source import Source
from gateway.follow.spool import Spool, SpoolLimits
from gateway.log.store import Log, StaleFence
from gateway.tasks import running
from gateway.telemetry.context import about
from gateway.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

#: Pauses between attempts to open a stream. A container that nobody waits for is tried every few minutes after a long
#: absence.
MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.1, 300.0
#: The factors between pauses, for a container that has been reached before and for one that has not.
SEEN_FACTOR, UNSEEN_FACTOR = 2, 10
#: The longest pause while somebody needs the container (a call, or an open turn), or watches its log.
ASKED_BACKOFF_SECONDS, WATCHED_BACKOFF_SECONDS = 5.0, 30.0
#: How long a request counts as waiting.
PATIENCE_SECONDS = 30.0
#: A stream that lasted this long, or brought something, is reopened at once.
SOUND_SECONDS = 2.0
#: A stream that is closed after it was silent for this long may have been closed for its silence. Bun's limit is 10 s.
SILENT_SECONDS = 8.0


@attrs.frozen(kw_only=True)
class Rules:
    """The settings of a follower."""

    max_event_bytes: int
    silence: float
    spool: SpoolLimits
    metrics: Metrics


class Follower:
    """Follows a feed of one project's container while ``run`` runs, under a lease that somebody else renews."""

    def __init__(self, lease: Lease, feed: Feed, log: Log, rules: Rules) -> None:
        self._lease = lease
        self._project_id = lease.project_id
        self.log_id = feed.log_id(lease.project_id)
        self._feed = feed
        self._log = log
        self._rules = rules
        #: Why the last attempt failed.
        self.failure: GatewayError | None = None
        self._recorder: Recorder | None = None
        #: When the stream was closed just now after a silence; None if it did not end so.
        self._closed_at: datetime | None = None
        self._stopping = False
        #: Set when somebody waits for the container; and the longest pause, until a time of the loop's clock.
        self._waited_for = asyncio.Event()
        self._longest_pause, self._waited_until = MAX_BACKOFF_SECONDS, 0.0
        #: The failure that was logged last, so that only another one is logged.
        self._told: str | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the container's stream is being read."""
        return self._recorder is not None

    @property
    def stored_at(self) -> datetime | None:
        """Everything that arrived until then is stored; None where that is not known."""
        return None if self._recorder is None else self._recorder.stored_at

    async def run(self) -> None:
        """Follow until stopped, or until the project is deleted; ``StaleFence`` once another process follows."""
        about(project_id=self._project_id)
        loop = asyncio.get_running_loop()
        backoff, factor = MIN_BACKOFF_SECONDS, UNSEEN_FACTOR
        while not self._stopping:
            began = loop.time()
            closed_at = None
            try:
                await self._read_stream()
            except ProjectNotFound:
                return
            except StaleFence:
                raise
            except GatewayError as exc:
                self.failure = exc
                closed_at = self._closed_in_silence(exc)
                if closed_at is None:
                    self._tell(exc)
            self._closed_at = closed_at
            if self._recorder is not None:
                # A stream that ends as soon as it is opened would fill the log with gaps.
                if self._recorder.has_stored or loop.time() - began >= SOUND_SECONDS:
                    backoff = MIN_BACKOFF_SECONDS
                factor = SEEN_FACTOR
                stored_at, self._recorder = self.stored_at, None
                with suppress(GatewayError):
                    await self._feed.end(self._lease, stored_at)
            if not self._stopping:
                await self._pause(backoff * random.uniform(0.5, 1.0))
                backoff = min(backoff * factor, MAX_BACKOFF_SECONDS)

    def wait_for(self, *, at_most: float) -> None:
        """Somebody waits for the container: for some time, retry at least every ``at_most`` seconds."""
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

    def _closed_in_silence(self, exc: GatewayError) -> datetime | None:
        """Now, if the container has closed a silent stream, as Bun's server does after 10 s."""
        if self._recorder is None or not isinstance(exc, UpstreamUnreachable):
            return None
        now = datetime.now(UTC)
        return now if (now - self._recorder.read_at).total_seconds() >= SILENT_SECONDS else None

    def _tell(self, exc: GatewayError) -> None:
        if str(exc) != self._told:
            self._told = str(exc)
            about_log = {"project": self._project_id, "log": str(self.log_id)}
            log_failure(logger, "container not followed", exc, level=logging.INFO, **about_log)

    def stop(self) -> bool:
        """Stop reading; whether ``run`` will end by itself, once what was read is stored."""
        self._stopping = True
        if self._recorder is None:
            return False
        self._recorder.stop()
        return True

    async def _read_stream(self) -> None:
        container = await self._feed.find(self._project_id)
        facts = await container.read_facts()
        source = await Source.of(facts, self._lease.fence, self.log_id, self._log)
        async with container.events(
            facts,
            source.last_event_id,
            max_event_bytes=self._rules.max_event_bytes,
            silence=self._rules.silence,
        ) as reads:

            async def is_same_boot() -> bool:
                return (await container.read_facts()).boot_id == source.boot

            await self._feed.begin(self._lease, source, facts, self._closed_at)
            self.failure = self._told = None
            if self._closed_at is None:
                about_log = {"project": self._project_id, "log": str(self.log_id), "source": source.boot}
                logger.info("following", extra=about_log)
            self._recorder = Recorder(
                self.log_id,
                self._lease.fence,
                source,
                Spool(self._rules.spool, sheds=not source.numbered),
                log=self._log,
                translate=self._feed.translate,
                is_same_boot=is_same_boot,
                metrics=self._rules.metrics,
                gap=self._feed.gap,
            )
            connected = partial(self._feed.connected, self._lease, source, facts)
            if not (source.numbered and self._log.timeline.is_fresh):
                await connected()
                await self._recorder.record(reads)
                return
            async with running({f"catch up {self.log_id}": _catch_up(self._recorder, connected)}):
                await self._recorder.record(reads)


async def _catch_up(recorder: Recorder, connected: Callable[[], Awaitable[None]]) -> None:
    """After a failover prompts wait until lost turns are known again: a session has one at a time."""
    await recorder.caught_up()
    with suppress(StaleFence):
        await retry_until_stored(connected)
