"""The figures: each tells what happened, none of them tells of whom."""

import asyncio
import re
from contextlib import closing, suppress

import aiohttp
import attrs
import psycopg2
import pytest
from aiohttp import web

from gateway.config.schema import MetricsConfig
from gateway.telemetry.metrics import MAX_WORDS, OTHER, Metrics
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import until
from tests.fakes.numbered import NumberedContainer
from tests.log.recording import until_recorded
from tests.middleware.conftest import ask_raw
from tests.proxy.peers import serve
from tests.telemetry.scraping import scrape
from tests.world import QUICK, Gateway, GatewayProcess

ACP = "/api/projects/{project_id}/acp"


async def test_requests_are_counted_by_template_method_and_status(gateway: Gateway) -> None:
    await gateway.register("http://127.0.0.1:1")
    for path in (
        "/api/projects/demo",
        "/api/projects/other",
        "/nowhere/secret-path?token=secret-query",
        "/api/projects/demo/acp/info?token=secret-query",
    ):
        await gateway.call("GET", path)
    await gateway.call("PROPFIND", "/api/projects/demo")
    found = await scrape(gateway)
    count = "acp_gateway_requests_total"
    one = "/api/projects/{project_id}"
    assert found.of(count, method="GET", route=one, status="200") == 1
    assert found.of(count, method="GET", route=one, status="404") == 1
    assert found.of(count, route="unmatched", status="404") == 1
    assert found.of(count, route=f"{ACP}/{{tail}}", status="503") == 1
    assert found.of(count, method="other", status="405") == 1
    assert found.of("acp_gateway_request_seconds_count", method="GET", route=one) == 2
    assert "secret" not in found.text


async def test_no_label_has_an_id_or_anything_else_of_a_user(
    gateway: Gateway, base_container: FakeContainer, agent_host: str
) -> None:
    """Everything is used once, and every label's value is a word that the code knows."""
    project = await gateway.register(agent_host, id="my-project")
    session = await project.create_session(title="my title")
    async with project.events(session) as stream:
        turn = (await project.prompt(session, "think\nsay my words\nstream 5"))["turnId"]
        await stream.until("turn_ended")
    await gateway.call("GET", f"/api/projects/my-project/acp/session/{session}/turns/{turn}?secret=1")
    await ask_raw(gateway, "GET /some/file?x", "Host: my-project.localhost")
    await gateway.register("http://127.0.0.1:1", id="away")
    await gateway.call("GET", "/api/projects/away/acp/agents")
    found = await scrape(gateway)
    words = re.compile(r"[a-z_-]+|other|\+Inf|[0-9.]+|[A-Z]+|/[a-z/{}_]*")
    assert [value for value in found.labels() if not words.fullmatch(value)] == []
    for text in (session, turn, "my-project", "my title", "my words", "some/file", "secret", 'local"', "demo", "127."):
        assert text not in found.text, text


