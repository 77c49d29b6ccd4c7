"""Traces: what a request says of its own goes on to containers, and with an endpoint spans reach a collector."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from gateway.config.schema import TracingConfig
from gateway.telemetry.tracing import carried
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.program import run_to_end
from tests.proxy.peers import serve
from tests.world import QUICK, Gateway, GatewayProcess

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
COMES = {"traceparent": PARENT, "tracestate": "rojo=00f067aa0ba902b7"}


@attrs.define
class Collector:
    """What arrived by OTLP."""

    url: str = ""
    spans: list[Any] = attrs.field(factory=list)
    raw: bytearray = attrs.field(factory=bytearray)
    authorization: set[str | None] = attrs.field(factory=set)

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()

    async def take(request: web.Request) -> web.Response:
        raw = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            raw = gzip.decompress(raw)
        collector.raw += raw
        collector.authorization.add(request.headers.get("Authorization"))
        message = ExportTraceServiceRequest.FromString(raw)
        for resource in message.resource_spans:
            for scope in resource.scope_spans:
                collector.spans += scope.spans
        return web.Response(content_type="application/x-protobuf")

    async with serve(take) as address:
        collector.url = f"{address}/v1/traces"
        yield collector


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


@pytest.mark.parametrize(
    ("parent", "passes"),
    [
        (PARENT, True),
        (PARENT.replace("00-", "cc-", 1), True),
        (PARENT.replace("00-", "cc-", 1) + "-more", True),
        (PARENT + "-more", False),
        (PARENT.replace("00-", "ff-", 1), False),
        (PARENT.upper(), False),
        ("00-" + "0" * 32 + "-b7ad6b7169203331-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        ("", False),
        ("secret", False),
    ],
)
def test_only_what_is_a_trace_context_is_carried_on(parent: str, passes: bool) -> None:
    found = carried({"traceparent": parent, "tracestate": "a=b"})
    assert found == ({"traceparent": parent, "tracestate": "a=b"} if passes else {})


async def test_without_traces_a_requests_own_goes_on_with_all_that_it_causes(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url, defaultAgentId="demo")
    created = await project.call("POST", "/session", {}, headers=COMES)
    session = created.json["id"]
    await project.call(
        "POST", f"/session/{session}/prompt", {"prompt": "say a"}, headers={**COMES, "Prefer": "wait=30"}
    )
    await project.call("GET", "/passed/through", headers=COMES)
    await project.call("GET", "/unasked")
    of = {
        (one.method, one.path.rpartition("/")[2]): (one.headers.get("traceparent"), one.headers.get("tracestate"))
        for one in base_container.requests
    }
    same = (PARENT, COMES["tracestate"])
    assert of["POST", "session"] == of["POST", "prompt"] == of["GET", "through"] == same
    assert of["GET", "unasked"] == of["GET", "events"] == (None, None)


async def test_with_traces_spans_of_the_request_and_of_its_calls_reach_the_collector(
    database_url: str, base_container: FakeContainer
) -> None:
    async with collecting() as collector:
        config = attrs.evolve(QUICK, tracing=TracingConfig(endpoint=collector.url, authorization="Bearer secret-one"))
        async with GatewayProcess(database_url, config).run() as gateway:
            project = await gateway.register(base_container.url, defaultAgentId="demo")
            session = await project.create_session(title="my title")
            await project.call(
                "POST",
                f"/session/{session}/prompt",
                {"prompt": "say my words"},
                headers={**COMES, "Prefer": "wait=30"},
            )
            await gateway.call("GET", "/api/projects/nobody")
            await project.call("GET", "/unknown?secret=query")
        # Stopping hands the last ones in.
        await eventually(lambda: collector.spans)
    (prompt,) = [span for span in collector.spans if span.name.endswith("/session/{session_id}/prompt")]
    assert prompt.name == "POST /api/projects/{project_id}/acp/session/{session_id}/prompt"
    assert (prompt.trace_id.hex(), prompt.parent_span_id.hex()) == (TRACE, "b7ad6b7169203331")
    known = attributes(prompt)
    assert (known["acp_gateway.project"], known["acp_gateway.session"]) == ("demo", session)
    assert known["http.response.status_code"] == 200
    calls = [span for span in collector.spans if span.parent_span_id == prompt.span_id]
    assert calls
    sent = next(one for one in base_container.requests if one.path.endswith("/prompt"))
    assert sent.headers["traceparent"].split("-")[1] == TRACE
    assert sent.headers["traceparent"].split("-")[2] in {span.span_id.hex() for span in calls}
    assert collector.authorization == {"Bearer secret-one"}
    for text in (b"my words", b"my title", b"secret", b"query"):
        assert text not in collector.raw


@pytest.mark.parametrize(
    ("ratio", "parent"), [(0.0, None), (1.0, PARENT.removesuffix("01") + "00")], ids=["by ratio", "by its caller"]
)
async def test_a_request_that_is_not_traced_is_answered_like_any_other(
    ratio: float, parent: str | None, database_url: str, base_container: FakeContainer
) -> None:
    comes = {"traceparent": parent} if parent else {}
    async with collecting() as collector:
        config = attrs.evolve(QUICK, tracing=TracingConfig(endpoint=collector.url, ratio=ratio))
        async with GatewayProcess(database_url, config).run() as gateway:
            project = await gateway.register(base_container.url, defaultAgentId="demo")
            answer = await project.call("GET", "/session", headers=comes)
            assert (answer.status, answer.json["sessions"]) == (200, [])
            await project.call("GET", "/passed/through", headers=comes)
        sent = next(one for one in base_container.requests if one.path.endswith("/through"))
        trace, flags = (sent.headers["traceparent"].split("-")[place] for place in (1, 3))
        assert int(flags, 16) & 1 == 0  # not sampled, Trace Context 3.2.2.5
    assert trace not in {span.trace_id.hex() for span in collector.spans}


async def test_a_trace_goes_on_however_its_header_is_spelled(database_url: str, base_container: FakeContainer) -> None:
    async with collecting() as collector:
        config = attrs.evolve(QUICK, tracing=TracingConfig(endpoint=collector.url))
        async with GatewayProcess(database_url, config).run() as gateway:
            project = await gateway.register(base_container.url)
            await project.call("GET", "/passed/through", headers={"Traceparent": PARENT})
    sent = next(one for one in base_container.requests if one.path.endswith("/through"))
    assert sent.headers["traceparent"].split("-")[1] == TRACE


async def test_a_collector_that_is_away_holds_nobody_up(database_url: str, agent_host: str) -> None:
    config = attrs.evolve(QUICK, tracing=TracingConfig(endpoint="http://127.0.0.1:1/v1/traces"))
    loop = asyncio.get_running_loop()
    async with GatewayProcess(database_url, config).run() as gateway:
        began = loop.time()
        for _ in range(20):
            assert (await gateway.call("GET", "/api/projects")).status == 200
        assert loop.time() - began < 10
        stopping = loop.time()
    assert loop.time() - stopping < 10


def test_without_its_packages_the_start_says_what_to_install(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("raise ImportError('none', name='opentelemetry')")
    ended = run_to_end(
        "serve",
        directory=tmp_path,
        environ={
            "ACP_GATEWAY_TRACING_ENDPOINT": "http://127.0.0.1:4318/v1/traces",
            "ACP_GATEWAY_DATABASE_URL": database_url,
            "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}",
        },
    )
    assert "pip install 'acp-session-gateway[tracing]'" in ended.sentence()


def test_the_config_shows_no_authorization() -> None:
    assert "secret" not in repr(TracingConfig(authorization="secret"))
