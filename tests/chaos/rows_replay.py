"""Rows 21 and 25: who replays a long log while it is deleted, and many who do in little memory."""

import asyncio
import random
import re
import time

from tests.chaos.clients import Address, Client
from tests.chaos.processes import GatewayServer, query, until
from tests.chaos.scenario import ACP, PROJECT, World, row

MEMORY = 256 * 2**20


class SlowClient(Client):
    """Reads a little, and pauses."""

    async def _read(self, reader: asyncio.StreamReader) -> None:
        pausing = asyncio.create_task(self._pause())
        try:
            await super()._read(reader)
        finally:
            pausing.cancel()
            await asyncio.wait((pausing,))

    async def _pause(self) -> None:
        while self._writer is not None and not self._writer.transport.is_closing():
            self._writer.transport.pause_reading()
            await asyncio.sleep(self.rng.uniform(0.02, 0.2))
            self._writer.transport.resume_reading()
            await asyncio.sleep(0.002)


@row(21, "retention deletes under a running replay")
async def delete_under_a_replay(world: World) -> None:
    count = 4000 if world.short else 20_000
    # Nothing is packed meanwhile: what takes fewer bytes by the moment is not deleted by its size.
    await world.begin(gateways=2, clients=10, rate=100, events_tail_bytes="65536")
    await world.container.pause()
    for _ in range(count // 2000):
        world.container.emit(2000)
        await world.delivered(len(world.container.truth.events))
    log = await world.archive()
    stored = await _stored_bytes(world)
    slow: list[Client] = []
    for part in (0.7, 0.4, 0.1):
        added: list[Client] = []
        for number in range(10):
            session_id = world.session_id if number % 3 == 2 else None
            path = f"{ACP}/events" + (f"/{session_id}" if session_id else "") + "?from=start"
            client = SlowClient(world.replicas, path, random.Random(world.rng.random()), session_id=session_id)
            added.append(client)
            world.run_client(client)
        slow += added
        await until(lambda: all(len(client.record) > 1 for client in added), 30, "the replay runs")  # noqa: B023
        world.fault(f"retention leaves {part:.0%} of the log while {len(slow)} clients replay it")
        floor = await _floor(world)
        await world.call("PATCH", f"/api/projects/{PROJECT}", {"retention": {"maxBytes": int(stored * part)}})
        await _look_at_once(world)
        deadline = time.monotonic() + 60
        while await _floor(world) <= floor:
            assert time.monotonic() < deadline, "retention deleted nothing within 60 s"
            await asyncio.sleep(0.05)
        await world.pause(0.0, 0.5)
    await world.call("PATCH", f"/api/projects/{PROJECT}", {"retention": None})
    resets = sum(any(getattr(one, "is_reset", False) for one in client.record) for client in slow)
    world.note(f"{await _floor(world)} of {log[-1].seq} events were deleted; {resets} of {len(slow)} were reset")
    world.container.emit_at(100)
    await world.next_event(time.monotonic())


async def _floor(world: World) -> int:
    statement = "select floor from log_heads where project_id = %s"
    [(floor,)] = await asyncio.to_thread(query, world.database_url, statement, PROJECT)
    return int(floor)


async def _stored_bytes(world: World) -> int:
    statement = (
        "select coalesce((select sum(octet_length(payload)) from events where project_id = %s), 0)"
        " + coalesce((select sum(octet_length(encoded)) from event_packs where project_id = %s), 0)"
    )
    [(size,)] = await asyncio.to_thread(query, world.database_url, statement, PROJECT, PROJECT)
    return int(size)


async def _look_at_once(world: World) -> None:
    """Retention looks after a log once a minute: it is due now."""
    statement = "update log_storage set looked_at = now() - interval '1 hour' where project_id = %s"
    await asyncio.to_thread(query, world.database_url, statement, PROJECT)


@row(25, "256 MB of memory and 50 clients that replay a long log", slow=True)
async def replay_in_little_memory(world: World) -> None:
    count = 10_000 if world.short else 1_000_000 if world.full else 20_000
    await world.container.start()
    world.stack.push_async_callback(world.container.stop)
    world.database_url = await asyncio.to_thread(world.postgres.create_database)
    gateway = GatewayServer(world.database_url, world.directory, memory=MEMORY)
    await world.add_gateway(gateway)
    await world.register(world.container.port)
    # Each keeps a record of all that it is told.
    clients = await world.add_clients(2 if world.full else 10)
    while len(world.container.truth.events) < count:
        world.container.emit(2000)
        await world.delivered(len(world.container.truth.events), 60)
    head = max(client.seq for client in clients)
    world.container.emit_at(20)
    assert gateway.process is not None
    pid = gateway.process.pid
    replayers = [Replayer(gateway.address, head, pause=0.0 if number % 2 else 0.02) for number in range(50)]
    world.fault(
        f"{len(replayers)} clients replay {head} events, half of them slowly, with {MEMORY >> 20} MiB of memory"
    )
    began = time.monotonic()
    await asyncio.gather(*(replayer.run() for replayer in replayers))
    took = time.monotonic() - began
    got = sum(replayer.got for replayer in replayers)
    world.note(
        f"{got} events replayed in {took:.0f} s; RLIMIT_DATA {MEMORY >> 20} MiB, peak RSS {gateway.peak() >> 20} MiB"
    )
    world.expect(gateway.is_running and gateway.process.pid == pid, "the gateway did not live")
    world.expect(b"MemoryError" not in gateway.log.read_bytes(), "the gateway ran out of memory")
    breaks = [replayer.wrong for replayer in replayers if replayer.wrong]
    world.expect(not breaks, f"{len(breaks)} replays were broken: {breaks[:3]}")
    if not world.full:
        world.note("the full figure, 1,000,000 events for each of the 50, is run with --full")


class Replayer:
    """Reads a stream from the log's start to a place, and looks at nothing but its ids."""

    _IDS = re.compile(rb"^id: \d+-(\d+)\n", re.MULTILINE)

    def __init__(self, address: Address, head: int, *, pause: float) -> None:
        self.got = 0
        self.wrong = ""
        self._address = address
        self._head = head
        self._pause = pause

    async def run(self) -> None:
        """Come back with the last id, as clients do, until all is there."""
        for _ in range(20):
            try:
                await self._read()
            except OSError as exc:
                self.wrong = str(exc)
                continue
            if self.got >= self._head or self.wrong:
                return
        self.wrong = self.wrong or f"stopped at {self.got}"

    async def _read(self) -> None:
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            resume = f"Last-Event-ID: 1-{self.got}\r\n" if self.got else ""
            # HTTP/1.0 knows no chunks: what comes is the stream itself.
            head = f"GET {ACP}/events?from=start HTTP/1.0\r\nHost: 127.0.0.1\r\n{resume}\r\n"
            writer.write(head.encode())
            left = b""
            while self.got < self._head and not self.wrong:
                data = await reader.read(65536)
                if not data:
                    return
                cut = (left + data).rpartition(b"\n\n")
                left = cut[2]
                for seq in map(int, self._IDS.findall(cut[0] + b"\n")):
                    # A heartbeat has the id of the event before it.
                    if seq not in (self.got, self.got + 1):
                        self.wrong = f"{seq} came after {self.got}"
                        return
                    self.got = seq
                await asyncio.sleep(self._pause)
        finally:
            writer.transport.abort()
