"""Tracing with OpenTelemetry. Imported only if configured: its packages are an extra.

A span has a route's template and ids, never a path, a query or a body.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.telemetry.context import present
from gateway.telemetry.tracing import carried

logger = logging.getLogger(__name__)

EXPORT_SECONDS: Final = 5.0
#: Spans that cannot be sent in this time at the end are lost.
CLOSE_SECONDS: Final = 5.0
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class _Span:
    """An OpenTelemetry span, as the instrumented rooms use it."""

    def __init__(self, span: trace.Span, method: str) -> None:
        self._span = span
        self._method = method
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
        self.headers: Mapping[str, str] = carrier

    def end(self, status: int | None, *, route: str | None = None, failure: str | None = None) -> None:
        span = self._span
        if route is not None:
            span.update_name(f"{self._method} {route}")
            span.set_attribute("http.route", route)
            span.set_attributes({f"acp_gateway.{name}": value for name, value in present().items()})
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if failure is not None:
            span.set_attribute("error.type", failure)
        if failure is not None or (status is not None and status >= 500):
            span.set_status(Status(StatusCode.ERROR))
        span.end()


class Traces:
    """Sends spans to an OTLP endpoint in the background; while that is unreachable they are dropped."""

    def __init__(self, *, endpoint: str, authorization: str, service: str, version: str, ratio: float) -> None:
        resource = Resource.create({"service.name": service, "service.version": version})
        sampler = ParentBased(TraceIdRatioBased(ratio))
        self._provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
        headers = {"Authorization": authorization} if authorization else None
        exporter = OTLPSpanExporter(endpoint=endpoint, headers=headers, timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("acp-gateway", version)

    def begin_request(self, method: str, headers: Mapping[str, str], *, is_stream: bool) -> _Span | None:
        parent = _PROPAGATOR.extract(carried(headers))
        if is_stream:
            # It lasts as long as its client stays, which is not a duration of ours.
            context.attach(parent)
            return None
        span = self._tracer.start_span(method, parent, SpanKind.SERVER, {"http.request.method": method})
        # It ends with the request's task, as does its context.
        context.attach(trace.set_span_in_context(span, parent))
        return _Span(span, method)

    def begin_call(self, method: str, host: str, port: int) -> _Span | None:
        if not trace.get_current_span().get_span_context().is_valid:
            return None  # the gateway's own housekeeping
        attributes: dict[str, str | int] = {"http.request.method": method, "server.address": host, "server.port": port}
        return _Span(self._tracer.start_span(method, kind=SpanKind.CLIENT, attributes=attributes), method)

    async def close(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.to_thread(self._provider.shutdown)
