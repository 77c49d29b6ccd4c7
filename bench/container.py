"""Containers of a benchmark: many behind one port, each with a boot of its own and numbered events.

``python -m bench.container`` prints its port and serves until it is told to stop. Container NAME is at ``/NAME``; it
speaks what the gateway needs of the container's contract, and ``POST /NAME/emit {count, rate}`` makes it send events
of its newest session. A prompt is a number: its turn streams that many chunks of text. Or it is a word and two numbers:
``pictures COUNT BYTES`` for as many tool calls, each with a picture of so many random bytes; ``grow COUNT BYTES`` for a
call whose output has so many bytes in the end, told whole with each of the updates, in a turn that does not end.
"""

import asyncio
import json
import secrets
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any

import attrs
import uvloop
from aiohttp import web

from bench.events import growing, make, paced, padding_for, pictures, prose

CAPABILITIES = ["event-ids", "end-turn", "permissions", "content-blocks", "turn-ids"]
HEARTBEAT_SECONDS = 10


@attrs.define
class Container:
    """One of them: its boot, its events' numbers, and whoever reads them."""

    boot: str = attrs.field(factory=lambda: secrets.token_hex(8))
    number: int = 0
    session: bytes = b""
    reader: web.StreamResponse | None = None
    tasks: set[asyncio.Task[None]] = attrs.field(factory=set)

    async def emit(self, count: int, rate: float) -> None:
        padding = padding_for(self.session)
        async for due in paced(count, rate):
            first, self.number = self.number + 1, self.number + due
            # What is due at once is made at once, and only the number differs: making events takes a core's time, too.
            frame = b"id: %s-%%d\nevent: session_update\ndata: %s\n\n" % (
                self.boot.encode(),
                make(self.session, padding),
            )
            frames = [frame % number for number in range(first, self.number + 1)]
            assert self.reader is not None, "nobody follows this container"
            await self._send(frames)

    async def answer(self, session: str, turn_id: str, prompt: str) -> None:
        """Stream a turn as its prompt says."""
        what, *numbers = prompt.split()
        if what == "grow":
            await self._tell(session, growing(*map(int, numbers)))
            return
        if what == "pictures":
            await self._tell(session, pictures(*map(int, numbers)))
        else:
            await self._stream(session, int(what))
        await self._send([self._frame("session_end_turn", session, {"turnId": turn_id, "stopReason": "end_turn"})])

    async def _tell(self, session: str, updates: Iterable[object]) -> None:
        for update in updates:
            await self._send([self._frame("session_update", session, {"sessionId": "acp-1", "update": update})])

    async def _stream(self, session: str, chunks: int) -> None:
        pieces = prose(chunks)
        for start in range(0, len(pieces), 500):
            await self._send([self._frame("session_update", session, _chunk(p)) for p in pieces[start : start + 500]])

    def _frame(self, kind: str, session: str, data: object) -> bytes:
        self.number += 1
        body = json.dumps({"type": kind, "sessionId": session, "agentId": "demo", "data": data})
        return f"id: {self.boot}-{self.number}\nevent: {kind}\ndata: {body}\n\n".encode()

    async def _send(self, frames: list[bytes]) -> None:
        assert self.reader is not None, "nobody follows this container"
        with suppress(ConnectionError):  # the gateway has stopped
            await self.reader.write(b"".join(frames))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class Containers:
    def __init__(self) -> None:
        self._containers: dict[str, Container] = {}

    def of(self, request: web.Request) -> Container:
        return self._containers.setdefault(request.match_info["name"], Container())

    async def info(self, request: web.Request) -> web.Response:
        return _data({"name": "bench", "bootId": self.of(request).boot, "capabilities": CAPABILITIES})

    async def agents(self, request: web.Request) -> web.Response:
        agent = {"id": "demo", "name": "Demo", "requiresAuth": False, "authenticated": True, "status": "running"}
        return _data({"agents": [agent]})

    async def create_session(self, request: web.Request) -> web.Response:
        container = self.of(request)
        container.session = secrets.token_hex(8).encode()
        return _data({"id": container.session.decode(), "agentId": "demo", "status": "active"})

    async def session(self, request: web.Request) -> web.Response:
        return _data({"id": request.match_info["session"], "status": "active"})

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        self.of(request).reader = response
        with suppress(ConnectionError):
            while True:
                await response.write(b": ping\n\n")
                await asyncio.sleep(HEARTBEAT_SECONDS)
        return response

    async def emit(self, request: web.Request) -> web.Response:
        container, order = self.of(request), await request.json()
        container.start(container.emit(order["count"], order["rate"]))
        return _data({})

    async def prompt(self, request: web.Request) -> web.Response:
        asked, session = await request.json(), request.match_info["session"]
        text = "".join(block["text"] for block in asked["prompt"])
        self.of(request).start(self.of(request).answer(session, asked["turnId"], text))
        return web.json_response({"success": True, "data": {"id": session, "turnId": asked["turnId"]}}, status=202)


def _chunk(text: str) -> object:
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}
    return {"sessionId": "acp-1", "update": update}


def _data(value: object) -> web.Response:
    return web.json_response({"success": True, "data": value})


async def main() -> None:
    containers = Containers()
    app = web.Application(client_max_size=1 << 24)
    app.router.add_get("/{name}/info", containers.info)
    app.router.add_get("/{name}/agents", containers.agents)
    app.router.add_post("/{name}/session", containers.create_session)
    app.router.add_get("/{name}/session/{session}", containers.session)
    app.router.add_post("/{name}/session/{session}/prompt", containers.prompt)
    app.router.add_get("/{name}/events", containers.events)
    app.router.add_post("/{name}/emit", containers.emit)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