async def test_what_a_container_answers_is_counted_as_what_its_client_saw(gateway: Gateway) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        kind = request.match_info["tail"]
        if kind == "odd":
            return web.Response(status=799)
        headers = {"Content-Type": "text/event-stream"} if kind == "events" else {"Content-Length": "1000"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        if kind == "short":
            assert request.transport is not None
            request.transport.abort()
        return response

    async with serve(answer) as container:
        project = await gateway.register(str(container), containerUrl=str(container))
        for kind in ("odd", "events", "short"):
            with suppress(aiohttp.ClientPayloadError):
                await gateway.call("GET", f"{project.path}/opencode/{kind}")
    figures = await scrape(gateway)
    route = "/api/projects/{project_id}/opencode/{tail}"
    counted = {
        status: figures.of("acp_gateway_requests_total", route=route, status=status)
        for status in ("200", "799", "other", "broken")
    }
    assert counted == {"200": 1, "799": 0, "other": 1, "broken": 1}
    assert figures.of("acp_gateway_request_seconds_count", route=route) == 2


async def test_what_is_rare_is_told_before_it_happens(gateway: Gateway) -> None:
    figures = await scrape(gateway)
    for name, labels in (
        ("turns_ended", {"outcome": "failed", "failure": "agent_failed"}),
        ("credential_refreshes", {"outcome": "refused"}),
        ("limit_refusals", {"limit": "failed_credentials"}),
    ):
        assert figures.has(f"acp_gateway_{name}_total", **labels)


async def test_turns_gaps_and_events_are_counted_once_on_whichever_gateway(
    database_url: str, base_container: FakeContainer
) -> None:
    gateways = GatewayProcess(database_url, QUICK)
    async with gateways.run() as first, gateways.run() as second:
        project = await first.register(base_container.url, defaultAgentId="demo")
        session = await project.create_session()
        await project.prompt(session, "stream 3")
        await project.prompt(session, "fail it broke")
        events = await project.all_events(session)
        both = [await scrape(first), await scrape(second)]
    ended = "acp_gateway_turns_ended_total"
    assert sum(one.of(ended, outcome="completed", failure="none") for one in both) == 1
    assert sum(one.of(ended, outcome="failed") for one in both) == 1
    # One stands for the project's first events, before the session's.
    assert sum(one.of("acp_gateway_events_recorded_total") for one in both) >= len(events)
    assert sum(one.of("acp_gateway_followers", state="connected") for one in both) == 1


async def test_gaps_and_lag_are_told(gateway: Gateway) -> None:
    async with NumberedContainer() as container:
        project = await gateway.register(container.url)
        await project.create_session()
        async with project.events() as stream:
            container.emit(5)
            for _ in range(5):
                await stream.until("session_update")
            await until_recorded(gateway, 5)
            found = await scrape(gateway)
            assert found.of("acp_gateway_streams") == 1
    lag = "acp_gateway_event_lag_seconds"
    for stage in ("container_to_commit", "commit_to_client"):
        assert found.of(f"{lag}_count", stage=stage) >= 1
    assert found.of(f"{lag}_sum", stage="commit_to_client") < 5


async def test_a_broken_stream_is_a_gap_by_its_reason(gateway: Gateway, base_container: FakeContainer) -> None:
    project = await gateway.register(base_container.url, defaultAgentId="demo")
    session = await project.create_session()
    await project.prompt(session, "stream 3")
    base_container.drop_streams()

    async def told() -> bool:
        return (await scrape(gateway)).of("acp_gateway_gaps_total", reason="stream_interrupted") == 1

    await until(told)


async def test_upstream_times_are_told_by_phase_and_its_failures_by_code(gateway: Gateway) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.2)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a")
        await asyncio.sleep(0.3)
        await response.write_eof(b"b")
        return response

    async with serve(slow) as upstream:
        await gateway.register(str(upstream), containerUrl=str(upstream))
        before = await scrape(gateway)
        assert (await gateway.call("GET", "/api/projects/demo/opencode/file")).body == b"ab"
        after = await scrape(gateway)
    name = "acp_gateway_upstream_seconds"
    took = {
        phase: after.of(f"{name}_sum", phase=phase) - before.of(f"{name}_sum", phase=phase)
        for phase in ("connect", "headers", "body")
    }
    # The gateway may see the body's beginning late, and the time until its end is shorter then.
    assert took["connect"] < 0.2 <= took["headers"]
    assert took["body"] > 0
    assert took["headers"] + took["body"] >= 0.49
    assert (await gateway.call("GET", "/api/projects/demo/opencode/file")).status == 503
    failed = await scrape(gateway)
    assert failed.of("acp_gateway_upstream_errors_total", code="upstream_refused") >= 1


async def test_permissions_that_wait_and_the_pool_are_told(gateway: Gateway, agent_host: str) -> None:
    project = await gateway.register(agent_host, defaultAgentId="demo")
    session = await project.create_session()
    await project.prompt(session, "write a.txt hello", wait=None)

    async def waits() -> bool:
        return (await scrape(gateway)).of("acp_gateway_permissions_waiting") == 1

    await until(waits)
    found = await scrape(gateway)
    pool = "acp_gateway_database_connections"
    assert found.of(pool, state="lent") + found.of(pool, state="free") == 4
    waiting = (await project.call("GET", "/permission")).json["permissions"][0]["id"]
    await project.call("POST", f"/permission/{waiting}", {"granted": False})

    async def settled() -> bool:
        return (await scrape(gateway)).of("acp_gateway_permissions_waiting") == 0

    await until(settled)


