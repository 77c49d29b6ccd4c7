"""Sockets: descriptors that run out and come back, and clients that send byte by byte."""

import asyncio
import gc
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from resource import RLIMIT_NOFILE, setrlimit

import psutil
import pytest
from aiohttp import web

from gateway.server import heads
from gateway.server import run as serving
from gateway.web.handlers import requests
from tests.fakes.eventually import eventually
from tests.program import Place, run, wait_until
from tests.world import QUICK, Gateway, GatewayProcess

DESCRIPTORS = 200


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


@contextmanager
def few_descriptors(place: Place) -> Iterator[psutil.Process]:
    """A gateway that may have few descriptors, in a process of its own."""
    options = ["--port", str(place.port), "--data-dir", str(place.data_dir)]
    limit = {"preexec_fn": lambda: setrlimit(RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))}
    with run("serve", *options, directory=place.directory, **limit) as program:
        program.wait_until_says("gateway       http")
        yield psutil.Process(program.process.pid)


def test_with_all_descriptors_taken_what_is_open_goes_on_and_who_comes_is_served_after(open_directory: Path) -> None:
    place = Place.make(open_directory / "descriptors")
    health = b"GET /api/projects HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with few_descriptors(place) as process, ExitStack() as crowd:
        first = crowd.enter_context(connect(place.port))
        first.sendall(health)
        assert b"200 OK" in first.recv(4096)

        others = [crowd.enter_context(connect(place.port)) for _ in range(DESCRIPTORS)]
        wait_until(lambda: process.num_fds() >= DESCRIPTORS - 64)
        taken = process.num_fds()
        late = crowd.enter_context(connect(place.port))
        late.sendall(health)
        first.sendall(health)
        assert b"200 OK" in first.recv(4096)
        assert taken < DESCRIPTORS

        for one in others:
            one.close()
        assert b"200 OK" in late.recv(4096)


