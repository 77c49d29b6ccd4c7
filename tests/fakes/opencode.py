"""OpenCode's own server, as far as its event streams go: 1.18's, without ids, each in its form.

    async with FakeOpenCode() as opencode:
        …  # opencode.url is what port 4096 of a real one would be

or ``python -m tests.fakes.opencode --port N``. ``POST /say`` has all who listen in ``?directory=`` told its body, byte
for byte, and who listens to a stream of all directories the same in its form; what is said while nobody listens is
gone. ``POST /cut`` breaks every stream.
"""

import argparse
import asyncio
import base64
import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self

import attrs
from aiohttp import web
from aiohttp.typedefs import Handler

from tests.fakes.listening import listen

HOME = "/home/agent/work space"
#: Where its sessions are, as ``FakeContainer`` has it.
WORKSPACE = "/workspace"
#: The streams of 1.18.
PATHS = ("/event", "/global/event", "/api/event")


@attrs.define(eq=False)
class _Stream:
    path: str
    directory: str
    transport: asyncio.Transport
    waiting: "asyncio.Queue[bytes]" = attrs.Factory(asyncio.Queue)


def event(type: str, **properties: Any) -> bytes:
    """An event as OpenCode writes it."""
    value = {"id": f"evt_{secrets.token_hex(13)}", "type": type, "properties": properties}
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def in_form_of(path: str, data: bytes, directory: str | None = HOME) -> bytes:
    """The event as a stream has it; ``directory``: None for what is about the stream itself."""
    match path:
        case "/event":
            return data
        case "/global/event" if directory is None:
            return b'{"payload":%b}' % data
        case "/global/event":
            return b'{"directory":%b,"project":"global","payload":%b}' % (json.dumps(directory).encode(), data)
    value = json.loads(data)
    where = {} if directory is None else {"location": {"directory": directory}}
    value = {"id": value.get("id"), "type": value["type"], **where, "data": value["properties"]}
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class FakeOpenCode:
    """One server; ``said`` is all that it told anybody in its own directory, in order.

    ``paths``: the streams that it has, as versions differ.
    """

    def __init__(
        self,
        *,
        heartbeat: float = 10.0,
        username: str = "opencode",
        password: str | None = None,
        paths: Sequence[str] = PATHS,
    ) -> None:
        self.heartbeat = heartbeat
        self.paths = paths
        pair = f"{username}:{password}".encode()
        self._wanted = None if password is None else f"Basic {base64.b64encode(pair).decode()}"
        self.said: list[bytes] = []
        #: When it told each of them.
        self.said_at: list[datetime] = []
        #: The headers and the query of each stream that was opened.
        self.asked: list[tuple[dict[str, str], str]] = []
        self.url = ""
        self.port = 0
        #: The messages of sessions, by their ids.
        self.histories: dict[str, list[Any]] = {}
        self._streams: list[_Stream] = []
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """On the port that it had before, if it had one."""
        app = web.Application(middlewares=[self._authenticated])
        app.router.add_get("/path", self._path)
        app.router.add_get("/session/{id}", self._session)
        app.router.add_get("/session/{id}/message", self._messages)
        for path in self.paths:
            app.router.add_get(path, self._event)
        app.router.add_post("/say", self._say)
        app.router.add_post("/cut", self._cut)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        self.port = (await listen(self._runner, self.port)).port
        self.url = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        assert self._runner is not None
        self.cut()
        await self._runner.cleanup()

    @property
    def listeners(self) -> int:
        return len(self._streams)

    def listening(self, path: str) -> int:
        """How many listen to one stream."""
        return sum(stream.path == path for stream in self._streams)

    def told(self, path: str) -> list[bytes]:
        """What it said in its own directory, as one of the streams has it."""
        return [in_form_of(path, data) for data in self.said]

    def say(self, data: bytes, directory: str = HOME) -> None:
        if directory == HOME:
            self.said.append(data)
            self.said_at.append(datetime.now(UTC))
        for path in {stream.path for stream in self._streams}:
            self.send(b"data: %b\n\n" % in_form_of(path, data, directory), directory, path)

    def tell(self, count: int, begin: int = 0) -> None:
        """So many events, each with its number."""
        for number in range(begin, begin + count):
            self.say(event("message.part.updated", part={"n": number, "text": f"t\u00e9xt {number}"}))

    def send(self, raw: bytes, directory: str = HOME, path: str = "/event") -> None:
        for stream in self._streams:
            if stream.path == path and (path != "/event" or stream.directory == directory):
                stream.waiting.put_nowait(raw)

    def cut(self) -> None:
        for stream in self._streams:
            stream.transport.abort()
        self._streams.clear()

    @web.middleware
    async def _authenticated(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """As ``opencode serve`` does with ``OPENCODE_SERVER_PASSWORD``."""
        if self._wanted is not None and request.headers.getall("Authorization", []) != [self._wanted]:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="Secure Area"'})
        return await handler(request)

    async def _path(self, _: web.Request) -> web.Response:
        return web.json_response({"home": "/home/agent", "directory": HOME})

    async def _session(self, request: web.Request) -> web.Response:
        id = request.match_info["id"]
        if id not in self.histories:
            return web.json_response({"name": "NotFoundError"}, status=404)
        return web.json_response({"id": id, "directory": WORKSPACE})

    async def _messages(self, request: web.Request) -> web.Response:
        return web.json_response(self.histories.get(request.match_info["id"], []))

    async def _say(self, request: web.Request) -> web.Response:
        self.say(await request.read(), request.query.get("directory", HOME))
        return web.Response(status=204)

    async def _cut(self, _: web.Request) -> web.Response:
        self.cut()
        return web.Response(status=204)

    async def _event(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(
            ({name.lower(): value for name, value in request.headers.items()}, request.rel_url.raw_query_string)
        )
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        assert request.transport is not None
        path = request.path
        stream = _Stream(path, request.query.get("directory", HOME), request.transport)
        stream.waiting.put_nowait(b"data: %b\n\n" % in_form_of(path, event("server.connected"), None))
        self._streams.append(stream)
        try:
            while True:
                try:
                    async with asyncio.timeout(self.heartbeat):
                        raw = await stream.waiting.get()
                except TimeoutError:
                    raw = b"data: %b\n\n" % in_form_of(path, event("server.heartbeat"), None)
                    if path == "/api/event":
                        raw = b": heartbeat\n\n"
                await response.write(raw)
        finally:
            if stream in self._streams:
                self._streams.remove(stream)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=4096)
    server = FakeOpenCode()
    server.port = parser.parse_args().port
    async with server:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
