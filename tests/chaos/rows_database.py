"""Rows 6 to 10: PostgreSQL stops, connections die, wake-ups die, a backup is restored, connections run out."""

import asyncio
import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import Any

import psycopg2

from tests.chaos.clients import Client
from tests.chaos.processes import HEARTBEAT, MAX_CONNECTIONS, query, until
from tests.chaos.scenario import PROJECT, World, row
from tests.program import command, environment

#: How late an event may come to a gateway that no wake-up reaches: a poll, and what it takes.
POLL_SECONDS = 1.5
BACKENDS = "datname = current_database() and application_name <> 'chaos'"
#: The connections that gateways listen on.
LISTENING = f"select pid from pg_stat_activity where {BACKENDS} and application_name = 'acp-gateway-dedicated'"


@row(6, "PostgreSQL stopped at once and started")
async def stop_postgresql(world: World) -> None:
    numbered, workers = world.some_kind(), world.some_workers()
    await world.begin(gateways=2, clients=20, rate=100, numbered=numbered, server_workers=workers)
    for _ in range(1 if world.short else 3):
        await world.pause(0.5, 1.5)
        connections = [client.connections for client in world.clients]
        world.fault("PostgreSQL is stopped at once")
        await asyncio.to_thread(world.postgres.stop_at_once)
        await world.pause(0.2, 3.0)
        await asyncio.to_thread(world.postgres.start)
        accepting = time.monotonic()
        took = await world.next_event(accepting)
        world.note(f"first new event {took:.2f} s after PostgreSQL accepted connections")
        world.within(took, 2.0, "the first event came after PostgreSQL was back")
        world.expect([one.connections for one in world.clients] == connections, "streams did not stay open")


@row(7, "backends killed, in COMMIT as anywhere")
async def kill_backends(world: World) -> None:
    await world.begin(gateways=2, clients=20, rate=300)
    for _ in range(1 if world.short else 4):
        await _kill_at_work(world, 1.0 if world.short else 3.0)
        await _kill_in_commit(world)
    commits = sum(fault.endswith("COMMIT") for fault in world.faults)
    world.note(f"{len(world.faults)} backends were killed at work, {commits} of them in COMMIT")
    world.expect(0 < commits < len(world.faults), "no backend was found in COMMIT, or none elsewhere")
    await world.next_event(time.monotonic())


