"""The product as it is delivered, in front of containers that a benchmark directs."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import attrs
import psutil

from bench.listeners import Heard, listeners
from bench.processes import cpu_seconds, free_port, running
from gateway.db.embedded import EmbeddedPostgres
from tests.postgres import use_chosen

use_chosen(os.environ)


@attrs.frozen(kw_only=True)
class World:
    """A gateway, its PostgreSQL, and the containers behind it."""

    url: str
    containers: str
    database_url: str
    process: psutil.Process
    postgres: psutil.Process

    def project(self, name: str) -> "Project":
        """A project in front of a container of its own, with a session."""
        address = f"{self.containers}/{name}"
        new = {"id": name, "containerUrl": address, "acpUrl": address, "defaultAgentId": "demo"}
        call(f"{self.url}/api/projects", new)
        return Project(acp=f"{self.url}/api/projects/{name}/acp", container=address, session="").with_session()

    def cpu_seconds(self) -> float:
        """What the gateway and its PostgreSQL have used."""
        return cpu_seconds(self.process) + cpu_seconds(self.postgres)


@attrs.frozen(kw_only=True)
class Project:
    """A registered project, and its newest session."""

    acp: str
    container: str
    session: str

    def with_session(self) -> Self:
        return attrs.evolve(self, session=call(f"{self.acp}/session", {})["id"])

    def emit(self, count: int, rate: float) -> None:
        """Have the container send events of the newest session; 0: as fast as they are taken."""
        call(f"{self.container}/emit", {"count": count, "rate": rate})

    def head(self) -> int:
        """The seq of the log's newest event."""
        cursor: str = call(f"{self.acp}/session/{self.session}")["cursor"]
        return int(cursor.split("-")[1])

    def fill(self, count: int, *, seconds: float = 120) -> float:
        """Have so many events in the log, as fast as they are taken; how many seconds it took."""
        began, end = time.monotonic(), self.head() + count
        self.emit(count, 0)
        while self.head() < end:
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"{end - self.head()} of {count} events are not in the log after {seconds:g} s")
            time.sleep(0.05)
        return time.monotonic() - began


@contextmanager
def world(**settings: str) -> Iterator[World]:
    """The gateway with its defaults but for ``settings``, on a PostgreSQL with its defaults, both on this machine.

    A setting is named as in its variable: ``events_pack_after``.
    """
    with postgres() as server, containers() as address:
        assert server.pid is not None
        port = free_port()
        command = [sys.executable, "-m", "gateway", "serve", "--port", str(port)]
        url = f"http://127.0.0.1:{port}"
        environment = {f"ACP_GATEWAY_{name.upper()}": value for name, value in settings.items()}
        environment["ACP_GATEWAY_DATABASE_URL"] = server.url
        # One user does all of it, and says nothing of who that is.
        environment.setdefault("ACP_GATEWAY_LIMITS_REQUESTS_PER_SECOND", "0")
        environment["ACP_GATEWAY_IDENTITY_MODES"] = "local"
        with running(command, answers=f"{url}/api/projects", environment=environment) as process:
            yield World(
                url=url,
                containers=address,
                database_url=server.url,
                process=process,
                postgres=psutil.Process(server.pid),
            )


@contextmanager
def postgres() -> Iterator[EmbeddedPostgres]:
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        Path(home).chmod(0o711)  # PostgreSQL runs as another user where the gateway runs as root
        server = EmbeddedPostgres.start(Path(home) / "data")
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def containers() -> Iterator[str]:
    """The address below which each name is a container."""
    with subprocess.Popen([sys.executable, "-m", "bench.container"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


@contextmanager
def listening(targets: dict[str, int], *, expected: int, seconds: float) -> Iterator["subprocess.Popen[str]"]:
    """So many readers of each URL, all open once this is entered; ``heard`` tells what they got."""
    pairs = [f"{url}={clients}" for url, clients in targets.items()]
    command = [str(listeners()), str(expected), str(seconds), *pairs]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError("the readers did not open their streams")
            yield process
        finally:
            process.terminate()


def heard(process: "subprocess.Popen[str]") -> Heard:
    assert process.stdout is not None
    return Heard(**json.loads(process.stdout.readline()))


def call(url: str, body: Any = None) -> Any:
    """POST with a body, else GET; the answer's JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())
