"""Rows 1 to 5, 19, 22 and 26: gateways die, pause, stop, are stormed, have a wrong clock, run out of descriptors."""

import asyncio
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack, ExitStack

from tests.chaos.crowd import Order, crowd
from tests.chaos.processes import LEASE, GatewayServer, until
from tests.chaos.scenario import ACP, World, row

#: In so many processes thousands of clients read.
CROWDS = 4


@row(1, "kill -9 the gateway that follows, at random instants")
async def kill_the_follower(world: World) -> None:
    await world.begin(gateways=2 if world.short else 3, clients=20, rate=200, numbered=world.some_kind())
    for _ in range(1 if world.short else 4):
        await world.pause(0.3, 2.0)
        victim = await world.following()
        world.fault("kill -9 of the follower")
        victim.kill()
        killed = time.monotonic()
        took = await world.next_stored(killed)
        world.note(f"taken over {took:.2f} s after the kill")
        world.within(took, LEASE + 1.0, "another took over")
        if not world.short:
            await world.start_again(victim)
    world.note_away(world.clients, 3.0)


@row(2, "kill -9 a gateway that only serves")
async def kill_a_server(world: World) -> None:
    await world.begin(gateways=3, clients=45, rate=200)
    for _ in range(1 if world.short else 4):
        await world.pause(0.3, 1.5)
        await world.following()
        victim = world.server_only()
        lost = world.clients_of(victim)
        before = {client.name: len(client.away) for client in lost}
        world.fault("kill -9 of a gateway that only serves")
        victim.kill()
        await until(lambda: all(len(one.away) > before[one.name] for one in lost), 30, "clients come back")  # noqa: B023
        await world.start_again(victim)
    world.note_away(world.clients, 3.0)


@row(3, "kill -9 all, start, reconnect before any new event")
async def kill_all(world: World) -> None:
    await world.begin(gateways=2, clients=20, rate=300)
    for _ in range(1 if world.short else 2):
        await world.pause(0.5, 1.5)
        await world.container.pause()
        world.fault("kill -9 of all gateways")
        for gateway in world.gateways:
            gateway.kill()
        await asyncio.gather(*(world.start_again(gateway) for gateway in world.gateways))
        await until(lambda: all(client.target[1] for client in world.clients), 30, "clients are back")
        await world.add_clients(3, from_start=True)
        world.container.emit_at(300)


@row(4, "SIGSTOP the follower for 3 leases, then CONT")
async def pause_the_follower(world: World) -> None:
    await world.begin(gateways=2, clients=20, rate=200, numbered=world.some_kind())
    for _ in range(1 if world.short else 2):
        paused = await world.following()
        world.fault("SIGSTOP of the follower for 3 leases")
        paused.signal(signal.SIGSTOP)
        stopped = time.monotonic()
        took = await world.next_stored(stopped)
        world.note(f"taken over {took:.2f} s after the stop")
        world.within(took, LEASE + 1.0, "another took over")
        await asyncio.sleep(max(0.0, 3 * LEASE - (time.monotonic() - stopped)))
        paused.signal(signal.SIGCONT)
        await until(lambda: len(world.container.peers()) == 1, 10, "one follower is left")
        await world.pause(1.0, 2.0)


@row(5, "SIGTERM to one gateway after another, under load")
async def stop_one_after_another(world: World) -> None:
    numbered, workers = world.some_kind(), world.some_workers()
    await world.begin(gateways=3, clients=45, rate=300, numbered=numbered, server_workers=workers)
    for gateway in list(world.gateways):
        await world.pause(0.5, 1.0)
        was_following = await world.following() is gateway
        world.fault("SIGTERM" + (" to the follower" if was_following else ""))
        told = time.monotonic()
        gateway.is_meant_to_run = False
        gateway.signal(signal.SIGTERM)
        if was_following:
            took = await world.next_stored(told)
            world.note(f"taken over {took:.2f} s after SIGTERM")
            world.within(took, 0.5, "another took over")
        await gateway.stop()
        await world.start_again(gateway)
    errors = {status for client in world.clients for status in client.statuses if status != 200}
    world.expect(not errors, f"clients saw {errors}")
    world.note_away(world.clients, 3.0)


