"""Row 16: the container says what nobody should. The stream lives, memory is bounded, and nobody is lured elsewhere."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import psutil

from tests.chaos import garbage
from tests.chaos.processes import GatewayServer, until
from tests.chaos.scenario import ACP, World, row
from tests.chaos.trouble import TroubledContainer

MORE_BYTES = 200 * 2**20


@row(16, "container sends garbage")
async def say_garbage(world: World) -> None:
    container = world.container = TroubledContainer(numbered=world.some_kind())
    await world.begin(gateways=2, clients=20, rate=20, numbered=container.numbered, server_workers="1")
    base = max(gateway.usage().rss for gateway in world.gateways)
    async with _trap() as (trap, lured), _watched(world.gateways) as watched:
        for what, block in world.rng.sample(list(garbage.blocks()), 6 if world.short else len(list(garbage.blocks()))):
            world.fault(f"in its stream: {what}")
            container.say(block)
            await world.pause(0.0, 0.1)
        await world.next_event(time.monotonic(), 60)
        for what, block in garbage.outlaws():
            world.fault(f"in its stream: {what}")
            await container.throw(block)
            await world.next_event(time.monotonic())
            world.fault(f"in its stream and its journal: {what}")
            container.say_before(block)
            await world.next_event(time.monotonic())
        answers = list(garbage.answers(trap))
        for what, answer in world.rng.sample(answers, 4 if world.short else len(answers)):
            for path in ("/events", "/info"):
                world.fault(f"{path} is answered by {what}")
                container.hostile[path].append(answer)
                container.cut_streams()
                await until(lambda: not container.hostile[path], 30, f"somebody asks for {path}")  # noqa: B023
                await world.next_event(time.monotonic())
            await _ask_agents(world, what, answer)
    world.expect(not lured, f"{len(lured)} requests were lured elsewhere")
    world.expect(not watched.forbidden, f"connections to a metadata address: {watched.forbidden}")
    more = watched.rss - base
    world.note(f"{len(world.faults)} kinds of garbage; the largest gateway took {more >> 20} MiB more at its peak")
    world.expect(more < MORE_BYTES, f"a gateway took {more >> 20} MiB more; {MORE_BYTES >> 20} are allowed")


async def _ask_agents(world: World, what: str, answer: garbage.Answer) -> None:
    """A call of the API that asks the container: its garbage is a 502, or what was known before."""
    world.container.hostile["/agents"].append(answer)  # type: ignore[attr-defined]
    gateway = world.rng.choice(world.gateways)
    async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}{ACP}/agents") as response:
        world.expect(response.status in (200, 502), f"agents were answered {response.status} after {what}")


class _Watched:
    """The most memory that any of the gateways had, and where they connected to that is forbidden."""

    def __init__(self) -> None:
        self.rss = 0
        self.forbidden: set[str] = set()

    async def watch(self, gateways: list[GatewayServer]) -> None:
        while True:
            for gateway in gateways:
                if gateway.process is None:
                    continue
                with suppress(psutil.Error):
                    process = psutil.Process(gateway.process.pid)
                    self.rss = max(self.rss, process.memory_info().rss)
                    for connection in process.net_connections("inet"):
                        if connection.raddr and connection.raddr.ip.startswith("169.254."):
                            self.forbidden.add(connection.raddr.ip)
            await asyncio.sleep(0.02)


@asynccontextmanager
async def _watched(gateways: list[GatewayServer]) -> AsyncIterator[_Watched]:
    watched = _Watched()
    task = asyncio.create_task(watched.watch(gateways))
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.wait((task,))


@asynccontextmanager
async def _trap() -> AsyncIterator[tuple[str, list[str]]]:
    """A server to which nobody is to come: its URL, and who came."""
    lured: list[str] = []

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lured.append(str(writer.get_extra_info("peername")))
        writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/latest/meta-data/", lured
    finally:
        server.close()
