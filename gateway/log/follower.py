"""The follower: reads one container's event stream and appends it to the project's log, watched or not.

One per container in the whole cluster, by lease. From a container that numbers its events it goes on at the mark that
is committed, so that each is stored once; from one that does not, every break of the stream is a gap in the log.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import attrs

from gateway.container.client import Container, ContainerInfo
from gateway.db.availability import log_failure
from gateway.errors import GatewayError, ProjectNotFound
from gateway.log.lease import Lease, Leases
from gateway.log.recorder import Recorder, Translate
from gateway.log.source import UNNUMBERED, Source
from gateway.log.spool import Spool, SpoolLimits
from gateway.log.store import Log, NewEvent, StaleFence
from gateway.telemetry.context import about
from gateway.telemetry.metrics import Metrics
from gateway.wire.events import Gap

logger = logging.getLogger(__name__)

MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.1, 5.0
#: A stream that lasted so long, or brought something, is opened again at once.
SOUND_SECONDS = 2.0

#: Called once a container's stream is open, with the fence under which it is followed.
OnConnected = Callable[[str, ContainerInfo, int], Awaitable[None]]
FindContainer = Callable[[str], Awaitable[Container]]


@attrs.frozen(kw_only=True)
class Rules:
    """What a follower needs to know of the rooms above it, and its settings."""

    find_container: FindContainer
    translate: Translate
    on_connected: OnConnected
    max_event_bytes: int
    silence: float
    spool: SpoolLimits
    metrics: Metrics


class Follower:
    """Follows one project's container, for as long as ``run`` runs, under a lease that somebody else keeps."""

    def __init__(self, lease: Lease, log: Log, leases: Leases, rules: Rules) -> None:
        self._lease = lease
        self._project_id = lease.project_id
        self._log = log
        self._leases = leases
        self._rules = rules
        #: Why the last attempt failed, for those who wait for the connection.
        self.failure: GatewayError | None = None
        self._recorder: Recorder | None = None
        self._stopping = False

    @property
    def is_connected(self) -> bool:
        """Whether the container's stream is being read."""
        return self._recorder is not None

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
                log_failure(logger, "container not followed", exc, level=logging.INFO, project=self._project_id)
            if self._recorder is not None:
                # One that ends whenever it is opened would fill the log with gaps.
                if self._recorder.has_stored or loop.time() - began >= SOUND_SECONDS:
                    backoff = MIN_BACKOFF_SECONDS
                self._recorder = None
                with suppress(GatewayError):
                    await self._leases.disconnected(self._lease)
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
        container = await self._rules.find_container(self._project_id)
        info = await container.info()
        source = await Source.of(info, self._lease, self._log)
        async with container.events(
            info,
            source.last_event_id,
            max_event_bytes=self._rules.max_event_bytes,
            silence=self._rules.silence,
        ) as reads:

            async def is_same_boot() -> bool:
                return (await container.info()).boot_id == source.boot

            before = await self._leases.last_source(self._project_id)
            await self._append_break(source, before)
            # Before anybody is told that the container is followed: a prompt that is sent from then on is of this boot.
            await self._rules.on_connected(self._project_id, info, self._lease.fence)
            await self._leases.connected(self._lease, source.boot)
            self.failure = None
            logger.info("following", extra={"project": self._project_id, "source": source.boot})
            self._recorder = Recorder(
                self._project_id,
                self._lease.fence,
                source,
                Spool(self._rules.spool, sheds=not source.numbered),
                log=self._log,
                translate=self._rules.translate,
                is_same_boot=is_same_boot,
                metrics=self._rules.metrics,
            )
            await self._recorder.record(reads)

    async def _append_break(self, source: Source, before: str | None) -> None:
        """Say in the log what may be missing: all since the break, or all that the container's last boot still had."""
        if before is None or (before == source.boot and source.numbered):
            return
        if before == UNNUMBERED or not source.numbered:
            gap, key = Gap(reason="stream_interrupted"), None
        else:
            mark = await self._log.mark(self._project_id, before)
            gap, key = Gap(reason="container_restarted", source=before, from_=mark + 1), f"gap:{before}:{mark}"
        await self._log.append(self._project_id, [NewEvent.of(gap, key=key)], fence=self._lease.fence)
