"""The figures as Prometheus reads them: of this process, or of all workers on its port, whichever is asked.

A scrape reaches any one of the workers. It asks the others through sockets in a directory that only this user can
enter, and tells each one's figures with the label ``worker``: a number that a replaced worker passes on, so that a
counter that begins anew is seen as what it is.
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

#: A worker that does not tell within this time is left out.
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
    """Tells ``metrics``; ``refresh`` is awaited before, for what has to be looked up. Use within ``open``."""

    def __init__(self, metrics: Metrics, refresh: Callable[[], Awaitable[None]], seat: Seat | None) -> None:
        self._metrics = metrics
        self._refresh = refresh
        self._seat = seat
        #: Held by the one scrape that is made now: many at once would leave nobody else a turn between them.
        self._scraping = asyncio.Lock()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Tell the other workers, where there are any, for as long as this is open."""
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
        """What a scrape is answered."""
        async with self._scraping:
            if self._seat is None:
                families: Sequence[Metric] = await self._own()
            else:
                families = await self._of_all(self._seat)
            # Many lines: others have their turn meanwhile.
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
                # Another worker of ours, of the same version: nobody else can enter the directory.
                told: list[Metric] = pickle.loads(await reader.read())
                return told
            finally:
                writer.close()
    return None


def _merged(told: Mapping[str, Iterable[Metric]]) -> list[Metric]:
    """Each family once, with the samples of all."""
    merged: dict[str, Metric] = {}
    for worker, families in told.items():
        for one in families:
            family = merged.setdefault(one.name, Metric(one.name, one.documentation, one.type, one.unit))
            family.samples += [sample._replace(labels={**sample.labels, "worker": worker}) for sample in one.samples]
    return list(merged.values())
