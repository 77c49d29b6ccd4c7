"""Access that is withdrawn ends what is open: event streams, containers' streams, WebSockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web

from gateway.identity import access_monitor
from gateway.identity.room import IDENTITY
from tests.fakes.eventually import eventually
from tests.identity.conftest import OPERATOR, VIEWER
from tests.identity.tokens import alter
from tests.proxy.peers import serve
from tests.world import PROXIED, Gateway, GatewayProcess, Project

#: Far less than the minute that withdrawal may take at most.
SOON = 10.0


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_monitor, "SWEEP_SECONDS", 0.5)


@pytest.fixture
async def gateway(often: None, database_url: str) -> AsyncIterator[Gateway]:
    modes = attrs.evolve(PROXIED.identity, modes=("tokens", "proxy"))
    async with GatewayProcess(database_url, attrs.evolve(PROXIED, identity=modes)).run() as running:
        yield running


@pytest.fixture
async def container() -> AsyncIterator[str]:
    """A container that streams on any path and never ends by itself, and echoes on WebSockets."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade"):
            sock = web.WebSocketResponse()
            await sock.prepare(request)
            async for message in sock:
                await sock.send_str(message.data)
            return sock
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await response.write(b"data: x\n\n")
            await asyncio.sleep(0.05)

    async with serve(answer) as upstream:
        yield str(upstream)


@pytest.fixture
async def project(gateway: Gateway, container: str) -> Project:
    project = await gateway.as_user("alice").register(container, containerUrl=container)
    for user_id, role in ((OPERATOR, "operator"), (VIEWER, "viewer")):
        await project.gateway.call("PUT", f"{project.path}/members/{user_id}", {"role": role})
    return project


async def read_to_its_end(response: aiohttp.ClientResponse) -> None:
    """To where it breaks off, which is no end that looks complete."""
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, ConnectionError)):
        await response.read()


@asynccontextmanager
async def everything_open(project: Project) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """An event stream, a container's stream and a WebSocket, open; what it gives waits for the end of all."""
    http, base, headers = project.gateway.http, project.gateway.url, project.gateway.headers
    async with (
        http.get(f"{base}{project.acp}/events", headers=headers) as ours,
        http.get(f"{base}{project.path}/opencode/event", headers=headers) as containers,
        http.ws_connect(f"{base}{project.path}/opencode/pty", headers=headers) as sock,
    ):
        for response in (ours, containers):
            assert response.status == 200
            assert await response.content.readany()
        await sock.send_str("here")
        assert await sock.receive_str() == "here"

        async def ended() -> None:
            async with asyncio.timeout(SOON):
                await asyncio.gather(read_to_its_end(ours), read_to_its_end(containers))
                message: Any = await sock.receive()
                assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)

        yield ended


async def test_a_member_who_is_removed_loses_what_is_open_and_the_others_nothing(project: Project) -> None:
    async with (
        everything_open(project.as_user(OPERATOR)) as ended,
        project.as_user(VIEWER).events() as kept,
    ):
        assert (await project.gateway.call("DELETE", f"{project.path}/members/{OPERATOR}")).status == 204
        await ended()
        await kept.until("member_removed")
        for _ in range(2):
            assert (await kept.block()).event == "heartbeat"


async def test_a_smaller_role_ends_what_is_too_large_for_it_and_leaves_the_rest(project: Project) -> None:
    olga = project.as_user(OPERATOR)
    url = f"{project.gateway.url}{project.path}/opencode/event"
    async with (
        olga.events() as kept,
        project.gateway.http.get(url, headers=olga.gateway.headers) as passed,
    ):
        assert await passed.content.readany()
        await project.gateway.call("PUT", f"{project.path}/members/{OPERATOR}", {"role": "viewer"})
        async with asyncio.timeout(SOON):
            await read_to_its_end(passed)
        await kept.until("member_role_changed")
        for _ in range(3):
            assert (await kept.block()).event == "heartbeat"


async def test_what_another_gateway_withdraws_counts_here_too(project: Project, database_url: str) -> None:
    async with (
        GatewayProcess(database_url, PROXIED).run() as other,
        everything_open(project.as_user(OPERATOR)) as ended,
    ):
        path = f"{project.path}/members/{OPERATOR}"
        assert (await other.as_user("alice").call("DELETE", path)).status == 204
        await ended()


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_a_token_that_ends_takes_with_it_what_it_opened(
    gateway: Gateway, project: Project, commands: Any, database_url: str, how: str
) -> None:
    expires = ["--expires", "1m"] if how == "expired" else []
    made = commands.json("create", "--user", "alice", *expires)
    holder = Project(gateway.sending(Authorization=f"Bearer {made['token']}"), project.id)
    async with everything_open(holder) as ended, project.events() as kept:
        if how == "revoked":
            commands.json("revoke", made["id"])
        else:
            alter(database_url, "update api_tokens set expires_at = now()")
        await ended()
        assert (await kept.block()).event == "heartbeat"


async def test_a_project_that_is_deleted_takes_with_it_what_is_open(project: Project) -> None:
    http, base, headers = project.gateway.http, project.gateway.url, project.gateway.headers
    async with http.get(f"{base}{project.path}/opencode/event", headers=headers) as passed:
        assert await passed.content.readany()
        assert (await project.gateway.call("DELETE", project.path)).status == 204
        async with asyncio.timeout(SOON):
            await read_to_its_end(passed)


async def test_what_is_watched_is_gone_when_it_ends(gateway: Gateway, project: Project) -> None:
    async with project.events():
        pass
    await eventually(lambda: len(gateway.app[IDENTITY].access_monitor) == 0)
