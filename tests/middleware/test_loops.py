"""A request that comes around to the gateway is refused at once, whichever process or replica it meets."""

import asyncio
import json
import os
from collections.abc import Iterator

import aiohttp
import pytest

from gateway.web.keys import PSEUDONYM
from tests.conftest import administer, with_database
from tests.fakes.container import FakeContainer
from tests.middleware.conftest import Ports, ask_raw
from tests.proxy.peers import raw_upstream
from tests.world import QUICK, Gateway, GatewayProcess


async def test_a_project_whose_container_is_the_gateway_itself_is_told_after_one_round(gateway: Gateway) -> None:
    path = "/api/projects/loop/opencode"
    for number, address in enumerate((gateway.url, f"{gateway.url}{path}", f"{gateway.url}/api/projects/loop/acp")):
        await gateway.call("DELETE", "/api/projects/loop")
        await gateway.register(address, id="loop", containerUrl=address)
        for start in ("GET", "POST", "HEAD"):
            answer = await ask_raw(gateway, f"{start} {path}{path}{path}/x{number}")
            assert answer.status == 508
            assert start == "HEAD" or json.loads(answer.body)["code"] == "loop_detected"
        for inner in ("/api/projects/loop/acp/events", "/event", "/healthz"):
            assert (await ask_raw(gateway, f"GET {path}{inner}")).status == 508


async def test_a_websocket_that_goes_round_is_refused(gateway: Gateway) -> None:
    await gateway.register(gateway.url, id="loop", containerUrl=f"{gateway.url}/api/projects/loop/opencode")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await gateway.http.ws_connect(f"{gateway.url}/api/projects/loop/opencode/pty")
    assert refused.value.status == 508


async def test_our_own_calls_to_a_container_that_is_the_gateway_go_round_once(gateway: Gateway) -> None:
    address = f"{gateway.url}/api/projects/loop/acp"
    project = await gateway.register(address, id="loop", containerUrl=gateway.url)
    answer = await project.call("POST", "/session", {"agentId": "demo"})
    assert (answer.status, answer.json["code"]) == (502, "upstream_failed")
    assert answer.json["upstreamStatus"] == 508
    async with project.events() as stream:  # which has the container followed
        await stream.block()
        await asyncio.sleep(0.2)
        assert (await project.call("GET", "/agents")).status in (200, 502)


async def test_another_replica_of_the_same_database_knows_it_too(database_url: str) -> None:
    replicas = GatewayProcess(database_url, QUICK)
    async with replicas.run() as one, replicas.run() as other:
        assert one.app[PSEUDONYM] == other.app[PSEUDONYM]
        await one.register(other.url, id="loop", containerUrl=f"{other.url}/api/projects/loop/opencode")
        answer = await one.call("GET", "/api/projects/loop/opencode/x")
    assert (answer.status, answer.json["code"]) == (508, "loop_detected")


@pytest.fixture
def another_database_url(server_url: str, template_database: str) -> Iterator[str]:
    name = f"acp_gateway_loops_{os.getpid()}"
    administer(server_url, "create database {} template {}", name, template_database)
    yield with_database(server_url, name)
    administer(server_url, "drop database {} with (force)", name)


async def test_a_gateway_of_another_database_is_a_container_as_any(
    database_url: str, another_database_url: str, base_container: FakeContainer
) -> None:
    first, second = GatewayProcess(database_url, QUICK), GatewayProcess(another_database_url, QUICK)
    async with first.run() as one, second.run() as other, raw_upstream(b"HTTP/1.1 204 No\r\n\r\n") as upstream:
        assert one.app[PSEUDONYM] != other.app[PSEUDONYM]
        await other.register(base_container.url, id="inner", containerUrl=str(upstream.address))
        await one.register(base_container.url, id="outer", containerUrl=f"{other.url}/api/projects/inner/opencode")
        assert (await one.call("GET", "/api/projects/outer/opencode/x", headers={"Via": "1.0 fred"})).status == 204
        await other.call("PATCH", "/api/projects/inner", {"containerUrl": f"{one.url}/api/projects/outer/opencode"})
        assert (await one.call("GET", "/api/projects/outer/opencode/x")).status == 508
    [request] = upstream.requests
    assert request.all("Via") == [f"1.0 fred, 1.1 {one.app[PSEUDONYM]}, 1.1 {other.app[PSEUDONYM]}"]


async def test_so_many_proxies_stand_in_front_of_nobody(ports: Ports) -> None:
    for hops, status in ((30, 200), (31, 508)):
        fields = [f"Via: 1.1 proxy-{number}" for number in range(hops)]
        assert (await ports.ask("GET /api/projects/demo/opencode/x", *fields)).status == status


async def test_each_call_of_ours_says_who_sends_it(gateway: Gateway, base_container: FakeContainer) -> None:
    project = await gateway.register(base_container.url)
    await project.create_session()
    assert {request.headers.get("via") for request in base_container.requests} == {f"1.1 {gateway.app[PSEUDONYM]}"}
