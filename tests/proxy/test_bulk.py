"""Large traffic in little memory."""

import asyncio

from tests.proxy.gateway_process import gateway_process
from tests.proxy.peers import OK, Peer, connect, get, raw_upstream

GIB = 1 << 30
PIECE = bytes(1 << 20)
LITTLE = 48 << 20  # bytes that the gateway may grow by; what goes through is twenty times that


async def pour(peer: Peer, size: int) -> None:
    for _ in range(size // len(PIECE)):
        await peer.send(PIECE)


async def drain(peer: Peer, size: int) -> int:
    left = size
    while left and (piece := await peer.reader.read(len(PIECE))):
        left -= len(piece)
    return size - left


async def test_a_gibibyte_down_leaves_memory_flat() -> None:
    async def play(peer: Peer) -> None:
        await peer.message()
        await peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n".encode())
        await pour(peer, GIB)

    async with raw_upstream(play) as upstream, gateway_process(upstream.address) as gateway:
        async with connect(gateway.address) as peer:
            await peer.send(get())
            await peer.head()
            assert await drain(peer, GIB) == GIB
        assert gateway.growth < LITTLE


async def test_a_gibibyte_up_leaves_memory_flat() -> None:
    async def play(peer: Peer) -> None:
        await peer.head()
        assert await drain(peer, GIB) == GIB
        await peer.send(OK)

    async with raw_upstream(play) as upstream, gateway_process(upstream.address) as gateway:
        async with connect(gateway.address) as peer:
            await peer.send(get("/", f"Content-Length: {GIB}", method="POST"))
            await pour(peer, GIB)
            assert (await peer.message()).body == b"ok"
        assert gateway.growth < LITTLE


async def test_websocket_traffic_leaves_memory_flat() -> None:
    size = 100 << 20

    async def play(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        sending = asyncio.create_task(pour(peer, size))
        assert await drain(peer, size) == size
        await sending

    async with raw_upstream(play) as upstream, gateway_process(upstream.address) as gateway:
        async with connect(gateway.address) as peer:
            await peer.send(get("/", "Connection: Upgrade", "Upgrade: websocket"))
            await peer.head()
            sending = asyncio.create_task(pour(peer, size))
            assert await drain(peer, size) == size
            await sending
        assert gateway.growth < LITTLE
