"""A container that numbers its events and does with its stream what a test says: repeats, skips, cuts, falls silent.

async with NumberedContainer() as container:
    container.emit(3)  # events 1 to 3 of its newest session, kept in its journal
"""

import asyncio
import json
import secrets
from typing import Any, Self

import attrs
from aiohttp import web

from tests.fakes.listening import listen

CAPABILITIES = ["event-ids", "end-turn", "permissions", "content-blocks", "turn-ids"]


@attrs.define(eq=False)
class _Stream:
    transport: asyncio.Transport
    waiting: "asyncio.Queue[bytes]" = attrs.Factory(asyncio.Queue)


class NumberedContainer:
    """One container; what its events say is in ``truth``, by number."""

    def __init__(self) -> None:
        self.boot = secrets.token_hex(4)
        self.journal: list[bytes] = []
        self.truth: dict[int, str] = {}
        self.number = 0
        self.session = ""
        #: Whether ``Last-Event-ID`` is honoured.
        self.resumes = True
        #: The ``Last-Event-ID`` of each stream that was opened.
        self.asked: list[str | None] = []
        #: Further headers of the event stream, and what comes before all else on it.
        self.headers: dict[str, str] = {}
        self.preamble = b""
        self._streams: list[_Stream] = []
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/info", self._info)
        app.router.add_get("/agents", self._agents)
        app.router.add_post("/session", self._create_session)
        app.router.add_get("/session/{id}", self._session)
        app.router.add_post("/session/{id}/prompt", self._prompt)
        app.router.add_get("/events", self._events)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        self.url = f"http://127.0.0.1:{(await listen(self._runner)).port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        self.cut()
        await self._runner.cleanup()

    def frame(self, number: int, text: str) -> bytes:
        update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}
        data = {"type": "session_update", "sessionId": self.session, "data": {"sessionId": "acp", "update": update}}
        return f"id: {self.boot}-{number}\nevent: session_update\ndata: {json.dumps(data)}\n\n".encode()

    def emit(self, count: int = 1, *, text: str = "") -> None:
        """So many further events, to all who listen."""
        frames = []
        for _ in range(count):
            self.number += 1
            self.truth[self.number] = text or f"e{self.number} "
            frames.append(self.frame(self.number, self.truth[self.number]))
        self.journal += frames
        self.send(b"".join(frames))

    def skip(self, count: int) -> None:
        """So many numbers are never told."""
        for _ in range(count):
            self.number += 1
            self.journal.append(b"")

    def send(self, raw: bytes) -> None:
        for stream in self._streams:
            stream.waiting.put_nowait(raw)

    def cut(self, after: bytes = b"") -> None:
        """Break every stream, each after ``after``."""
        for stream in self._streams:
            if after:
                stream.transport.write(b"%x\r\n%b\r\n" % (len(after), after))
            stream.transport.abort()
        self._streams.clear()

    def restart(self) -> None:
        """Another boot, whose numbers begin with 1."""
        self.boot = secrets.token_hex(4)
        self.journal, self.truth, self.number = [], {}, 0
        self.cut()

    async def _info(self, _: web.Request) -> web.Response:
        return _data({"name": "numbered", "bootId": self.boot, "capabilities": CAPABILITIES})

    async def _agents(self, _: web.Request) -> web.Response:
        return _data({"agents": [{"id": "demo", "name": "Demo", "authenticated": True, "status": "running"}]})

    async def _create_session(self, _: web.Request) -> web.Response:
        self.session = secrets.token_hex(8)
        return _data({"id": self.session, "agentId": "demo", "status": "active"})

    async def _session(self, request: web.Request) -> web.Response:
        return _data({"id": request.match_info["id"], "status": "active"})

    async def _prompt(self, request: web.Request) -> web.Response:
        return _data({"id": request.match_info["id"], "turnId": (await request.json()).get("turnId")})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        last = request.headers.get("Last-Event-ID")
        self.asked.append(last)
        boot, _, number = (last or "").rpartition("-")
        begin = int(number) if self.resumes and boot == self.boot else 0
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **self.headers})
        await response.prepare(request)
        assert request.transport is not None
        stream = _Stream(request.transport)
        stream.waiting.put_nowait((self.preamble or b": hello\n\n") + b"".join(self.journal[begin:]))
        self._streams.append(stream)
        while True:
            await response.write(await stream.waiting.get())


def _data(value: Any) -> web.Response:
    return web.json_response({"success": True, "data": value})
