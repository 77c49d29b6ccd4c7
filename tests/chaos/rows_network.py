"""Row 23: the network between any two is bad, or gone for a while."""

import asyncio
import random
import time

from tests.chaos.processes import until
from tests.chaos.proxy import ChaosProxy, Weather
from tests.chaos.scenario import World, row

#: A network that loses a packet makes TCP wait, for 200 ms at the least.
LOSSY = Weather(latency=0.02, jitter=0.5)


@row(23, "the network between any two: loss, 500 ms jitter, a 10 s black hole", slow=True)
async def break_the_network(world: World) -> None:
    await world.container.start()
    world.stack.push_async_callback(world.container.stop)
    database = await asyncio.to_thread(world.postgres.create_database)
    to_container = await _proxy(world, ("127.0.0.1", world.container.port))
    to_postgres = ChaosProxy(
        world.postgres.socket, random.Random(world.rng.random()), listen=world.directory / ".s.PGSQL.5432"
    )
    await to_postgres.start()
    world.stack.push_async_callback(to_postgres.stop)
    world.database_url = world.postgres.through(world.directory, database)
    await world.add_gateways(2)
    world.database_url = database
    to_gateways = [await _proxy(world, gateway.address) for gateway in world.gateways]
    world.routes = lambda: [("127.0.0.1", proxy.port) for proxy in to_gateways]
    await world.register(to_container.port)
    await world.add_clients(20)
    world.container.emit_at(50)
    hole = 2.0 if world.short else 10.0
    ways = {"container": [to_container], "PostgreSQL": [to_postgres], "clients": to_gateways}
    for name, proxies in ways.items():
        for weather in (LOSSY, Weather(rate=50_000), Weather(black_hole=True)):
            what = "a black hole" if weather.black_hole else "50 kB/s" if weather.rate else "loss and 500 ms jitter"
            world.fault(f"{what} on the way to {name}")
            for proxy in proxies:
                proxy.weather = weather
            await asyncio.sleep(hole if weather.black_hole else 2.0)
            _calm(proxies)
            await _expect_back(world, f"{what} on the way to {name}")
        world.fault(f"connections to {name} are reset")
        for proxy in proxies:
            proxy.reset_all()
        await _expect_back(world, f"connections to {name} were reset")
        for proxy in proxies:
            proxy.weather = Weather(cut_after=world.rng.randrange(1, 20_000))
            proxy.reset_all()
        world.fault(f"connections to {name} are cut at a byte")
        await asyncio.sleep(2.0)
        _calm(proxies)
        for proxy in proxies:
            proxy.reset_all()
        await _expect_back(world, f"connections to {name} were cut at a byte")


async def _proxy(world: World, upstream: tuple[str, int]) -> ChaosProxy:
    proxy = ChaosProxy(upstream, random.Random(world.rng.random()))
    await proxy.start()
    world.stack.push_async_callback(proxy.stop)
    return proxy


def _calm(proxies: list[ChaosProxy]) -> None:
    for proxy in proxies:
        proxy.weather = Weather()


async def _expect_back(world: World, after: str) -> None:
    """Within 15 s every client is told of something that is said from now on."""
    began = time.monotonic()
    serial = len(world.container.truth.events) + 1
    await world.delivered(serial, 30)
    places = {client.name: client.seq for client in world.clients}
    await until(lambda: all(client.seq > places[client.name] for client in world.clients), 30, "clients are back")
    took = time.monotonic() - began
    if took > 1.0:
        world.note(f"back {took:.1f} s after {after}")
    world.within(took, 15.0, f"all are back after {after}")
