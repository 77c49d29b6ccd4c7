"""What a client is told when its upstream, or its own side, does not do as it should."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.errors import ProjectNotFound
from gateway.proxy.upstream import Timeouts, Upstream
from tests.proxy.peers import OK, Message, Peer, ask, connect, gateway, get, post, raw_upstream, serve

SHORT = Timeouts(connect=0.3, headers=0.3, idle=0.3)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"


def code(answer: Message) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["code"]


async def silent(peer: Peer) -> None:
    await peer.closed()


@asynccontextmanager
async def deaf_address() -> AsyncIterator[Upstream]:
    """An address whose queue of connections is full: another one is neither accepted nor refused."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        try:
            yield Upstream(scheme="http", host="127.0.0.1", port=listener.getsockname()[1])
        finally:
            for sock in waiting:
                sock.close()


# Before the answer


async def test_refused_connection_is_503() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound, but it does not listen
        upstream = Upstream(scheme="http", host="127.0.0.1", port=bound.getsockname()[1])
        async with gateway(upstream) as front:
            assert code(await ask(front, get())) == (503, "upstream_refused")


async def test_refused_on_every_address_of_a_name_is_503() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        async with gateway(Upstream(scheme="http", host="localhost", port=bound.getsockname()[1])) as front:
            assert code(await ask(front, get())) == (503, "upstream_refused")


async def test_name_that_does_not_resolve_is_502() -> None:
    async with gateway(Upstream.parse("http://no-such-host.invalid")) as front:
        assert code(await ask(front, get())) == (502, "upstream_unreachable")


async def test_connection_that_is_not_accepted_is_504() -> None:
    async with deaf_address() as upstream, gateway(upstream, timeouts=SHORT) as front:
        assert code(await ask(front, get())) == (504, "upstream_timeout")


async def test_untrusted_certificate_is_502(server_tls: ssl.SSLContext) -> None:
    async with raw_upstream(OK, tls=server_tls) as upstream, gateway(upstream.address) as front:
        assert code(await ask(front, get())) == (502, "upstream_unreachable")


async def test_tls_towards_a_plain_upstream_is_502() -> None:
    async def talks_first(peer: Peer) -> None:
        await peer.send(OK)
        await peer.closed()

    async with raw_upstream(talks_first) as upstream:
        async with gateway(Upstream.parse(f"https://{upstream.address.authority}")) as front:
            assert code(await ask(front, get())) == (502, "upstream_unreachable")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="half a head"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", id="a length that is none"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-A: \x01\r\nContent-Length: 0\r\n\r\n", id="a control character"),
        pytest.param(b"HTTP/1.1 200 O\x01\r\nContent-Length: 0\r\n\r\n", id="a control character in the reason"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", id="101"),
    ],
)
@pytest.mark.parametrize("reset", [False, True])
async def test_no_answer_or_one_that_is_not_http_is_502(answer: bytes, reset: bool) -> None:
    async def play(peer: Peer) -> None:
        await peer.message()
        await peer.send(answer)
        if reset:
            peer.abort()

    async with raw_upstream(play) as upstream, gateway(upstream.address) as front:
        assert code(await ask(front, post(b"x"))) == (502, "upstream_unreachable")


@pytest.mark.parametrize("request_", [get(), post(b"body")])
async def test_no_headers_in_time_is_504(request_: bytes) -> None:
    async with raw_upstream(silent) as upstream, gateway(upstream.address, timeouts=SHORT) as front:
        assert code(await ask(front, request_)) == (504, "upstream_timeout")
        await asyncio.wait_for(upstream.connections[0].closed(), 5)


