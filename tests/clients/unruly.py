"""A proxy in front of a gateway that does what proxies do: answers itself, breaks off, loses a block or an answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import attrs
from aiohttp import web

from gateway.server.run import bind, serving

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@attrs.define
class Unruly:
    """What is sent on, and what is not."""

    upstream: str
    url: str
    #: Each request is answered by the proxy itself while this holds.
    is_away: bool = False
    #: What it answers then: status, type and body.
    away: tuple[int, str, str] = (502, "text/html", "<h1>Bad Gateway</h1>")
    #: How often it has done so.
    turned_away: int = 0
    #: The next call that changes something reaches the gateway, and loses its connection when this is set.
    losing_answer: asyncio.Event | None = None
    #: The statuses that the gateway has answered.
    statuses: list[int] = attrs.field(factory=list)
    #: Streams stay open and bring nothing while this holds; what would have come is lost.
    is_silent: bool = False
    #: The blocks of streams with these ids are lost, each once.
    losing: set[str] = attrs.field(factory=set)
    #: And these, each time.
    never: set[str] = attrs.field(factory=set)
    #: The paths of the streams that were opened, with their queries.
    opened: list[str] = attrs.field(factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.is_away:
            self.turned_away += 1
            status, type, text = self.away
            return web.Response(status=status, text=text, content_type=type)
        if self.losing_answer is not None and request.method == "POST":
            lost, self.losing_answer = self.losing_answer, None
            passed_on = asyncio.create_task(self._pass_on(request))
            await lost.wait()
            passed_on.cancel()
            _abort(request)
            return web.Response()
        return await self._pass_on(request)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False) as http,
            http.request(
                request.method, self.upstream + request.path_qs, headers=headers, data=await request.read()
            ) as upstream,
        ):
            self.statuses.append(upstream.status)
            kept = {name: value for name, value in upstream.headers.items() if name.lower() not in _HOP}
            response = web.StreamResponse(status=upstream.status, headers=kept)
            is_stream = upstream.content_type == "text/event-stream"
            if is_stream:
                self.opened.append(request.path_qs)
            await response.prepare(request)
            async for piece in self._blocks(upstream) if is_stream else upstream.content.iter_any():
                if self.is_away and is_stream:
                    _abort(request)
                    break
                await response.write(piece)
            return response

    async def _blocks(self, upstream: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        rest = b""
        async for piece in upstream.content.iter_any():
            *blocks, rest = (rest + piece).split(b"\n\n")
            for block in blocks:
                id = block.partition(b"\n")[0].removeprefix(b"id: ").decode()
                if id in self.losing:
                    self.losing.discard(id)
                elif id not in self.never and not self.is_silent:
                    yield block + b"\n\n"


@asynccontextmanager
async def unruly(upstream: str) -> AsyncIterator[Unruly]:
    """That proxy, on a port of its own."""
    sock = bind("127.0.0.1", 0, purpose="the test's proxy", option="")
    made = Unruly(upstream, f"http://127.0.0.1:{sock.getsockname()[1]}")
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.answer)
    async with serving(app, sock, shutdown_timeout=0.2):
        yield made


def _abort(request: web.Request) -> None:
    assert request.transport is not None, "a request that is being answered has its connection"
    request.transport.abort()