async def test_a_client_that_does_not_read_holds_no_connection_once_the_server_has_stopped() -> None:
    size = 64 << 20

    async def much(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(size)})
        await response.prepare(request)
        await response.write(bytes(size))
        return response

    app = web.Application()
    app.router.add_get("/", much)
    sock = serving.bind("127.0.0.1", 0, purpose="a test", option="--port")
    async with serving.serving(app, sock, shutdown_timeout=0.2):
        reader, writer = await asyncio.open_connection(*sock.getsockname(), limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    received = 0
    with suppress(ConnectionError):
        while piece := await reader.read(1 << 20):
            received += len(piece)
    writer.close()
    assert received < size


def test_the_gateway_takes_as_many_descriptors_as_it_may(open_directory: Path) -> None:
    place = Place.make(open_directory / "limit")
    options = ["--port", str(place.port), "--data-dir", str(place.data_dir), "--workers", "2"]
    limit = {"preexec_fn": lambda: setrlimit(RLIMIT_NOFILE, (256, 4096))}
    with run("serve", *options, directory=place.directory, **limit) as program:
        program.wait_until_says("gateway       http")
        processes = [one for one in program.descendants() if "gateway.server.worker" in one.cmdline()]
        assert [one.rlimit(RLIMIT_NOFILE) for one in processes] == [(4096, 4096)] * 2


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for_for_ever(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "IDLE_SECONDS", 0.5)
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        reader, writer = await open_connection(gateway)
        sending = asyncio.create_task(drip(writer, b"GET / HTTP/1.1\r\nX: " + b"x" * 1000))
        began = time.monotonic()
        # Whether it is told of the end or of a reset depends on what was under way.
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert time.monotonic() - began < 10
        sending.cancel()
        writer.close()


async def test_a_head_that_is_large_or_slow_is_not_kept(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = [b"X-%d: %b\r\n" % (number, b"x" * 8_000) for number in range(20)]
    large = b"".join(fields[:15]) + b"\r\n"
    for pieces in (
        [b"".join(fields)],
        [large[:62_000], large[62_000:]],
        [b"".join(fields), b"\r\n"],
        fields,
        [b"X: %b" % (b"x" * 100_000)],
    ):
        reader, writer = await open_connection(gateway)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        assert (await reader.readline()).split()[1] == b"431"
        # What it goes on to send is taken, or it would be told that the connection is broken and not why.
        writer.write(b"x" * 1_000_000)
        await writer.drain()
        writer.close()
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.3)
    reader, writer = await open_connection(gateway)
    # Between requests, however long, no head is under way.
    for _ in range(2):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answered = await reader.readuntil(b"\r\n\r\n")
        assert answered.split()[1] == b"200"
        await reader.readexactly(int(re.findall(rb"(?i)content-length: (\d+)", answered)[0]))
        await asyncio.sleep(0.5)
    writer.write(b"GET")
    with suppress(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 10)
    writer.close()


@pytest.mark.parametrize("is_large", [True, False], ids=["large", "slow"])
async def test_a_head_that_comes_while_another_request_is_handled_is_bounded_too(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    monkeypatch.setattr(heads, "HEAD_SECONDS", 30 if is_large else 0.3)
    await gateway.register("http://127.0.0.1:1")
    reader, writer = await open_connection(gateway)
    writer.write(b"GET /api/projects/demo/acp/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"200"
    [connection] = [one for one in gc.get_objects() if isinstance(one, heads.Connection) and one._current_request]
    writer.write(b"GET /healthz HTTP/1.1\r\n")
    if is_large:
        for number in range(20):
            writer.write(b"X-%d: %b\r\n" % (number, b"x" * 8_000))
            await writer.drain()
        await eventually(lambda: connection._is_refused, within=5)
    else:
        # The stream would go on.
        with suppress(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_heads_under_way_are_bounded_together(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "MAX_HEADS", 100_000)
    begun = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"".join(
        b"X-%d: %b\r\n" % (n, b"x" * 8000) for n in range(5)
    )
    connections = [await open_connection(gateway) for _ in range(4)]
    for _, writer in connections:
        writer.write(begun)
        await writer.drain()
    answers = [asyncio.create_task(reader.readline()) for reader, _ in connections]
    done, _ = await asyncio.wait(answers, timeout=15, return_when=asyncio.FIRST_COMPLETED)
    assert {answer.result().split()[1] for answer in done} == {b"431"}
    # Short ones are taken all the same.
    assert (await gateway.call("GET", "/healthz")).status == 200
    for answer in answers:
        answer.cancel()
    for _, writer in connections:
        writer.close()
    await eventually(lambda: heads.Connection.under_way == 0)


GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
POST = b"POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
#: Each behind a request of its own, the pieces in which it is sent: what comes behind the last byte of a request.
BEFORE_A_HEAD: dict[str, list[bytes]] = {
    "a request": [GET],
    "several requests": [GET * 3],
    "the end of a head": [GET[:-1], GET[-1:]],
    "a body": [POST + b"Content-Length: 8\r\n\r\n\r\n\r\n\r\n\r\n"],
    "the last byte of a body": [POST + b"Content-Length: 8\r\n\r\n\r\n\r\n\r\n\r", b"\n"],
    "a chunked body": [CHUNKED + b"4\r\n\r\n\r\n\r\n0\r\n\r\n"],
    "the last byte of a chunked body": [CHUNKED + b"4\r\nbody\r\n0\r\n\r", b"\n"],
    "a chunked body and a body": [
        CHUNKED + b"4\r\nbody\r\n0\r\nX: trailer\r\n\r\n" + POST + b"Content-Length: 4\r\n\r\nbody"
    ],
    "more requests than are queued": [GET * 100],
    "more bodies than are queued": [(POST + b"Content-Length: 4\r\n\r\nbody") * 100],
    "a request for another protocol": [GET[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"],
}


#: Those after which nothing is left that may be the beginning of a head. Behind more requests with bodies than aiohttp
#: queues it is unknown whether what is kept is a body or a head, and it counts as a head.
WHOLE = {name: pieces for name, pieces in BEFORE_A_HEAD.items() if name != "more bodies than are queued"}


async def send(writer: asyncio.StreamWriter, pieces: list[bytes]) -> None:
    """Each is read by itself."""
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("before", BEFORE_A_HEAD.values(), ids=BEFORE_A_HEAD.keys())
async def test_a_head_that_begins_in_one_piece_with_the_end_of_a_request_is_timed(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, before: list[bytes]
) -> None:
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.5)
    reader, writer = await open_connection(gateway)
    await send(writer, [*before[:-1], before[-1] + GET[:20]])
    # Nothing else would end it for more than a minute.
    with suppress(ConnectionResetError):
        assert b" 431 " not in await asyncio.wait_for(reader.read(), 10)
    writer.close()


@pytest.mark.parametrize("before", WHOLE.values(), ids=WHOLE.keys())
async def test_no_head_is_timed_where_a_piece_ends_with_a_request(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, before: list[bytes]
) -> None:
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.3)
    reader, writer = await open_connection(gateway)
    # With an empty line behind it, as some clients send.
    await send(writer, [*before[:-1], before[-1] + b"\r\n"])
    # Longer than a head may take, and then as long as an answer needs that closes the connection.
    await asyncio.sleep(0.6)
    writer.write(GET)
    answers = asyncio.create_task(reader.read())
    await asyncio.sleep(0.2)
    assert not answers.done(), "it is open still"
    answers.cancel()
    writer.close()


@pytest.mark.parametrize("before", [[GET], BEFORE_A_HEAD["the last byte of a body"]], ids=["pipelined", "body"])
async def test_heads_that_begin_in_one_piece_with_the_end_of_a_request_are_bounded_together(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, before: list[bytes]
) -> None:
    monkeypatch.setattr(heads, "MAX_HEADS", 100_000)
    begun = GET[:-2] + b"".join(b"X-%d: %b\r\n" % (number, b"x" * 8000) for number in range(5))
    connections = [await open_connection(gateway) for _ in range(4)]
    for _, writer in connections:
        await send(writer, [*before[:-1], before[-1] + begun])
    answers = [asyncio.create_task(reader.readuntil(b" 431 ")) for reader, _ in connections]
    await asyncio.wait(answers, timeout=15, return_when=asyncio.FIRST_COMPLETED)
    assert {answer.exception() for answer in answers if answer.done()} == {None}
    for answer in answers:
        answer.cancel()
    for _, writer in connections:
        writer.close()
    await asyncio.gather(*answers, return_exceptions=True)
    await eventually(lambda: heads.Connection.under_way == 0)


async def test_heads_that_wait_on_one_connection_are_bounded_together(gateway: Gateway) -> None:
    await gateway.register("http://127.0.0.1:1")
    reader, writer = await open_connection(gateway)
    writer.write(b"GET /api/projects/demo/acp/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"200"
    [connection] = [one for one in gc.get_objects() if isinstance(one, heads.Connection) and one._current_request]
    large = GET[:-2] + b"".join(b"X-%d: %b\r\n" % (number, b"x" * 8000) for number in range(5)) + b"\r\n"
    await send(writer, [large] * 5)
    waiting = [heads._size(message) for message, _ in connection._messages]
    assert sum(waiting) <= heads.MAX_HEAD
    assert 0 in waiting, "refused"
    writer.close()


SECRET = "not-for-anybodys-log"


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (f"GET /x HTTP/1.1\r\nHost: localhost\r\nCookie: {SECRET}{'x' * 9000}", 431, "head_too_large"),
        (f"GET /{SECRET}{'x' * 9000} HTTP/1.1\r\nHost: localhost", 431, "head_too_large"),
        (f"GET /x HTTP/1.1\r\nHost: localhost\r\n{SECRET}", 400, "bad_request"),
        (f"GET /x HTTP/1.1\r\nHost: localhost\r\nX-{SECRET}\0: x", 400, "bad_request"),
        (f"GET /x HTTP/1.1\r\nHost: localhost\r\nHost: {SECRET}", 400, "bad_request"),
        (f"{SECRET} /x HTTP/9.9", 400, "bad_request"),
        ("".join(["GET /x HTTP/1.1", *[f"\r\nX-{number}: {SECRET}" for number in range(200)]]), 400, "bad_request"),
    ],
    ids=["field", "target", "no colon", "NUL", "two hosts", "version", "many"],
)
async def test_what_cannot_be_read_is_answered_as_a_problem_and_repeated_nowhere(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, head: str, status: int, code: str
) -> None:
    reader, writer = await open_connection(gateway)
    writer.write(f"{head}\r\n\r\n".encode())
    answered = await reader.readuntil(b"\r\n\r\n")
    assert answered.split()[1] == str(status).encode()
    assert b"application/problem+json" in answered
    problem = json.loads(await reader.readline())
    assert problem["code"] == code
    assert SECRET not in caplog.text + json.dumps(problem)
    writer.close()


async def test_a_body_that_comes_byte_by_byte_is_answered_408(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.5)
    reader, writer = await open_connection(gateway)
    writer.write(b"POST /api/projects HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    writer.write(b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
    sending = asyncio.create_task(drip(writer, b" " * 900))
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    sending.cancel()
    writer.close()


async def open_connection(gateway: Gateway) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", int(gateway.url.rpartition(":")[2]))


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    for byte in data:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.02)
