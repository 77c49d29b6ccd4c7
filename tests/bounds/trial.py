"""A gateway that is tried: a watched process of its own, a hostile container in front of it, and a second client."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import attrs
import psutil

from gateway.credentials.keyring import Key
from tests.bounds.watched import Watch
from tests.fakes.hostile import HostileContainer
from tests.program import START_SECONDS, free_ports, run
from tests.world import Gateway

QUIET_SECONDS = 0.3


@attrs.frozen(kw_only=True)
class Cost:
    """What something cost everybody else. Standstill and wait in seconds, growth in bytes."""

    name: str
    standstill: float
    growth: int
    #: How long the second client waited for /healthz at the longest; other work of the machine counts here.
    wait: float
    doing: str
    note: str = ""

    def __str__(self) -> str:
        return (
            f"{self.standstill * 1000:7.0f} ms {self.growth / 2**20:7.1f} MB {self.wait * 1000:7.0f} ms"
            f"  {self.name}  {self.note}"
        )


@attrs.define
class Trial:
    gateway: Gateway
    container: HostileContainer
    process: psutil.Process
    watch: Watch
    stderr: Path
    costs: list[Cost] = attrs.field(factory=list)
    waits: list[float] = attrs.field(factory=list)
    #: Since when waits count, by the monotonic clock: what is prepared before may hold up the second client itself.
    begun: float = 0.0

    @asynccontextmanager
    async def measured(self, name: str, *, quiet: float = QUIET_SECONDS) -> AsyncIterator[list[str]]:
        """What is done inside, and what follows from it until the gateway has nothing to do any more."""
        before = self._begin()
        notes: list[str] = []
        yield notes
        await self._until_quiet(quiet)
        self.costs.append(
            Cost(
                name=name,
                standstill=self.watch.longest,
                growth=max(0, _peak(self.process.pid) - before),
                wait=max(self.waits, default=0.0),
                doing=self.watch.doing,
                note=" ".join(notes),
            )
        )

    def _begin(self) -> int:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        self.watch.begin()
        self.waits.clear()
        self.begun = time.monotonic()
        return self.process.memory_info().rss

    async def _until_quiet(self, seconds: float) -> None:
        """Until it takes less than a quarter of a core for a while."""
        quiet_since, deadline = time.monotonic(), time.monotonic() + 60
        used, at = _cpu(self.process), time.monotonic()
        while time.monotonic() - quiet_since < seconds and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
            before, then = used, at
            used, at = _cpu(self.process), time.monotonic()
            if used - before > 0.25 * (at - then):
                quiet_since = at

    async def ping(self) -> None:
        """The second client."""
        async with aiohttp.ClientSession() as http:
            while True:
                began = time.monotonic()
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"{self.gateway.url}/healthz") as response:
                        await response.read()
                if began >= self.begun:
                    self.waits.append(time.monotonic() - began)
                await asyncio.sleep(0.01)


@asynccontextmanager
async def trial(database_url: str, directory: Path, settings: Mapping[str, str] | None = None) -> AsyncIterator[Trial]:
    figures = directory / "figures"
    watch = Watch(figures)
    port = free_ports(1)
    environ = {
        "ACP_GATEWAY_DATABASE_URL": database_url,
        "ACP_GATEWAY_VAULT_KEYS": Key.make().line(),
        "ACP_GATEWAY_LIMITS_REQUESTS_PER_SECOND": "0",
        **(settings or {}),
    }
    async with HostileContainer() as container:
        with run(
            "serve",
            "--port",
            str(port),
            directory=directory,
            environ=environ,
            module=("tests.bounds.watched", str(figures)),
        ) as program:
            async with asyncio.timeout(None), aiohttp.ClientSession(auto_decompress=False) as http:
                gateway = Gateway(aiohttp.web.Application(), f"http://127.0.0.1:{port}", http)
                async with asyncio.timeout(START_SECONDS):
                    while not await _is_ready(gateway):
                        assert program.process.poll() is None, program.complained()
                        await asyncio.sleep(0.05)
                tried = Trial(gateway, container, psutil.Process(program.process.pid), watch, program.stderr)
                pinging = asyncio.create_task(tried.ping())
                try:
                    yield tried
                finally:
                    pinging.cancel()
                    await asyncio.gather(pinging, return_exceptions=True)


async def _is_ready(gateway: Gateway) -> bool:
    try:
        return (await gateway.call("GET", "/readyz")).status == 200
    except aiohttp.ClientConnectionError:
        return False


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