async def _kill_at_work(world: World, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        at_work = f"select pg_terminate_backend(pid) from pg_stat_activity where {BACKENDS} and state = 'active'"
        for _ in await asyncio.to_thread(query, world.database_url, at_work):
            world.fault("a backend is killed in a statement")
        await world.pause(0.0, 0.05)


async def _kill_in_commit(world: World) -> None:
    """Kill those whose change is stored and who have not said so: they wait for a standby that never comes."""
    committing = f"select pg_terminate_backend(pid) from pg_stat_activity where {BACKENDS} and wait_event = 'SyncRep'"
    await asyncio.to_thread(world.postgres.hold_commits, True)
    try:
        for _ in range(3):
            killed: list[Any] = []
            deadline = time.monotonic() + 10
            while not killed and time.monotonic() < deadline:
                await world.pause(0.0, 0.05)
                killed = await asyncio.to_thread(query, world.database_url, committing)
            for _ in killed:
                world.fault("a backend is killed in COMMIT")
    finally:
        await asyncio.to_thread(world.postgres.hold_commits, False)


@row(8, "only the LISTEN connection killed; then frozen")
async def break_wakeups(world: World) -> None:
    await world.begin(gateways=2, clients=20, rate=20)
    await world.following()
    served = world.clients_of(world.server_only())
    listening = await _listening(world)
    world.expect(len(listening) == len(world.gateways), f"{len(listening)} connections listen")
    world.note(f"latency across gateways: {await _latency(world, served, 1.0):.3f} s at most, with wake-ups")
    for pid in listening:
        world.fault("a LISTEN connection is killed")
        await asyncio.to_thread(query, world.database_url, "select pg_terminate_backend(%s)", pid)
    await _expect_latency(world, served, "with LISTEN killed", 3.0)
    frozen = await _until_listening(world, set(listening))
    try:
        for pid in frozen:
            world.fault("a LISTEN connection is frozen")
            os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        await _expect_latency(world, served, "with LISTEN frozen", 3.0)
        await _until_listening(world, frozen)
        noticed = time.monotonic() - began
    finally:
        for pid in frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    world.note(f"frozen LISTEN connections were replaced after {noticed:.1f} s")
    world.within(noticed, 10, "a frozen LISTEN connection was noticed")


async def _listening(world: World) -> set[int]:
    return {pid for (pid,) in await asyncio.to_thread(query, world.database_url, LISTENING)}


async def _until_listening(world: World, gone: set[int]) -> set[int]:
    """Wait until every gateway listens on another connection than these; the new ones."""
    deadline = time.monotonic() + 20
    while len(found := await _listening(world) - gone) < len(world.gateways):
        assert time.monotonic() < deadline, "gateways do not listen again within 20 s"
        await asyncio.sleep(0.05)
    return found


async def _expect_latency(world: World, clients: list[Client], when: str, seconds: float) -> None:
    latency = await _latency(world, clients, seconds)
    world.note(f"latency across gateways: {latency:.3f} s at most, {when}")
    world.within(latency, POLL_SECONDS, f"an event came {when}")


async def _latency(world: World, clients: list[Client], seconds: float) -> float:
    """The longest that an event of the next seconds took from the container to any of these clients."""
    truth = world.container.truth
    first = len(truth.events)
    places = {client.name: len(client.record) for client in clients}
    await asyncio.sleep(seconds)
    last = len(truth.events)
    await world.delivered(last)
    await asyncio.sleep(POLL_SECONDS)
    sums = {}
    for seq, payload in await asyncio.to_thread(
        query, world.database_url, "select seq, payload from events where project_id = %s order by seq", PROJECT
    ):
        sums[bytes(payload)] = seq
    worst = 0.0
    for client in clients:
        at = {one.seq: one.at for one in client.told()[max(0, places[client.name] - 10) :]}
        for serial in range(first + 1, last + 1):
            seq = sums.get(truth.events[serial - 1])
            arrived = at.get(seq, float("inf")) if seq is not None else float("inf")
            worst = max(worst, arrived - truth.at[serial - 1])
    return worst


@row(9, "database restored to a state 1,000 events old")
async def restore_a_backup(world: World) -> None:
    await world.begin(gateways=2, clients=20, rate=500)
    await until(lambda: len(world.container.truth.events) > 300, 30)
    await _stop_gateways(world)
    backup = await asyncio.to_thread(world.postgres.copy, world.database_url)
    await _start_gateways(world)
    at_backup = len(world.container.truth.events)
    await until(lambda: len(world.container.truth.events) > at_backup + 1000, 30)
    await world.delivered(at_backup + 1000)
    await world.container.pause()
    await _stop_gateways(world)
    world.fault("the database is restored to a state 1,000 events old")
    lost = len(world.container.truth.events)
    for gateway in world.gateways:
        gateway.database_url = backup
    world.database_url = backup
    variables = environment(world.directory, {"ACP_GATEWAY_DATABASE_URL": backup})
    options = {"cwd": world.directory, "env": variables, "check": True, "capture_output": True}
    await asyncio.to_thread(subprocess.run, [*command(), "migrate", "--restored"], **options)
    resets = [sum(getattr(one, "is_reset", False) for one in client.record) for client in world.clients]
    await _start_gateways(world)
    world.container.emit_at(300)
    await world.next_event(time.monotonic())
    await until(
        lambda: all(
            sum(getattr(one, "is_reset", False) for one in client.record) > before
            for client, before in zip(world.clients, resets, strict=True)
        ),
        20,
        "every client gets a reset",
    )
    world.note(f"{len(world.clients)} clients were told to begin anew, {lost - at_backup} events after the backup")


async def _stop_gateways(world: World) -> None:
    for gateway in world.gateways:
        await gateway.stop()


async def _start_gateways(world: World) -> None:
    for gateway in world.gateways:
        await world.start_again(gateway)


@row(10, "connections exhausted", slow=True)
async def exhaust_connections(world: World) -> None:
    await world.begin(gateways=2, clients=20, rate=50, server_workers=world.some_workers())
    seconds = 5.0 if world.short else 60.0
    held = []
    try:
        world.fault(f"all connections of PostgreSQL are taken for {seconds:g} s, and the gateways' own are killed")
        held += await asyncio.to_thread(_take_connections, world)
        began, quiet = time.monotonic(), 0.0
        while time.monotonic() - began < seconds:
            await asyncio.sleep(0.1)
            held += await asyncio.to_thread(_take_connections, world)
            quiet = max(quiet, *(time.monotonic() - client.heard_at for client in world.clients))
    finally:
        for connection in held:
            connection.close()
    world.note(f"streams were quiet for {quiet:.2f} s at most; {len(held)} connections were taken")
    world.within(quiet, 4 * HEARTBEAT, "the next heartbeat came")
    took = await world.next_event(time.monotonic())
    world.note(f"first new event {took:.2f} s after connections were free")


def _take_connections(world: World) -> list[Any]:
    """Take what is free, after making the gateways' connections free."""
    taken = []
    with suppress(psycopg2.Error):
        if not taken:
            query(world.database_url, f"select pg_terminate_backend(pid) from pg_stat_activity where {BACKENDS}")
    with suppress(psycopg2.Error):
        for _ in range(MAX_CONNECTIONS):
            taken.append(psycopg2.connect(world.database_url, application_name="chaos"))
    return taken
