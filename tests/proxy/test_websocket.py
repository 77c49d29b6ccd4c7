"""WebSockets through the gateway, between an aiohttp client, or bytes, and an aiohttp server, or bytes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from gateway.proxy.upstream import Timeouts, Upstream
from tests.proxy.peers import Peer, ask, connect, gateway, get, raw_upstream, serve

Talk = Callable[[web.WebSocketResponse], Awaitable[None]]
HANDSHAKE = get(
    "/ws?a=%2F",
    "Connection: keep-alive, Upgrade",
    "Upgrade: WebSocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


@asynccontextmanager
async def through_gateway(talk: Talk, **accept: object) -> AsyncIterator[str]:
    """A gateway's URL with ``talk`` behind it."""

    async def handler(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False, max_msg_size=0, **accept)  # type: ignore[arg-type]
        await socket.prepare(request)
        await talk(socket)
        return socket

    async with serve(handler) as upstream, gateway(upstream) as front:
        yield str(front)


@asynccontextmanager
async def websocket(url: str, **options: object) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url, autoping=False, max_msg_size=0, **options) as socket:  # type: ignore[arg-type]
            yield socket


async def echo(socket: web.WebSocketResponse) -> None:
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        elif message.type is WSMsgType.PING:
            await socket.pong(message.data)


async def test_text_and_binary_pass_both_ways() -> None:
    async with through_gateway(echo) as url, websocket(url) as socket:
        await socket.send_str("grüße")
        assert await socket.receive_str() == "grüße"
        await socket.send_bytes(b"\x00\xff")
        assert await socket.receive_bytes() == b"\x00\xff"


async def test_ping_is_answered_by_the_upstream_itself() -> None:
    async with through_gateway(echo) as url, websocket(url) as socket:
        await socket.ping(b"are you there")
        message = await socket.receive()
        assert (message.type, message.data) == (WSMsgType.PONG, b"are you there")


async def test_ping_of_the_upstream_reaches_the_client() -> None:
    pong = asyncio.get_running_loop().create_future()

    async def ping(socket: web.WebSocketResponse) -> None:
        await socket.ping(b"are you there")
        pong.set_result(await socket.receive())

    async with through_gateway(ping) as url, websocket(url) as socket:
        assert (await socket.receive()).type is WSMsgType.PING
        await socket.pong(b"yes")
        message = await pong
        assert (message.type, message.data) == (WSMsgType.PONG, b"yes")


async def test_subprotocol_is_agreed_end_to_end() -> None:
    async with through_gateway(echo, protocols=("acp.v2", "acp.v1")) as url:
        async with websocket(url, protocols=("other", "acp.v1")) as socket:
            assert socket.protocol == "acp.v1"


async def test_compression_is_agreed_end_to_end() -> None:
    async with through_gateway(echo) as url, websocket(url, compress=15) as socket:
        assert socket.compress == 15
        await socket.send_str("x" * 100_000)
        assert await socket.receive_str() == "x" * 100_000


async def test_client_closes_with_code_and_reason() -> None:
    ended = asyncio.get_running_loop().create_future()

    async def wait(socket: web.WebSocketResponse) -> None:
        ended.set_result(await socket.receive())

    async with through_gateway(wait) as url, websocket(url) as socket:
        await socket.close(code=4321, message=b"bye bye")
        message = await asyncio.wait_for(ended, 5)
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 4321, "bye bye")


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4999])
async def test_upstream_closes_with_code_and_reason(code: int) -> None:
    async def close(socket: web.WebSocketResponse) -> None:
        await socket.close(code=code, message=b"enough")

    async with through_gateway(close) as url, websocket(url) as socket:
        message = await asyncio.wait_for(socket.receive(), 5)
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, code, "enough")


async def test_what_a_client_sent_before_it_closed_is_delivered() -> None:
    # With some of these sizes the end of the connection finds a part still waiting in the gateway.
    sizes = list(range(1 << 16, 6 << 20, 1 << 16))
    reading, done = asyncio.Event(), asyncio.Event()
    got: list[int] = []

    async def read_late(peer: Peer) -> None:
        await peer.head()
        peer.writer.transport.pause_reading()
        await peer.send(SWITCHED)
        await reading.wait()
        peer.writer.transport.resume_reading()
        got.append(len(await peer.reader.read()))
        if len(got) == len(sizes):
            done.set()

    async def send_and_close(front: Upstream, size: int) -> None:
        async with connect(front) as peer:
            await peer.send(HANDSHAKE)
            await peer.head()
            peer.writer.write(bytes(size))
            peer.writer.close()
            await peer.writer.wait_closed()

    async with raw_upstream(read_late) as upstream, gateway(upstream.address) as front:
        async with asyncio.TaskGroup() as clients:
            for size in sizes:
                clients.create_task(send_and_close(front, size))
            await asyncio.sleep(0.5)
            reading.set()
        await asyncio.wait_for(done.wait(), 10)
    assert sorted(got) == sizes