@row(19, "thousands reconnect within a second with old cursors", slow=True)
async def storm(world: World) -> None:
    count, oldest = (200, 500) if world.short else (5000, 500)
    await world.begin(gateways=2, clients=0, rate=0)
    world.container.emit(2000)
    readers = await world.add_clients(20, from_start=True)
    await until(lambda: all(client.seq >= 2000 for client in readers), 30, "the log is read")
    head, epoch = readers[0].seq, readers[0].last_id.split("-")[0]
    cursors = [f"{epoch}-{head - world.rng.randrange(1, oldest)}" for _ in range(count)]
    addresses = [gateway.address for gateway in world.gateways]
    before = [gateway.cpu_seconds() for gateway in world.gateways], world.postgres.cpu_seconds()
    world.fault(f"{count} clients reconnect at once, each with a cursor of its own up to {oldest} events old")
    world.container.emit_at(5)
    async with AsyncExitStack() as stack:
        began = time.monotonic()
        orders = [
            Order(addresses=addresses, path=f"{ACP}/events", cursors=cursors[part::CROWDS], head=head)
            for part in range(CROWDS)
        ]
        crowds = await asyncio.gather(*(stack.enter_async_context(crowd(order)) for order in orders))
        found = await asyncio.gather(*(one.found(seconds=120) for one in crowds))
        took = time.monotonic() - began
    served = max(one.seconds[2] for one in found)
    world.watched(found)
    gateways = [gateway.cpu_seconds() - used for gateway, used in zip(world.gateways, before[0], strict=True)]
    world.note(
        f"{count} clients had all that they had missed, {sum(one.delivered for one in found)} events, {served:.1f} s "
        f"after they came back; CPU: gateways {gateways[0]:.1f} and {gateways[1]:.1f} s, "
        f"PostgreSQL {world.postgres.cpu_seconds() - before[1]:.1f} s, of {took:.1f} s"
    )
    world.within(served, 10, "all were served")


@row(22, "the clock of one gateway jumps by an hour")
async def jump_a_clock(world: World) -> None:
    await world.begin(gateways=1, clients=10, rate=100)
    skewed = GatewayServer(
        world.database_url, world.directory, command=(sys.executable, "-m", "tests.chaos.skewed_gateway")
    )
    await world.add_gateway(skewed)
    await world.add_clients(10)
    for number, jump in ((signal.SIGUSR1, "an hour ahead"), (signal.SIGUSR2, "an hour back")):
        world.fault(f"a clock jumps {jump}")
        skewed.signal(number)
        # So that the one with the wrong clock takes the lease, and holds it, and gives it back.
        other = world.gateways[0]
        await other.stop()
        await until(lambda: world.follower() is skewed, 10, "the gateway with the wrong clock follows")
        await world.start_again(other)
        held = time.monotonic() + 2 * LEASE
        while time.monotonic() < held:
            follower = world.follower()
            world.expect(follower in (skewed, None), "the lease went to another")
            await asyncio.sleep(0.1)
    skewed.kill()
    killed = time.monotonic()
    took = await world.next_stored(killed)
    world.note(f"taken over {took:.2f} s after the kill")
    world.within(took, LEASE + 1.0, "another took over")


@row(26, "descriptors exhausted")
async def exhaust_descriptors(world: World) -> None:
    limit = 256
    await world.container.start()
    world.stack.push_async_callback(world.container.stop)
    world.database_url = await asyncio.to_thread(world.postgres.create_database)
    gateway = GatewayServer(world.database_url, world.directory, descriptors=limit)
    await world.add_gateway(gateway)
    await world.register(world.container.port)
    clients = await world.add_clients(20)
    world.container.emit_at(200)
    await world.pause(0.5, 1.0)
    connections = [client.connections for client in clients]
    with ExitStack() as crowd:
        world.fault(f"{2 * limit} connections to a gateway that may have {limit} descriptors")
        for _ in range(2 * limit):
            crowd.enter_context(socket.create_connection(gateway.address, timeout=10))
        await asyncio.sleep(3.0)
        world.note(f"{gateway.usage().descriptors} of {limit} descriptors in use under the crowd")
        world.expect(gateway.usage().descriptors < limit, "no descriptor was left")
        world.container.cut_streams()  # the follower needs a descriptor to come back
        world.fault("the container's stream is cut meanwhile")
        took = await world.next_event(time.monotonic())
        world.note(f"followed again after {took:.2f} s")
    world.expect([client.connections for client in clients] == connections, "open streams were harmed")
    began = time.monotonic()
    await world.add_clients(10)
    world.note(f"accepts again {time.monotonic() - began:.2f} s after the crowd has gone")
