"""What a row of the fault matrix is given, how it is run, and what came of it.

    @row(2, "kill -9 a gateway that only serves")
    async def kill_a_server(world: World) -> None:
        await world.begin(gateways=3, clients=30, rate=100)     # all is connected, and events flow
        victim = world.server_only()
        world.fault("kill -9 of a gateway that serves")
        victim.kill()
        …                                                        # wait for what must come true, and note figures
        world.within(took, 3.0, "another took over")

After it has returned, the emitting stops, every client is waited for, and the checker proves P1 to P7. ``world.rng``
is the only source of chance. What a row starts beside that it hands to ``world.stack``.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import attrs

from tests.chaos import checker
from tests.chaos.checker import Entry, Verdict
from tests.chaos.clients import Address, Client
from tests.chaos.container import ChaosContainer
from tests.chaos.crowd import Found
from tests.chaos.processes import GatewayServer, Postgres, Usage, query, until
from tests.chaos.truth import serial_of

PROJECT = "chaos"
ACP = f"/api/projects/{PROJECT}/acp"
#: How long clients may take to have everything once the faults are over.
SETTLE_SECONDS = 30.0


class Skipped(Exception):
    """The row cannot be run here; its text says what is missing."""


Scenario = Callable[["World"], Awaitable[None]]


@attrs.frozen
class Row:
    number: int
    title: str
    run: Scenario
    #: Played short where rows are played at random.
    is_slow: bool = False


ROWS: dict[int, Row] = {}


def row(number: int, title: str, *, slow: bool = False) -> Callable[[Scenario], Scenario]:
    def register(scenario: Scenario) -> Scenario:
        assert number not in ROWS
        ROWS[number] = Row(number, title, scenario, slow)
        return scenario

    return register


@attrs.define(eq=False)
class World:
    """A container, gateways, clients and a database, and what the row found."""

    postgres: Postgres
    rng: random.Random
    directory: Path
    stack: AsyncExitStack
    #: A short run, for tests: a row takes less of everything.
    short: bool = False
    #: As much of everything as the fault matrix says, however long it takes.
    full: bool = False
    #: How many times longer than its goal anything may take.
    patience: float = 1.0
    database_url: str = ""
    container: ChaosContainer = attrs.field(factory=ChaosContainer)
    gateways: list[GatewayServer] = attrs.field(factory=list)
    clients: list[Client] = attrs.field(factory=list)
    faults: list[str] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)
    verdict: Verdict = attrs.field(factory=Verdict)
    session_id: str = ""
    #: The clients' way to the gateways; a row may put proxies there.
    routes: Callable[[], list[Address]] | None = None
    #: What the log held before some of it was deleted on purpose.
    archived: list[Entry] = attrs.field(factory=list)
    _tasks: list[asyncio.Task[None]] = attrs.field(factory=list)
    _before: dict[int, tuple[int, Usage]] = attrs.field(factory=dict)

    # To set up.

    async def begin(
        self, *, gateways: int = 2, clients: int = 20, rate: float = 100, numbered: bool = True, **settings: str
    ) -> None:
        """Everything runs, all clients are connected and the container emits ``rate`` events a second."""
        self.container.numbered = numbered
        await self.container.start()
        self.stack.push_async_callback(self.container.stop)
        self.database_url = self.database_url or await asyncio.to_thread(self.postgres.create_database)
        await self.add_gateways(gateways, **settings)
        await self.register(self.container.port)
        await self.add_clients(clients)
        if rate:
            self.container.emit_at(rate)
            await until(lambda: all(len(client.record) > 5 for client in self.clients), 30, "clients get events")

    async def add_gateways(self, count: int, **settings: Any) -> list[GatewayServer]:
        environment = {f"ACP_GATEWAY_{name.upper()}": value for name, value in settings.items()}
        added = [GatewayServer(self.database_url, self.directory, settings=environment) for _ in range(count)]
        for gateway in added:
            await self.add_gateway(gateway)
        return added

    async def add_gateway(self, gateway: GatewayServer) -> None:
        self.stack.callback(gateway.end)
        gateway.start()
        await gateway.ready()
        self.gateways.append(gateway)
        self.measure(gateway)

    def measure(self, gateway: GatewayServer) -> None:
        """What it holds now is what it may hold in the end."""
        assert gateway.process is not None
        self._before[gateway.port] = (gateway.process.pid, gateway.usage())

    async def register(self, container_port: int) -> None:
        """Make the project and its session through the gateway, the container being at this port."""
        body = {"id": PROJECT, "containerUrl": "http://127.0.0.1:4096", "acpUrl": f"http://127.0.0.1:{container_port}"}
        await self.call("POST", "/api/projects", body)
        self.session_id = (await self.call("POST", f"{ACP}/session", {"agentId": "demo"}))["id"]

    async def add_clients(self, count: int, *, from_start: bool = False) -> list[Client]:
        """Clients of the project's stream, and each third of the session's; they know where they stand."""
        added = []
        for number in range(count):
            session_id = self.session_id if number % 3 == 2 else None
            path = f"{ACP}/events" + (f"/{session_id}" if session_id else "") + ("?from=start" if from_start else "")
            client = Client(self.replicas, path, random.Random(self.rng.random()), session_id=session_id)
            self.run_client(client)
            added.append(client)
        await until(lambda: all(client.record for client in added), 30, "clients connect")
        return added

    def run_client(self, client: Client) -> None:
        """It is one of the clients from now on, until all leave."""
        self.clients.append(client)
        self._tasks.append(asyncio.create_task(client.run(), name=f"client {client.name}"))

    def some_kind(self) -> bool:
        """Whether this run's container numbers its events; one in three does not."""
        return self.rng.random() < 2 / 3

    def some_workers(self) -> str:
        """Of how many processes each gateway of this run consists: one in three has workers."""
        return self.rng.choice("112")

    # To act and look.

    def replicas(self) -> list[Address]:
        if self.routes is not None:
            return self.routes()
        return [gateway.address for gateway in self.gateways if gateway.is_meant_to_run]

    def follower(self) -> GatewayServer | None:
        ports = self.container.peers()
        return next((gateway for gateway in self.gateways if gateway.reads_from(ports)), None)

    async def following(self, seconds: float = 30) -> GatewayServer:
        """The gateway that follows the container, once there is one."""
        await until(self.follower, seconds, "somebody follows the container")
        found = self.follower()
        return found if found is not None else await self.following(seconds)

    def server_only(self) -> GatewayServer:
        """A gateway that does not follow."""
        follower = self.follower()
        return self.rng.choice([one for one in self.gateways if one is not follower and one.is_running])

    def clients_of(self, gateway: GatewayServer) -> list[Client]:
        return [client for client in self.clients if client.target == gateway.address]

    async def start_again(self, gateway: GatewayServer) -> None:
        gateway.start()
        await gateway.ready()
        self.measure(gateway)

    async def next_event(self, after: float, seconds: float = 30) -> float:
        """Wait until some client gets an event that was emitted after a moment; seconds since then."""
        serial, _ = await self._next_stored(after, seconds)
        return await self.delivered(serial, seconds) - after

    async def next_stored(self, after: float, seconds: float = 30) -> float:
        """Wait until an event that was emitted after a moment is in the log; seconds since then."""
        return (await self._next_stored(after, seconds))[1] - after

    async def _next_stored(self, after: float, seconds: float) -> tuple[int, float]:
        """The first event of the container's after a moment that is in the log, and when it was seen there."""
        told = sum(at <= after for at in self.container.truth.at)
        if self.container.numbered:
            await self._place_of(told + 1, seconds)
            return told + 1, time.monotonic()
        # What was emitted while nobody listened is gone: the first that was not.
        deadline = time.monotonic() + seconds
        statement = "select payload from events where type = 'session_update' order by seq desc limit 1000"
        while time.monotonic() < deadline:
            newest = await asyncio.to_thread(query, self.database_url, statement)
            later = [serial for (data,) in newest if (serial := serial_of(bytes(data)) or 0) > told]
            if later:
                return min(later), time.monotonic()
            await asyncio.sleep(0.02)
        raise AssertionError(f"nothing that the container said was stored within {seconds:g} s")

    async def delivered(self, serial: int, seconds: float = 30) -> float:
        """Wait until a client has the container's event of this number; when the first had it."""
        deadline = time.monotonic() + seconds
        seq = await self._place_of(serial, seconds)
        while time.monotonic() < deadline:
            told = [one.at for client in self.clients for one in client.told()[-5000:] if one.seq == seq]
            if told:
                return min(told)
            await asyncio.sleep(0.02)
        raise AssertionError(f"event {serial} of the container came to nobody within {seconds:g} s")

    async def _place_of(self, serial: int, seconds: float) -> int:
        """Wait until the container's event of this number is in the log; its seq there."""
        deadline = time.monotonic() + seconds
        truth = self.container.truth.events
        statement = "select seq from events where payload = %s and seq > (select max(seq) - 20000 from events)"
        while time.monotonic() < deadline:
            if len(truth) >= serial:
                found = await asyncio.to_thread(query, self.database_url, statement, truth[serial - 1])
                if found:
                    return int(found[0][0])
            await asyncio.sleep(0.02)
        raise AssertionError(f"event {serial} of the container was not stored within {seconds:g} s")

    async def pause(self, low: float, high: float) -> None:
        """Some time in which all goes on, by chance."""
        await asyncio.sleep(self.rng.uniform(low, high))

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        gateway = next(one for one in self.gateways if one.is_meant_to_run)
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, gateway.url + path, json=body) as response,
        ):
            text = await response.text()
            assert response.status < 300, f"{method} {path}: {response.status} {text}"
            return json.loads(text)

    # To report.

    def fault(self, what: str) -> None:
        self.faults.append(what)

    def note(self, what: str) -> None:
        """A figure for the report."""
        self.notes.append(what)

    def expect(self, holds: bool, otherwise: str) -> None:
        """What the row promises beside P1 to P7."""
        if not holds:
            self.verdict.say("row", otherwise)

    def watched(self, found: Iterable[Found]) -> None:
        """What clients in processes of their own found: P3 and P6."""
        for one in found:
            self.verdict.delivered += one.delivered
            for wrong in one.wrong:
                self.verdict.losses += 1
                self.verdict.say("P3", f"a client of a crowd: {wrong}")
            for status in one.statuses:
                self.expect(status == "200", f"a client of a crowd was answered {status}")

    def within(self, took: float, goal: float, what: str) -> None:
        """A goal in seconds. A busy machine misses it without a fault of anybody's: that is told, and fails beyond as
        many times the goal as programs wait for each of its cores."""
        said = f"{what} in {took:.2f} s; the goal is {goal:g} s"
        load = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        if took > goal:
            self.note(f"MISSED: {said}, the machine's load {load:.1f} for each core")
        self.expect(took <= goal * max(self.patience, load), said)

    def note_away(self, clients: list[Client], goal: float) -> None:
        """How long clients were without a stream, which the goal bounds at the 99th percentile."""
        away = sorted(seconds for client in clients for seconds in client.away)
        if away:
            p99 = away[min(len(away) - 1, int(len(away) * 0.99))]
            self.note(f"{len(away)} resumptions, p50 {away[len(away) // 2]:.2f} s, p99 {p99:.2f} s")
            self.within(p99, goal, "at p99 clients were back")

    async def check(self) -> None:
        """Stop emitting, wait for everybody to have everything, and prove P1 to P7."""
        await self.container.pause()
        emitted = len(self.container.truth.events)
        if self.container.numbered and emitted:
            await self._stored(emitted)
        elif emitted:
            # The gap that covers the end is written by whoever follows again.
            await self.following()
        epoch, floor, head = await self._head()
        late = await self._until_all_have(epoch, head)
        log = await self._read_log(head)
        rows = await asyncio.to_thread(
            query,
            self.database_url,
            "select seq, payload from events where project_id = %s and type = 'session_update' order by seq",
            PROJECT,
        )
        checker.check_log(self.verdict, (epoch, floor, head), [(seq, bytes(data)) for seq, data in rows], log)
        whole = [*(entry for entry in self.archived if entry.seq <= floor), *log]
        checker.check_truth(self.verdict, self.container.truth, whole)
        statement = "select epoch, head from former_epochs where project_id = %s and log = 'acp'"
        former = await asyncio.to_thread(query, self.database_url, statement, PROJECT)
        for client in self.clients:
            checker.check_client(self.verdict, client, whole, [(epoch, head) for epoch, head in former])
        if late:
            self.verdict.say("P3", f"{late} clients had not come to the head {SETTLE_SECONDS:g} s after the faults")
        await self._check_usage()

    async def archive(self) -> list[Entry]:
        """Keep what the log holds now for the checker, because some of it will be deleted on purpose."""
        _, _, head = await self._head()
        self.archived = await self._read_log(head)
        return self.archived

    async def _stored(self, emitted: int) -> None:
        try:
            await self.delivered(emitted, SETTLE_SECONDS) if self.clients else None
        except AssertionError as exc:
            self.verdict.say("P1", str(exc))

    async def _head(self) -> tuple[int, int, int]:
        statement = "select epoch, floor, head from log_heads where project_id = %s"
        while True:
            rows = await asyncio.to_thread(query, self.database_url, statement, PROJECT)
            await asyncio.sleep(0.5)
            if rows == await asyncio.to_thread(query, self.database_url, statement, PROJECT):
                epoch, floor, head = rows[0]
                return epoch, floor, head

    async def _until_all_have(self, epoch: int, head: int) -> int:
        """How many clients do not have everything in time. What does not concern a client it learns by heartbeats."""
        name = f"{epoch}-{head}"
        deadline = time.monotonic() + SETTLE_SECONDS
        while late := sum(client.last_id != name for client in self.clients):
            if time.monotonic() > deadline:
                return late
            await asyncio.sleep(0.05)
        return 0

    async def _read_log(self, head: int) -> list[Entry]:
        """The whole log as a fresh client gets it."""
        gateway = next(one for one in self.gateways if one.is_running)
        log: list[Entry] = []
        timeout = aiohttp.ClientTimeout(total=120)
        async with (
            aiohttp.ClientSession(timeout=timeout, read_bufsize=2**22) as http,
            http.get(f"{gateway.url}{ACP}/events?from=start") as response,
        ):
            left = b""
            while not log or log[-1].seq < head:
                *blocks, left = (left + await response.content.readany()).split(b"\n\n")
                for block in blocks:
                    fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
                    if fields.get(b"event") not in (None, b"heartbeat", b"reset"):
                        log.append(Entry.of(fields[b"id"].decode(), fields[b"event"].decode(), fields[b"data"]))
        return log

    async def _check_usage(self) -> None:
        await self.leave()
        await asyncio.sleep(1.5)
        for gateway in self.gateways:
            pid, before = self._before[gateway.port]
            if gateway.is_running and gateway.process is not None and gateway.process.pid == pid:
                checker.check_usage(self.verdict, f"the gateway on {gateway.port}", before, gateway.usage())

    async def leave(self) -> None:
        """All clients go."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                self.verdict.say("harness", f"{task.get_name()} failed: {error!r}")
        self._tasks = []


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of one run of a row."""

    row: Row
    seed: int
    seconds: float
    events: int
    clients: int
    faults: list[str]
    notes: list[str]
    verdict: Verdict
    skipped: str | None = None


async def play(
    chosen: Row, seed: int, postgres: Postgres, *, short: bool = False, patience: float = 1.0, full: bool = False
) -> Outcome:
    """Run a row once and prove what must hold."""
    began = time.monotonic()
    skipped = None
    directory = postgres.directory / f"run-{seed}-{time.monotonic_ns()}"
    directory.mkdir()
    async with AsyncExitStack() as stack:
        world = World(postgres, random.Random(seed), directory, stack, short=short, full=full, patience=patience)
        try:
            async with asyncio.timeout(None if full else 600):
                await chosen.run(world)
                await world.check()
        except Skipped as exc:
            skipped = str(exc)
        except Exception as exc:
            world.verdict.say("row", f"{type(exc).__name__}: {exc}")
        finally:
            await world.leave()
    return Outcome(
        row=chosen,
        seed=seed,
        seconds=time.monotonic() - began,
        events=len(world.container.truth.events),
        clients=len(world.clients),
        faults=world.faults,
        notes=world.notes,
        verdict=world.verdict,
        skipped=skipped,
    )
