"""Containers of a benchmark: many behind one port, each with a boot of its own and numbered events.

``python -m bench.container`` prints its port and serves until it is told to stop. Container NAME is at ``/NAME``; it
speaks what the gateway needs of the container's contract, and ``POST /NAME/emit {count, rate}`` makes it send events
of its newest session.
"""

import asyncio
import secrets

import attrs
import uvloop
from aiohttp import web

from bench.events import make, paced, padding_for

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
            frames = [
                b"id: %s-%d\nevent: session_update\ndata: %s\n\n"
                % (self.boot.encode(), number, make(self.session, padding))
                for number in range(first, self.number + 1)
            ]
            assert self.reader is not None, "nobody follows this container"
            try:
                await self.reader.write(b"".join(frames))
            except ConnectionError:
                return  # the gateway has stopped


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
        while True:
            await response.write(b": ping\n\n")
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def emit(self, request: web.Request) -> web.Response:
        container, order = self.of(request), await request.json()
        task = asyncio.create_task(container.emit(order["count"], order["rate"]))
        container.tasks.add(task)
        task.add_done_callback(container.tasks.discard)
        return _data({})


def _data(value: object) -> web.Response:
    return web.json_response({"success": True, "data": value})


async def main() -> None:
    containers = Containers()
    app = web.Application()
    app.router.add_get("/{name}/info", containers.info)
    app.router.add_get("/{name}/agents", containers.agents)
    app.router.add_post("/{name}/session", containers.create_session)
    app.router.add_get("/{name}/session/{session}", containers.session)
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
