"""The shipped configurations of proxies: what is no event stream passes them unharmed too."""

from contextlib import AsyncExitStack

import aiohttp
import attrs
import pytest
from aiohttp import web

from gateway.config.schema import IdentityConfig
from tests.clients.conftest import Proxy
from tests.proxy.peers import serve
from tests.world import QUICK, Gateway, GatewayProcess, Project


async def test_a_prompt_is_waited_for_and_errors_keep_their_status(
    gateway: Gateway, agent_host: str, proxy: Proxy
) -> None:
    async with proxy([gateway.url]) as front:
        behind = Gateway(gateway.app, front.url, gateway.http)
        project = await behind.register(agent_host, defaultAgentId="demo")
        session = await project.create_session()
        assert (await project.prompt(session, "say hello\nslow 1.5"))["turn"]["state"] == "completed"
        assert [event.event for event in await project.all_events(session)][-1] == "turn_ended"
        for path, status, code in (
            ("/events/no-such-session", 404, "session_not_found"),
            ("/session/no-such-session", 404, "session_not_found"),
            ("/events?from=never", 400, "invalid_parameter"),
        ):
            answer = await project.call("GET", path)
            assert (answer.status, answer.json["code"]) == (status, code)


@pytest.mark.parametrize("port", ["opencode", "acp"])
async def test_a_websocket_and_a_percent_encoded_path_pass(gateway: Gateway, proxy: Proxy, port: str) -> None:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        sock = web.WebSocketResponse(protocols=["chat"])
        await sock.prepare(request)
        await sock.send_str(request.raw_path)
        async for message in sock:
            await sock.send_bytes(message.data)
        return sock

    async with serve(echo) as upstream, proxy([gateway.url]) as front:
        project: Project = await gateway.register(str(upstream), containerUrl=str(upstream))
        url = f"{front.url}/api/projects/{project.id}/{port}/pty/a%2Fb?cursor=%2B1"
        async with gateway.http.ws_connect(url, protocols=["chat"]) as sock:
            assert sock.protocol == "chat"
            assert await sock.receive_str() == "/pty/a%2Fb?cursor=%2B1"
            await sock.send_bytes(b"\x00\xff")
            assert (await sock.receive()).data == b"\x00\xff"


async def test_who_asks_is_what_the_proxy_says_and_not_what_its_client_sent(database_url: str, proxy: Proxy) -> None:
    believed = IdentityConfig(modes=("proxy", "local"), proxy_addresses=("127.0.0.1",))
    forged = {"X-Forwarded-For": "198.51.100.77", "X-Forwarded-Proto": "gopher", "X-Forwarded-User": "mallory"}
    config = attrs.evolve(QUICK, identity=believed)
    async with GatewayProcess(database_url, config).run() as gateway, proxy([gateway.url]) as front:
        project = await Gateway(gateway.app, front.url, gateway.http).register("http://127.0.0.1:1")
        answer = await project.gateway.call("PATCH", project.path, {"name": "new"}, headers=forged)
        assert answer.status == 200, answer.body
        entry = (await project.gateway.call("GET", f"{project.path}/audit?limit=1")).json["entries"][0]
    assert (entry["userId"], entry["address"]) == ("local", "127.0.0.1")


async def test_while_no_gateway_is_there_only_streams_are_told_to_come_back(database_url: str, proxy: Proxy) -> None:
    async with AsyncExitStack() as running, aiohttp.ClientSession() as http:
        gateway = await running.enter_async_context(GatewayProcess(database_url, QUICK).run())
        async with proxy([gateway.url]) as front:
            await running.aclose()
            path = f"{front.url}/api/projects/demo/acp/events"
            for url in (path, f"{path}/session-1"):
                async with http.get(url, headers={"Last-Event-ID": "1-2"}) as answer:
                    assert (answer.status, answer.content_type) == (200, "text/event-stream")
                    assert (await answer.text()).startswith("id: 1-2\n")
            for method, url in (("POST", f"{path}/ticket"), ("GET", f"{front.url}/api/projects")):
                async with http.request(method, url) as answer:
                    assert answer.status in (502, 503, 504)


async def test_the_gateways_figures_are_for_nobody_who_comes_through_it(gateway: Gateway, proxy: Proxy) -> None:
    async with proxy([gateway.url]) as front:
        behind = Gateway(gateway.app, front.url, gateway.http)
        assert (await behind.call("GET", "/metrics")).status == 403
        assert (await behind.call("GET", "/healthz")).status == 200
    assert (await gateway.call("GET", "/metrics")).status == 200
