"""``Client.open`` as our own calls to containers use it, with no server's request at hand."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.errors import UpstreamTimeout, UpstreamUnreachable
from gateway.proxy.client import Client
from gateway.proxy.upstream import Timeouts
from tests.proxy.peers import LOCAL, OK, PATIENT, Peer, raw_upstream

SHORT = Timeouts(connect=0.3, headers=0.3, idle=0.3)


async def test_call_with_bytes_and_headers() -> None:
    async with raw_upstream(OK) as upstream, Client(LOCAL) as client:
        async with client.open(
            "POST", upstream.address, "/a", headers={"Content-Type": "application/json"}, body=b"{}", timeouts=PATIENT
        ) as response:
            assert (response.status, await response.read()) == (200, b"ok")
        request = upstream.requests[0]
        assert (request.start, request.body) == ("POST /a HTTP/1.1", b"{}")
        assert (request.one("Content-Type"), request.one("Content-Length")) == ("application/json", "2")


async def test_answer_that_breaks_off_while_it_is_read_is_unreachable() -> None:
    async def play(peer: Peer) -> None:
        await peer.message()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")

    async with raw_upstream(play) as upstream, Client(LOCAL) as client:
        with pytest.raises(UpstreamUnreachable):
            async with client.open("GET", upstream.address, "/", timeouts=PATIENT) as response:
                await response.read()


@pytest.mark.parametrize("part", [b"", b"abc", bytes(1 << 20)], ids=["at once", "after a part", "after a large part"])
async def test_answer_that_falls_silent_while_it_is_read_is_a_timeout(part: bytes) -> None:
    async def play(peer: Peer) -> None:
        await peer.message()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + part)
        await peer.closed()

    async with raw_upstream(play) as upstream, Client(LOCAL) as client:
        with pytest.raises(UpstreamTimeout):
            async with client.open("GET", upstream.address, "/", timeouts=SHORT) as response:
                await response.read()


async def test_answer_may_take_for_ever_where_there_is_no_limit() -> None:
    async def play(peer: Peer) -> None:
        await peer.message()
        await asyncio.sleep(1)
        await peer.send(OK)

    endless = Timeouts(connect=0.2, headers=None, idle=None)
    async with raw_upstream(play) as upstream, Client(LOCAL) as client:
        async with client.open("POST", upstream.address, "/", body=b"x", timeouts=endless) as response:
            assert await response.read() == b"ok"


async def test_error_of_the_body_is_the_callers_own() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"abc"
        raise LookupError("no more")

    async def play(peer: Peer) -> None:
        await peer.message()

    async with raw_upstream(play) as upstream, Client(LOCAL) as client:
        with pytest.raises(LookupError, match="no more"):
            async with client.open("POST", upstream.address, "/", body=body(), timeouts=PATIENT):
                pytest.fail("there is no answer")


async def test_leaving_early_closes_the_connection() -> None:
    closed = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.message()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await peer.closed()
        closed.set()

    async with raw_upstream(play) as upstream, Client(LOCAL) as client:
        async with client.open("GET", upstream.address, "/", timeouts=PATIENT) as response:
            assert await response.content.readany() == b"abc"
        await asyncio.wait_for(closed.wait(), 5)
