"""The shipped configurations of proxies: what is no event stream passes them unharmed too."""

import pytest
from aiohttp import web

from tests.clients.conftest import Proxy
from tests.proxy.peers import serve
from tests.world import Gateway, Project


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


async def test_the_gateways_figures_are_for_nobody_who_comes_through_it(gateway: Gateway, proxy: Proxy) -> None:
    async with proxy([gateway.url]) as front:
        behind = Gateway(gateway.app, front.url, gateway.http)
        assert (await behind.call("GET", "/metrics")).status == 403
        assert (await behind.call("GET", "/healthz")).status == 200
    assert (await gateway.call("GET", "/metrics")).status == 200