async def test_headers_that_trickle_are_not_in_time() -> None:
    async def trickle(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.send(b"X-A: 1\r\n")
            await asyncio.sleep(0.05)

    async with raw_upstream(trickle) as upstream, gateway(upstream.address, timeouts=SHORT) as front:
        assert code(await ask(front, get())) == (504, "upstream_timeout")


async def test_time_to_headers_begins_at_the_end_of_the_upload() -> None:
    async with raw_upstream(OK) as upstream, gateway(upstream.address, timeouts=SHORT) as front:
        async with connect(front) as peer:
            await peer.send(get("/", "Content-Length: 10", method="POST"))
            for _ in range(10):
                await asyncio.sleep(SHORT.connect / 5)
                await peer.send(b"x")
            assert (await peer.message()).status == 200


async def test_upload_that_stalls_is_408() -> None:
    async with raw_upstream(silent) as upstream, gateway(upstream.address, timeouts=SHORT) as front:
        async with connect(front) as peer:
            await peer.send(get("/", "Content-Length: 10", method="POST") + b"x")
            assert code(await peer.message()) == (408, "request_stalled")


async def test_upstream_that_takes_no_body_is_504() -> None:
    async def deaf(peer: Peer) -> None:
        await asyncio.Event().wait()

    async with raw_upstream(deaf) as upstream, gateway(upstream.address, timeouts=SHORT) as front:
        async with connect(front) as peer:
            sending = asyncio.create_task(peer.send(post(bytes(32 << 20))))
            assert code(await peer.message()) == (504, "upstream_timeout")
            sending.cancel()
            peer.abort()


async def test_body_that_is_not_http_is_no_whole_request_for_the_upstream() -> None:
    started = asyncio.Event()
    seen = asyncio.get_running_loop().create_future()

    async def play(peer: Peer) -> None:
        await peer.head()
        started.set()
        seen.set_result(await peer.reader.read())

    async with raw_upstream(play) as upstream, gateway(upstream.address, timeouts=SHORT) as front:
        async with connect(front) as peer:
            await peer.send(get("/", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n")
            await started.wait()
            await peer.send(b"not a size\r\n")
            # aiohttp does not tell the request's reader that its body is broken: to us it has stopped.
            assert code(await peer.message()) == (408, "request_stalled")
        assert await seen == b"3\r\nabc\r\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_request_that_may_have_had_an_effect_is_sent_once(method: str) -> None:
    seen: list[Message] = []

    async def answer_once_a_connection(peer: Peer) -> None:
        seen.append(await peer.message())
        await peer.send(OK)
        seen.append(await peer.message())  # the second request: taken, then the connection drops

    async with raw_upstream(answer_once_a_connection) as upstream, gateway(upstream.address) as front:
        await ask(front, get("/first"))
        answer = await ask(front, get("/second", method=method))
        assert code(answer) == (502, "upstream_unreachable")
        assert [message.target for message in seen] == ["/first", "/second"]


async def test_safe_request_survives_a_reused_connection_that_drops() -> None:
    seen: list[Message] = []

    async def answer_once_a_connection(peer: Peer) -> None:
        seen.append(await peer.message())
        await peer.send(OK)
        await peer.message()

    async with raw_upstream(answer_once_a_connection) as upstream, gateway(upstream.address) as front:
        assert [(await ask(front, get())).status for _ in range(2)] == [200, 200]


async def test_what_an_upstream_says_unasked_is_nobodys_answer() -> None:
    said = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.message()
        await peer.send(OK)
        if not said.is_set():
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled")
            said.set()
        await peer.closed()

    async with raw_upstream(play) as upstream, gateway(upstream.address) as front:
        await ask(front, get("/first"))
        await said.wait()
        await ask(front, b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n")  # by now the gateway has read it
        assert (await ask(front, post(b"x"))).body == b"ok"
        assert len(upstream.connections) == 2


# In the middle of the answer


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "part",
    [HEAD + b"abc", CHUNKED + b"3\r\nabc\r\n", CHUNKED + b"8\r\nabc"],
    ids=["short of its length", "between chunks", "within a chunk"],
)
async def test_truncated_upstream_is_truncated_for_the_client(part: bytes, reset: bool) -> None:
    dying = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.message()
        await peer.send(part)
        await dying.wait()
        if reset:
            peer.abort()

    async with raw_upstream(play) as upstream, gateway(upstream.address) as front:
        async with connect(front) as peer:
            await peer.send(get())
            assert await peer.reader.readuntil(b"abc")
            dying.set()
            rest = await asyncio.wait_for(_rest(peer), 5)
            assert rest in (b"", b"\r\n")  # of the chunk, never the end of all of them


async def _rest(peer: Peer) -> bytes:
    try:
        return await peer.reader.read()
    except ConnectionError:
        return b""


async def test_upstream_that_falls_silent_breaks_the_answer() -> None:
    async def play(peer: Peer) -> None:
        await peer.message()
        await peer.send(HEAD + b"abc")
        await peer.closed()

    async with raw_upstream(play) as upstream, gateway(upstream.address, timeouts=SHORT) as front:
        answer = await asyncio.wait_for(ask(front, get()), 5)
        assert (answer.body, answer.complete) == (b"abc", False)


async def test_upstream_that_falls_silent_after_its_headers_breaks_the_answer() -> None:
    async def play(peer: Peer) -> None:
        await peer.message()
        await peer.send(HEAD)
        await peer.closed()

    async with raw_upstream(play) as upstream, gateway(upstream.address, timeouts=SHORT) as front:
        answer = await asyncio.wait_for(ask(front, get()), 5)
        assert (answer.status, answer.body, answer.complete) == (200, b"", False)


async def test_slow_answer_that_keeps_coming_is_not_cut() -> None:
    async def play(peer: Peer) -> None:
        await peer.message()
        await peer.send(HEAD)
        for _ in range(10):
            await asyncio.sleep(SHORT.connect / 4)
            await peer.send(b"x")

    async with raw_upstream(play) as upstream, gateway(upstream.address, timeouts=SHORT) as front:
        answer = await ask(front, get())
        assert (answer.body, answer.complete) == (b"x" * 10, True)


async def test_event_stream_may_be_silent_for_ever() -> None:
    async def play(peer: Peer) -> None:
        await peer.message()
        await peer.send(EVENTS)
        await asyncio.sleep(SHORT.connect * 4)
        await peer.send(b"9\r\ndata: 1\n\n\r\n")
        await asyncio.sleep(SHORT.connect * 4)
        await peer.send(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    async with raw_upstream(play) as upstream, gateway(upstream.address, timeouts=SHORT) as front:
        answer = await ask(front, get())
        assert (answer.body, answer.complete) == (b"data: 1\n\ndata: 2\n\n", True)


async def test_headers_and_each_event_reach_the_client_at_once() -> None:
    go = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.message()
        await peer.send(EVENTS)
        for _ in range(3):
            await go.wait()
            go.clear()
            await peer.send(b"9\r\ndata: 1\n\n\r\n")
        await peer.closed()

    async with raw_upstream(play) as upstream, gateway(upstream.address) as front:
        async with connect(front) as peer:
            await peer.send(get())
            await asyncio.wait_for(peer.head(), 5)
            for _ in range(3):
                go.set()
                await asyncio.wait_for(peer.reader.readuntil(b"data: 1\n\n\r\n"), 5)


# The client's side


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("said", [b"", EVENTS, CHUNKED + b"3\r\nabc\r\n"], ids=["nothing yet", "headers", "a part"])
async def test_client_that_goes_away_ends_the_upstream_request(said: bytes, reset: bool) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.message()
        started.set()
        await peer.send(said)
        await peer.closed()
        ended.set()

    async with raw_upstream(play) as upstream, gateway(upstream.address) as front:
        async with connect(front) as peer:
            await peer.send(get())
            await started.wait()
            if said:
                await peer.head()
            if reset:
                peer.abort()
            else:
                await peer.close()
            await asyncio.wait_for(ended.wait(), 2)


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
async def test_upload_that_is_cut_is_cut_for_the_upstream(framing: str) -> None:
    seen = asyncio.get_running_loop().create_future()
    started = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.reader.readuntil(b"abc")
        started.set()
        seen.set_result(await peer.reader.read())

    async with raw_upstream(play) as upstream, gateway(upstream.address) as front:
        async with connect(front) as peer:
            await peer.send(get("/", framing, method="POST") + (b"3\r\nabc\r\n" if "chunked" in framing else b"abc"))
            await started.wait()
            peer.abort()
            assert (await asyncio.wait_for(seen, 5)) in (b"", b"\r\n")


@pytest.mark.parametrize("closes", [False, True])
async def test_answer_that_comes_before_the_end_of_the_upload_is_delivered(closes: bool) -> None:
    async def play(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
        if not closes:
            await peer.closed()

    async with raw_upstream(play) as upstream, gateway(upstream.address) as front:
        async with connect(front) as peer:
            await peer.send(get("/", f"Content-Length: {50 << 20}", method="POST") + bytes(1000))
            answer = await asyncio.wait_for(peer.message(), 5)
            assert (answer.status, answer.body) == (413, b"much")


async def test_answer_may_stream_while_the_request_does() -> None:
    async def echo(peer: Peer) -> None:
        await peer.head()
        await peer.send(CHUNKED)
        for _ in range(3):
            await peer.send(await peer.reader.readuntil(b"\r\n") + await peer.reader.readuntil(b"\r\n"))
        await peer.send(b"0\r\n\r\n")

    async with raw_upstream(echo) as upstream, gateway(upstream.address) as front:
        async with connect(front) as peer:
            await peer.send(get("/", "Transfer-Encoding: chunked", method="POST"))
            await peer.head()
            for _ in range(3):
                await peer.send(b"3\r\nabc\r\n")
                assert await asyncio.wait_for(peer.reader.readuntil(b"abc\r\n"), 5) == b"3\r\nabc\r\n"


async def test_slow_reader_holds_the_upstream_back() -> None:
    sent = 0
    size = 256 << 20

    async def play(peer: Peer) -> None:
        nonlocal sent
        await peer.message()
        await peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        while sent < size:
            await peer.send(bytes(1 << 16))
            sent += 1 << 16

    async with raw_upstream(play) as upstream, gateway(upstream.address) as front:
        async with connect(front) as peer:
            await peer.send(get())
            await peer.head()
            peer.writer.transport.pause_reading()
            before = -1
            while before != sent:  # until it stands still
                before = sent
                await asyncio.sleep(0.3)
            assert sent < size / 2
            peer.writer.transport.resume_reading()
            left = size
            while left:
                left -= len(await peer.reader.read(1 << 20))


async def test_client_that_takes_nothing_is_dropped_in_time() -> None:
    ended = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.message()
        await peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {1 << 30}\r\n\r\n".encode())
        try:
            while True:
                await peer.send(bytes(1 << 16))
        finally:
            ended.set()

    async with raw_upstream(play) as upstream, gateway(upstream.address, timeouts=SHORT) as front:
        async with connect(front) as peer:
            await peer.send(get())
            await peer.head()
            peer.writer.transport.pause_reading()
            await asyncio.wait_for(ended.wait(), 10)
            peer.abort()


# Expect: 100-continue


def expecting(body: bytes) -> bytes:
    return get("/", "Expect: 100-continue", f"Content-Length: {len(body)}", method="POST")


async def test_body_is_asked_for_once_there_is_an_upstream_to_take_it() -> None:
    async with raw_upstream(OK) as upstream, gateway(upstream.address) as front:
        async with connect(front) as peer:
            await peer.send(expecting(b"body"))
            assert (await peer.message()).start == "HTTP/1.1 100 Continue"
            await peer.send(b"body")
            assert (await peer.message()).status == 200
            assert upstream.requests[0].body == b"body"
            assert upstream.requests[0].all("Expect") == []


async def test_client_that_does_not_wait_for_100_is_served() -> None:
    async with raw_upstream(OK) as upstream, gateway(upstream.address) as front:
        async with connect(front) as peer:
            await peer.send(expecting(b"body") + b"body")
            assert [(await peer.message()).status for _ in range(2)] == [100, 200]


async def test_body_is_not_asked_for_when_the_upstream_refuses() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        async with gateway(Upstream(scheme="http", host="127.0.0.1", port=bound.getsockname()[1])) as front:
            assert (await ask(front, expecting(b"body"))).status == 503


async def test_body_is_not_asked_for_when_a_handler_refuses() -> None:
    async def refuse(_: object) -> None:
        raise ProjectNotFound

    async with serve(refuse) as front:
        assert code(await ask(front, expecting(b"body"))) == (404, "project_not_found")


async def test_other_expectations_are_refused() -> None:
    async with raw_upstream(OK) as upstream, gateway(upstream.address) as front:
        assert (await ask(front, get("/", "Expect: a-miracle"))).status == 417
        assert upstream.requests == []
