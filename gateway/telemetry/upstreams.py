"""Metrics and spans of the gateway's requests to containers: the client's observer."""

from gateway.telemetry.metrics import Metrics
from gateway.telemetry.tracing import Span, Tracing


class Upstreams:
    """Reports to metrics and tracing."""

    def __init__(self, metrics: Metrics, tracing: Tracing) -> None:
        self.phase = metrics.phase
        self.upstream_failed = metrics.upstream_failed
        self._tracing = tracing

    def begin(self, method: str, host: str, port: int) -> Span | None:
        return self._tracing.begin_call(method, host, port)
