"""The room opened: this process's metrics and tracing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
from aiohttp import web

from gateway import __version__
from gateway.config.schema import TracingConfig
from gateway.telemetry.configured import tracing
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Tracing


@attrs.frozen(kw_only=True)
class Telemetry:
    metrics: Metrics
    tracing: Tracing


TELEMETRY = web.AppKey("telemetry", Telemetry)


@asynccontextmanager
async def open_telemetry(config: TracingConfig) -> AsyncIterator[Telemetry]:
    """On leaving, pending spans are sent. Raises ``ConfigError``."""
    telemetry = Telemetry(metrics=Metrics(__version__), tracing=tracing(config))
    try:
        yield telemetry
    finally:
        await telemetry.tracing.close()
