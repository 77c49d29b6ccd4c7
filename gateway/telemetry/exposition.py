"""Metrics for Prometheus: of this process, or of all workers on its port.

A scrape reaches one of the workers. It asks the others through sockets in a directory that only this user can enter,
and marks each one's metrics with the label ``worker``: a number that a replacement inherits, so that its new counters
are seen as resets.
"""

import asyncio
import logging
import os
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import attrs
from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

#: A worker that does not answer in this time is left out.
TELL_SECONDS: Final = 2.0


@attrs.frozen(kw_only=True)
class Seat:
    """Which of ``count`` workers this process is, from 0, and the directory of their sockets."""

    number: int
    count: int
    directory: Path

    def socket(self, number: int) -> str:
        return str(self.directory / f"{number}.sock")


class Exposition:
    """Serves ``metrics``; ``refresh`` is awaited first, for what must be looked up. Use within ``open``."""

    def __init__(self, metrics: Metrics, refresh: Callable[[], Awaitable[None]], seat: Seat | None) -> None:
        self._metrics = metrics
        self._refresh = refresh
        self._seat = seat
        #: Held during a scrape: several at once would block other requests for long.
        self._scraping = asyncio.Lock()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Answer the other workers, if there are any, while this is open."""
        if self._seat is None:
            yield
            return
        path = self._seat.socket(self._seat.number)
        with suppress(FileNotFoundError):
            os.unlink(path)
        server = await asyncio.start_unix_server(self._tell, path)
        try:
            yield
        finally:
            server.close()

    async def text(self) -> bytes:
        """The answer to a scrape."""
        async with self._scraping:
            if self._seat is None:
                families: Sequence[Metric] = await self._own()
            else:
                families = await self._of_all(self._seat)
            # Many lines: in a thread, so that others can run.
            return await asyncio.to_thread(generate_latest, _Told(families))

    async def _own(self) -> list[Metric]:
        await self._refresh()
        return list(self._metrics.registry.collect())

    async def _of_all(self, seat: Seat) -> list[Metric]:
        numbers = range(seat.count)
        asked = [self._own() if number == seat.number else _ask(seat.socket(number)) for number in numbers]
        told = dict(zip(map(str, numbers), await asyncio.gather(*asked), strict=True))
        up = GaugeMetricFamily("acp_gateway_worker_up", "Whether a worker has told its figures.", labels=["worker"])
        for worker, families in told.items():
            up.add_metric([worker], float(families is not None))
        return [up, *_merged({worker: families for worker, families in told.items() if families is not None})]

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TELL_SECONDS):
                writer.write(pickle.dumps(await self._own()))
                await writer.drain()
        except (TimeoutError, OSError) as exc:
            logger.warning("figures not told to another worker", extra={"error": str(exc) or "no time"})
        finally:
            writer.close()


class _Told(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


async def _ask(path: str) -> list[Metric] | None:
    with suppress(OSError, TimeoutError, EOFError, pickle.UnpicklingError):
        async with asyncio.timeout(TELL_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                # From another worker of the same version: only this user can enter the directory.
                told: list[Metric] = pickle.loads(await reader.read())
                return told
            finally:
                writer.close()
    return None


def _merged(told: Mapping[str, Iterable[Metric]]) -> list[Metric]:
    """Each family once, with the samples of all workers."""
    merged: dict[str, Metric] = {}
    for worker, families in told.items():
        for one in families:
            family = merged.setdefault(one.name, Metric(one.name, one.documentation, one.type, one.unit))
            family.samples += [sample._replace(labels={**sample.labels, "worker": worker}) for sample in one.samples]
    return list(merged.values())
