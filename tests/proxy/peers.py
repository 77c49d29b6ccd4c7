"""Both ends of a proxy as plain sockets, so that tests see and send every byte."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
from aiohttp import web

from gateway.config.schema import PRIVATE_NETWORKS
from gateway.errors import GatewayError
from gateway.proxy.client import Client
from gateway.proxy.expect import leave_to_reader
from gateway.proxy.forward import forward
from gateway.proxy.options import SERVER_OPTIONS
from gateway.proxy.policy import AddressPolicy
from gateway.proxy.upstream import Timeouts, Upstream
from tests.fakes.listening import listen

LOCAL = AddressPolicy.parse(PRIVATE_NETWORKS)
PATIENT = Timeouts(connect=5, headers=30, idle=30)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@attrs.frozen(kw_only=True)
class Message:
    """A request or an answer as it stood on the wire, its body without the chunking."""

    start: str
    headers: list[tuple[str, str]]
    body: bytes
    complete: bool  # the framing's end was seen, rather than the connection's

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])

    @property
    def target(self) -> str:
        return self.start.split(" ")[1]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, values
        return values[0] if values else None


class Peer:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[str, list[tuple[str, str]]]:
        raw = await self.reader.readuntil(b"\r\n\r\n")
        start, *lines = raw.decode("utf-8", "surrogateescape").split("\r\n")[:-2]
        return start, [(name, value.strip()) for name, value in (line.split(":", 1) for line in lines)]

    async def message(self, *, bodyless: bool = False) -> Message:
        """The next request or answer; ``bodyless`` for the answer to HEAD."""
        start, headers = await self.head()
        fields = {name.lower(): value for name, value in headers}
        answer = start.startswith("HTTP/")
        body, complete = b"", True
        if bodyless or (answer and start.split(" ")[1] in ("100", "101", "204", "304")):
            pass
        elif "transfer-encoding" in fields:
            body, complete = await self._chunked()
        elif "content-length" in fields:
            body, complete = await self._sized(int(fields["content-length"]))
        elif answer:
            body, complete = await self._until_closed(), False
        return Message(start=start, headers=headers, body=body, complete=complete)

    async def _sized(self, size: int) -> tuple[bytes, bool]:
        try:
            return await self.reader.readexactly(size), True
        except asyncio.IncompleteReadError as exc:
            return exc.partial, False
        except ConnectionError:
            return b"", False

    async def _chunked(self) -> tuple[bytes, bool]:
        body = b""
        try:
            while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readuntil(b"\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return body, False
        return body, True

    async def _until_closed(self) -> bytes:
        with suppress(ConnectionError):
            return await self.reader.read()
        return b""

    async def closed(self) -> None:
        """Until the other side has closed or reset the connection; what it still sends is dropped."""
        with suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass

    def abort(self) -> None:
        """Close with a reset."""
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


Script = Callable[[Peer], Awaitable[None]]


@attrs.define
class RawUpstream:
    """A server that plays a script on each connection it gets."""

    address: Upstream
    requests: list[Message]
    connections: list[Peer]


def answering(*answers: bytes, seen: list[Message] | None = None) -> Script:
    """A script: one answer a request, the last one for ever."""

    async def play(peer: Peer) -> None:
        left = list(answers)
        while True:
            request = await peer.message()
            if seen is not None:
                seen.append(request)
            await peer.send(left.pop(0) if len(left) > 1 else left[0])

    return play


@asynccontextmanager
async def raw_upstream(
    script: Script | bytes, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawUpstream]:
    """``script`` may be the bytes that answer each request."""
    requests: list[Message] = []
    connections: list[Peer] = []
    tasks: set[asyncio.Task[None]] = set()
    play = answering(script, seen=requests) if isinstance(script, bytes) else script

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        connections.append(peer)
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await play(peer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, host, 0, ssl=tls, limit=1 << 20)
    port = server.sockets[0].getsockname()[1]
    scheme = "https" if tls else "http"
    try:
        yield RawUpstream(Upstream(scheme=scheme, host=host, port=port), requests, connections)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@web.middleware
async def _errors(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        return await handler(request)
    except GatewayError as exc:
        return web.json_response({"code": exc.code, "detail": str(exc)}, status=exc.status)


@asynccontextmanager
async def serve(
    handler: Any, *, host: str = "127.0.0.1", options: Mapping[str, Any] = SERVER_OPTIONS
) -> AsyncIterator[Upstream]:
    """An aiohttp server with ``handler`` on every path; gives its address."""
    app = web.Application(middlewares=[_errors])
    app.router.add_route("*", "/{tail:.*}", handler, expect_handler=leave_to_reader)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None, **options)
    await runner.setup()
    site = await listen(runner, host=host)
    try:
        yield Upstream(scheme="http", host=host, port=site.port)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def gateway(
    upstream: Upstream,
    *,
    timeouts: Timeouts = PATIENT,
    prefix: str = "",
    tls: ssl.SSLContext | None = None,
    **options: Any,
) -> AsyncIterator[Upstream]:
    """A server that forwards every request, its target unchanged, to ``upstream``."""
    async with Client(LOCAL, tls=tls) as client:

        async def pass_on(request: web.Request) -> web.StreamResponse:
            return await forward(
                request,
                client,
                upstream,
                request.raw_path,
                timeouts=timeouts,
                scheme=request.scheme,
                prefix=prefix,
                **options,
            )

        async with serve(pass_on) as address:
            yield address


@asynccontextmanager
async def connect(address: Upstream) -> AsyncIterator[Peer]:
    """A client's connection."""
    peer = Peer(*await asyncio.open_connection(address.host, address.port, limit=1 << 20))
    try:
        yield peer
    finally:
        if not peer.writer.is_closing():
            peer.abort()
        await peer.close()


async def ask(address: Upstream, raw: bytes, *, bodyless: bool = False) -> Message:
    """Send ``raw`` on a connection of its own and read the answer."""
    async with connect(address) as peer:
        await peer.send(raw)
        return await peer.message(bodyless=bodyless)


def get(target: str = "/", *headers: str, method: str = "GET") -> bytes:
    """A request without a body."""
    lines = [f"{method} {target} HTTP/1.1", "Host: gateway.test", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def post(body: bytes, *headers: str, target: str = "/", method: str = "POST") -> bytes:
    """A request with a body of known length."""
    return get(target, *headers, f"Content-Length: {len(body)}", method=method) + body
