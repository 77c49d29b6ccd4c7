"""What really runs: a durable PostgreSQL, and gateways as processes of their own, ended by pid."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from resource import RLIMIT_DATA, RLIMIT_NOFILE, setrlimit
from typing import Any
from urllib.parse import quote

import attrs
import psutil
import psycopg2

from gateway.db.embedded import EmbeddedPostgres
from gateway.db.migrate import migrate
from tests.chaos.clients import Address
from tests.conftest import administer, with_database
from tests.program import environment, free_ports

ROOT = Path(__file__).parents[2]
#: Quicker than the defaults, so that a row takes seconds; what must hold is told in leases.
LEASE, HEARTBEAT, RETRY = 2.0, 0.5, 0.5
START_SECONDS = 60.0
MAX_CONNECTIONS = 60


class Postgres:
    """One server for a run of the suite, with a database for each scenario."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="acp-chaos-"))
        self.directory.chmod(0o755)
        self._numbers = count(1)
        self._server = self._started()
        administer(self._server.url, "create database {}", "template_chaos")
        migrate(with_database(self._server.url, "template_chaos"))

    def _started(self) -> EmbeddedPostgres:
        settings = {"max_connections": str(MAX_CONNECTIONS)}
        return EmbeddedPostgres.start(self.directory / "data", settings=settings)

    def create_database(self) -> str:
        name = f"chaos_{next(self._numbers)}"
        administer(self._server.url, "create database {} template template_chaos", name)
        return with_database(self._server.url, name)

    def cpu_seconds(self) -> float:
        """What all its processes have used, those included that have ended."""
        return _cpu_seconds(psutil.Process(self._server.pid))

    def hold_commits(self, held: bool) -> None:
        """Have each commit wait, stored already, for a standby that there is not; or no more."""
        administer(self._server.url, "alter system set synchronous_standby_names = " + ("'nobody'" if held else "''"))
        administer(self._server.url, "select pg_reload_conf()")

    @property
    def socket(self) -> Path:
        return self.directory / "data" / "run" / ".s.PGSQL.5432"

    def through(self, directory: Path, url: str) -> str:
        """The same database by way of a proxy's socket in ``directory``."""
        return f"{url.split('?')[0]}?host={quote(str(directory), safe='')}"

    def stop_at_once(self) -> None:
        """As `pg_ctl stop -m immediate`: no checkpoint, recovery at the next start."""
        assert self._server.pid is not None
        os.kill(self._server.pid, signal.SIGQUIT)
        while self._server.pid is not None:
            time.sleep(0.01)
        self._server.stop()

    def start(self) -> None:
        self._server = self._started()

    def copy(self, url: str) -> str:
        """A backup: another database with what this one holds now; nobody may be connected to it."""
        name, other = url.split("?")[0].rsplit("/", 1)[1], f"chaos_{next(self._numbers)}"
        administer(self._server.url, "create database {} template {}", other, name)
        return with_database(self._server.url, other)

    def stop(self) -> None:
        self._server.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def query(url: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Rows of a statement of the harness's own, on a connection of its own."""
    connection = psycopg2.connect(url, application_name="chaos")
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@attrs.frozen
class Usage:
    descriptors: int
    rss: int


@attrs.define(eq=False)
class GatewayServer:
    """One replica: ``acp-gateway serve`` on a port of its own."""

    database_url: str
    directory: Path
    port: int = attrs.field(factory=lambda: free_ports(1))
    settings: dict[str, str] = attrs.field(factory=dict)
    #: What is run with the command's arguments.
    command: Sequence[str] = (sys.executable, "-m", "gateway")
    #: Further ones of ``serve``.
    options: Sequence[str] = ()
    descriptors: int | None = None
    #: Bytes of memory of its own that the kernel lets it have (``RLIMIT_DATA``: all that is private and writable).
    memory: int | None = None
    process: subprocess.Popen[bytes] | None = None
    #: Nobody is sent to one that is not meant to be there.
    is_meant_to_run: bool = False

    @property
    def address(self) -> Address:
        return ("127.0.0.1", self.port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.directory / f"gateway-{self.port}.log"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        variables = {
            "ACP_GATEWAY_DATABASE_URL": self.database_url,
            "ACP_GATEWAY_DATABASE_POOL_SIZE": "6",
            "ACP_GATEWAY_EVENTS_LEASE": str(LEASE),
            "ACP_GATEWAY_EVENTS_HEARTBEAT": str(HEARTBEAT),
            "ACP_GATEWAY_EVENTS_RETRY": str(RETRY),
            "ACP_GATEWAY_SERVER_SHUTDOWN_TIMEOUT": "2",
            # One user does all of it.
            "ACP_GATEWAY_LIMITS_REQUESTS_PER_SECOND": "0",
            **self.settings,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, "serve", "--port", str(self.port), *self.options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=environment(self.directory, variables),
                start_new_session=True,
                preexec_fn=self._limit if self.descriptors or self.memory else None,
            )
        self.is_meant_to_run = True

    async def ready(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self.is_running, f"gateway on {self.port} ended: {self.log.read_text()[-2000:]}"
            with suppress(OSError, EOFError):
                reader, writer = await asyncio.open_connection(*self.address)
                writer.write(b"GET /api/projects HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                line = await reader.readline()
                writer.close()
                if b" 200 " in line:
                    return
            assert time.monotonic() < deadline, f"gateway on {self.port} was not ready"
            await asyncio.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.is_meant_to_run = False
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    async def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        self.is_meant_to_run = False
        if self.is_running:
            self.signal(signal.SIGTERM)
            await until(lambda: not self.is_running, 30)

    def end(self) -> None:
        """Whatever state it is in."""
        if self.is_running:
            self.kill()

    def usage(self) -> Usage:
        processes = self._processes()
        return Usage(
            sum(process.num_fds() for process in processes), sum(process.memory_info().rss for process in processes)
        )

    def cpu_seconds(self) -> float:
        assert self.process is not None
        return _cpu_seconds(psutil.Process(self.process.pid))

    def peak(self) -> int:
        """The most bytes that it had in memory since it started (proc(5), VmHWM)."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def reads_from(self, ports: list[int]) -> bool:
        """Whether one of these local ports is this process's: whether it follows the container."""
        if not self.is_running:
            return False
        with suppress(psutil.NoSuchProcess):
            connections = [one for process in self._processes() for one in process.net_connections("tcp")]
            return any(connection.laddr.port in ports for connection in connections)
        return False

    def _processes(self) -> list[psutil.Process]:
        """The program, and its workers where it has any."""
        assert self.process is not None
        program = psutil.Process(self.process.pid)
        return [program, *program.children()]

    def _limit(self) -> None:
        if self.descriptors is not None:
            setrlimit(RLIMIT_NOFILE, (self.descriptors, self.descriptors))
        if self.memory is not None:
            setrlimit(RLIMIT_DATA, (self.memory, self.memory))


def _cpu_seconds(process: psutil.Process) -> float:
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


async def until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "") -> float:
    """Wait for a condition; how long it took. ``AssertionError`` where it does not come true."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s: {what or condition.__name__}"
        await asyncio.sleep(0.02)
    return time.monotonic() - began
