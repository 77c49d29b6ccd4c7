"""``acp-gateway serve --workers``: several processes on one port, which come and go as one gateway."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

import gateway
from gateway.server.supervisor import _python_path
from gateway.wire.sse import SSEEvent, SSEParser
from tests.program import Place, Program, call, run, run_to_end, wait_until

READY = "gateway       http"


@pytest.fixture
def place(open_directory: Path) -> Place:
    return Place.make(open_directory / "workers")


@contextmanager
def serve(place: Place, **popen: Any) -> Iterator[Program]:
    options = ["--port", str(place.port), "--data-dir", str(place.data_dir), "--workers", "2"]
    with run("serve", *options, directory=place.directory, **popen) as program:
        program.wait_until_says(READY)
        yield program


def workers(program: Program) -> list[psutil.Process]:
    def is_worker(process: psutil.Process) -> bool:
        try:
            return "gateway.server.worker" in process.cmdline()
        except psutil.Error:
            return False

    return [process for process in program.descendants() if is_worker(process)]


def serving(program: Program) -> list[int]:
    """The workers that are said to serve, and live."""
    alive = {process.pid for process in workers(program)}
    said = program.complained()
    return [pid for pid in alive if f"worker serves worker={pid}\n" in said]


@attrs.define
class Client:
    """Follows EventSource's rules: comes back after ``retry:`` with the last id, wherever it is answered."""

    url: str
    events: list[SSEEvent] = attrs.field(factory=list)
    connections: int = 0
    last_id: str = ""
    #: The local port of the connection, by which its worker is found.
    port: int = 0

    async def run(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as http:
            while True:
                try:
                    await self._listen(http)
                except (aiohttp.ClientError, OSError):
                    self.port = 0
                await asyncio.sleep(0.1)

    async def _listen(self, http: aiohttp.ClientSession) -> None:
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        async with http.get(self.url, headers=headers) as response:
            assert response.status == 200, await response.text()
            assert response.connection is not None
            assert response.connection.transport is not None
            self.port = response.connection.transport.get_extra_info("sockname")[1]
            self.connections += 1
            parser = SSEParser()
            async for data in response.content.iter_any():
                for event in parser.feed(data):
                    if isinstance(event, SSEEvent):
                        self.last_id = event.id or self.last_id
                        self.events.append(event)

    def log(self) -> list[tuple[str | None, str]]:
        """What it was told of the log."""
        return [(event.id, event.data) for event in self.events if event.event not in ("heartbeat", "reset")]

    def ended_turns(self) -> int:
        return sum(event.event == "turn_ended" for event in self.events)


@contextmanager
def listening(url: str, number: int) -> Iterator[list[Client]]:
    clients = [Client(url) for _ in range(number)]
    tasks = [asyncio.create_task(client.run()) for client in clients]
    try:
        yield clients
    finally:
        for task in tasks:
            task.cancel()


async def until(condition: Any, seconds: float = 30.0) -> None:
    await asyncio.to_thread(wait_until, condition, seconds)


def served_by(process: psutil.Process, clients: list[Client]) -> list[Client]:
    ports = {connection.raddr.port for connection in process.net_connections("tcp") if connection.raddr}
    return [client for client in clients if client.port in ports]


def prompt(acp: str, text: str) -> int:
    _, session = call("POST", f"{acp}/session", {"agentId": "demo"})
    status, _ = call("POST", f"{acp}/session/{session['id']}/prompt", {"prompt": text})
    return status


def is_unbroken(log: list[tuple[str | None, str]]) -> bool:
    numbers = [int((id or "-").split("-")[1]) for id, _ in log]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def kill_and_see_back(victim: psutil.Process, clients: list[Client]) -> None:
    before = {id(client): client.connections for client in served_by(victim, clients)}
    victim.kill()
    await until(lambda: all(client.connections > before.get(id(client), 0) for client in clients))


@pytest.fixture
def container(agent_host: str) -> str:
    """Its ACP address stands where 4097 is; the gateway finds it by the port before it."""
    port = int(agent_host.rpartition(":")[2])
    return f"http://127.0.0.1:{port - 1}"


def test_a_worker_runs_the_package_that_its_supervisor_runs(tmp_path: Path) -> None:
    # Without site-packages, where an editable install would hide that the path leads elsewhere.
    where = [sys.executable, "-P", "-S", "-c", "import gateway; print(gateway.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env={"PYTHONPATH": _python_path()}, capture_output=True, text=True)
    assert found.stdout.strip() == gateway.__file__, found.stderr


async def test_a_client_on_any_worker_sees_everything_in_order(place: Place, container: str) -> None:
    with serve(place) as program:
        assert call("POST", f"{place.url}/api/projects", {"id": "mine", "containerUrl": container})[0] == 201
        acp = f"{place.url}/api/projects/mine/acp"
        with listening(f"{acp}/events?from=start", 12) as clients:
            await until(lambda: all(client.connections for client in clients))
            spread = [len(served_by(process, clients)) for process in workers(program)]
            assert sum(spread) == 12
            assert await asyncio.to_thread(prompt, acp, "stream 100") == 202
            await until(lambda: all(client.ended_turns() for client in clients))
    assert len({json.dumps(client.log()) for client in clients}) == 1
    assert is_unbroken(clients[0].log())
    assert len(clients[0].log()) > 100
    # Each of twelve goes to one of two by a hash of its address: all to one in a run of 2048.
    assert min(spread) > 0


async def test_a_killed_workers_clients_are_back_and_nothing_is_lost(place: Place, container: str) -> None:
    with serve(place) as program:
        assert call("POST", f"{place.url}/api/projects", {"id": "mine", "containerUrl": container})[0] == 201
        acp = f"{place.url}/api/projects/mine/acp"
        with listening(f"{acp}/events?from=start", 8) as clients:
            await until(lambda: all(client.connections for client in clients))
            assert await asyncio.to_thread(prompt, acp, "stream 600") == 202
            await until(lambda: all(len(client.events) > 20 for client in clients))
            for victim in workers(program):
                await kill_and_see_back(victim, clients)
                await until(lambda: len(serving(program)) == 2)
            await until(lambda: all(client.ended_turns() for client in clients), 60)
        assert "worker died" in program.complained()
    assert len({json.dumps(client.log()) for client in clients}) == 1
    assert is_unbroken(clients[0].log())
    assert "gap" not in {event.event for event in clients[0].events}
    assert sum('"agent_message_chunk"' in event.data for event in clients[0].events) == 600


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_to_stop_leaves_no_process(place: Place, number: signal.Signals) -> None:
    with serve(place) as program:
        everything = program.descendants()
        assert len(workers(program)) == 2
        program.process.send_signal(number)
        assert program.wait() == 0
    assert not [process for process in everything if process.is_running()]


def test_a_worker_that_takes_no_signal_is_killed_in_the_end(place: Place) -> None:
    with serve(place, environ={"ACP_GATEWAY_SERVER_SHUTDOWN_TIMEOUT": "0.1"}) as program:
        everything = program.descendants()
        workers(program)[0].suspend()
        program.process.terminate()
        assert program.wait() == 0
    assert not [process for process in everything if process.is_running()]


def test_nothing_outlives_a_supervisor_that_is_killed(place: Place) -> None:
    with serve(place) as program:
        everything = program.descendants()
        program.process.kill()
        program.wait()
        wait_until(lambda: not any(process.is_running() for process in everything), 10)


def scrape(place: Place, timeout: float = 30) -> dict[tuple[str, str], float]:
    """Each worker's samples that have no other labels, by name and worker; and the sum of its requests."""
    with urllib.request.urlopen(f"{place.url}/metrics", timeout=timeout) as answer:
        text = answer.read().decode()
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            worker = sample.labels.get("worker", "")
            if set(sample.labels) == {"worker"} or family.name == "acp_gateway_requests":
                key = sample.name, worker
                found[key] = found.get(key, 0) + sample.value
    return found


def test_a_scrape_of_any_worker_tells_of_all_of_them(place: Place) -> None:
    with serve(place):
        for _ in range(40):
            assert call("GET", f"{place.url}/api/projects")[0] == 200
        # Each request of a scraper is a connection of its own, which the kernel gives to one or the other.
        for scraped in range(6):
            found = scrape(place)
            assert {worker for _, worker in found} == {"0", "1"}
            assert [found["acp_gateway_worker_up", worker] for worker in "01"] == [1, 1]
            # The scrape itself is counted once it is answered.
            assert sum(found.get(("acp_gateway_requests_total", worker), 0) for worker in "01") == 40 + scraped
            assert all(found["process_resident_memory_bytes", worker] > 1e7 for worker in "01")


def test_a_worker_that_is_stuck_is_told_as_not_up_and_the_scrape_ends(place: Place) -> None:
    with serve(place) as program:
        stuck = workers(program)[0]
        stuck.suspend()
        try:
            found: dict[tuple[str, str], float] = {}

            def scraped() -> bool:
                # The kernel may give the connection to the one that is stuck.
                with suppress(OSError):
                    found.update(scrape(place, timeout=5))
                return bool(found)

            wait_until(scraped, 60)
            assert sorted(found["acp_gateway_worker_up", worker] for worker in "01") == [0, 1]
        finally:
            stuck.resume()


def test_workers_that_keep_dying_end_the_whole_with_a_sentence(place: Place) -> None:
    with serve(place) as program:
        everything = program.descendants()
        while program.process.poll() is None:
            # Between two looks any of them may have ended.
            with suppress(psutil.NoSuchProcess):
                for process in workers(program):
                    process.kill()
        assert program.wait() == 1
    sentence = program.complained().splitlines()[-1]
    assert re.match(r"acp-gateway: The workers keep dying: \d times in 30 seconds, the last with SIGKILL\.", sentence)
    assert not [process for process in everything if process.is_running()]


def test_a_port_that_others_share_is_one_sentence(place: Place) -> None:
    with serve(place):
        other = place.directory / "other"
        options = ["--port", str(place.port), "--data-dir", str(other), "--workers", "2"]
        assert "choose another port with --port" in run_to_end("serve", *options, directory=place.directory).sentence()


def test_a_number_of_workers_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    sentence = run_to_end("serve", "--workers", "0", directory=tmp_path).sentence()
    assert sentence == "--workers: must be from 1 to 64, not 0"