async def test_what_the_database_does_not_tell_in_time_is_left_out_and_the_rest_is_told(
    database_url: str,
) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
            cursor.execute("lock table permissions in access exclusive mode")
            found = await scrape(gateway)
    assert "acp_gateway_permissions_waiting" not in {sample.name for sample in found.samples}
    assert found.of("acp_gateway_build") == 1


def test_what_containers_call_things_fills_no_more_than_so_many_labels() -> None:
    metrics = Metrics("test")
    for number in range(10_000):
        metrics.turn_ended("failed", f"my_failure_{number}")
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    ended = [sample for sample in samples if sample.name == "acp_gateway_turns_ended_total"]
    assert len({sample.labels["failure"] for sample in ended}) == MAX_WORDS + 1
    others = sum(sample.value for sample in ended if sample.labels["failure"] == OTHER)
    assert 10_000 - MAX_WORDS <= others < 10_000


TOKEN = "t" * 40


@pytest.mark.parametrize(
    ("allow", "headers", "status"),
    [
        (("127.0.0.0/8",), {}, 200),
        (("10.0.0.0/8",), {}, 403),
        ((), {"Authorization": f"Bearer {TOKEN}"}, 200),
        ((), {"Authorization": f"bearer {TOKEN}"}, 200),
        ((), {"Authorization": "Bearer wrong"}, 403),
        ((), {"Authorization": f"Basic {TOKEN}"}, 403),
        # A page of a browser near whose name was made to lead here; one that is named, and addresses, are no page's.
        (("127.0.0.0/8",), {"Host": "evil.example"}, 403),
        (("127.0.0.0/8",), {"Host": "localhost@evil.example"}, 400),
        (("127.0.0.0/8",), {"Host": "gateway.example:8080"}, 200),
        (("127.0.0.0/8",), {"Host": "10.0.0.7:8080"}, 200),
        (("127.0.0.0/8",), {"Host": "[fd00::7]:8080"}, 200),
        ((), {"Host": "evil.example", "Authorization": f"Bearer {TOKEN}"}, 200),
        # A proxy on this machine passes on what anybody asks.
        (("127.0.0.0/8",), {"X-Forwarded-For": "127.0.0.1"}, 403),
        (("127.0.0.0/8",), {"Forwarded": "for=127.0.0.1"}, 403),
        (("127.0.0.0/8",), {"Via": "1.1 proxy"}, 403),
        (("127.0.0.0/8",), {"X-Forwarded-For": "1.2.3.4", "Authorization": f"Bearer {TOKEN}"}, 200),
    ],
)
async def test_who_may_read_them(
    database_url: str, allow: tuple[str, ...], headers: dict[str, str], status: int
) -> None:
    identity = attrs.evolve(QUICK.identity, allowed_hosts=("gateway.example",))
    config = attrs.evolve(QUICK, identity=identity, metrics=MetricsConfig(allow=allow, token=TOKEN))
    async with GatewayProcess(database_url, config).run() as gateway:
        answer = await gateway.call("GET", "/metrics", headers=headers)
        assert answer.status == status
        assert TOKEN not in answer.body.decode()


async def test_a_proxy_that_is_believed_says_where_a_scrape_comes_from(database_url: str) -> None:
    identity = attrs.evolve(QUICK.identity, proxy_addresses=("127.0.0.1",))
    config = attrs.evolve(QUICK, identity=identity, metrics=MetricsConfig(allow=("10.0.0.0/8",)))
    async with GatewayProcess(database_url, config).run() as gateway:
        for client, status in (("10.1.2.3", 200), ("1.2.3.4", 403)):
            answer = await gateway.call("GET", "/metrics", headers={"X-Forwarded-For": client})
            assert answer.status == status


async def test_without_a_token_configured_an_empty_one_opens_nothing(database_url: str) -> None:
    config = attrs.evolve(QUICK, metrics=MetricsConfig(allow=()))
    async with GatewayProcess(database_url, config).run() as gateway:
        for value in ("Bearer ", "Bearer", ""):
            assert (await gateway.call("GET", "/metrics", headers={"Authorization": value})).status == 403


def test_the_config_shows_no_token() -> None:
    assert TOKEN not in repr(MetricsConfig(token=TOKEN))