class Collector:
    """Switches, then takes what comes until the end."""

    def __init__(self) -> None:
        self.all: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def __call__(self, peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCHED)
        self.all.set_result(await peer.reader.read())


async def test_client_that_vanishes_ends_the_upstreams_connection() -> None:
    gone = asyncio.Event()

    async def wait(socket: web.WebSocketResponse) -> None:
        try:
            await socket.receive()
        finally:
            gone.set()

    async with through_gateway(wait) as url, connect(Upstream.parse(url)) as peer:
        await peer.send(HANDSHAKE)
        await peer.head()
        peer.abort()
        await asyncio.wait_for(gone.wait(), 5)


async def test_upstream_that_vanishes_ends_the_clients_connection_without_a_close_frame() -> None:
    async def vanish(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCHED)
        peer.abort()

    async with raw_upstream(vanish) as upstream, gateway(upstream.address) as front:
        async with connect(front) as peer:
            await peer.send(HANDSHAKE)
            await peer.head()
            assert await asyncio.wait_for(peer.reader.read(), 5) == b""


async def test_no_task_is_left_behind() -> None:
    before = asyncio.all_tasks()
    async with through_gateway(echo) as url:
        for _ in range(3):
            async with websocket(url) as socket:
                await socket.send_str("x")
                await socket.receive_str()
    assert asyncio.all_tasks() == before


async def test_bytes_sent_before_the_handshake_is_answered_are_not_lost() -> None:
    async with raw_upstream(collect := Collector()) as upstream, gateway(upstream.address) as front:
        async with connect(front) as peer:
            await peer.send(HANDSHAKE + b"early")
            await peer.head()
            await peer.send(b" and late")
            peer.writer.close()
        assert await asyncio.wait_for(collect.all, 5) == b"early and late"


async def test_bytes_that_follow_the_handshakes_answer_are_not_lost() -> None:
    async def talk_at_once(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCHED + b"hello")

    async with raw_upstream(talk_at_once) as upstream, gateway(upstream.address) as front:
        async with connect(front) as peer:
            await peer.send(HANDSHAKE)
            await peer.head()
            assert await asyncio.wait_for(peer.reader.read(), 5) == b"hello"


async def test_handshake_reaches_the_upstream_as_it_was() -> None:
    async def play(peer: Peer) -> None:
        nonlocal request
        request = await peer.message()
        await peer.send(SWITCHED)

    request = None
    async with raw_upstream(play) as upstream, gateway(upstream.address) as front:
        answer = await ask(front, HANDSHAKE)
    assert (answer.status, answer.one("Upgrade"), answer.one("Connection")) == (101, "websocket", "Upgrade")
    assert {name for name, _ in answer.headers} == {"Upgrade", "Connection", "Date"}
    assert request is not None
    assert request.target == "/ws?a=%2F"
    assert (request.one("Connection"), request.one("Upgrade")) == ("Upgrade", "websocket")
    assert request.one("Sec-WebSocket-Key") == "dGhlIHNhbXBsZSBub25jZQ=="


async def test_refused_handshake_is_the_upstreams_own_answer() -> None:
    refusal = b"HTTP/1.1 403 No\r\nX-Why: because\r\nContent-Length: 4\r\n\r\nnope"
    async with raw_upstream(refusal) as upstream, gateway(upstream.address) as front:
        async with connect(front) as peer:
            await peer.send(HANDSHAKE)
            answer = await peer.message()
            assert (answer.start, answer.one("X-Why"), answer.body) == ("HTTP/1.1 403 No", "because", b"nope")
            await peer.send(get())  # and the connection is still one
            assert (await peer.message()).status == 403


async def test_silent_handshake_is_504() -> None:
    async def silent(peer: Peer) -> None:
        await peer.closed()

    short = Timeouts(connect=0.3, headers=0.3, idle=0.3)
    async with raw_upstream(silent) as upstream, gateway(upstream.address, timeouts=short) as front:
        assert (await ask(front, HANDSHAKE)).status == 504


async def test_open_socket_may_be_silent_for_longer_than_idle() -> None:
    short = Timeouts(connect=0.2, headers=0.2, idle=0.2)

    async def handler(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await echo(socket)
        return socket

    async with serve(handler) as upstream, gateway(upstream, timeouts=short) as front, websocket(str(front)) as socket:
        await asyncio.sleep(1)
        await socket.send_str("still here")
        assert await socket.receive_str() == "still here"


async def test_side_that_does_not_read_holds_the_other_back() -> None:
    sent = 0

    async def pour(peer: Peer) -> None:
        nonlocal sent
        await peer.head()
        await peer.send(SWITCHED)
        while True:
            await peer.send(bytes(1 << 16))
            sent += 1 << 16

    async with raw_upstream(pour) as upstream, gateway(upstream.address) as front, connect(front) as peer:
        await peer.send(HANDSHAKE)
        await peer.head()
        peer.writer.transport.pause_reading()
        before = -1
        while before != sent:  # until it stands still
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 100 << 20
        peer.writer.transport.resume_reading()
        while sent == before:
            await peer.reader.read(1 << 20)
