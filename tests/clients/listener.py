"""A client that people use, as a program of its own that says what it receives."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs

HERE = Path(__file__).parent


@attrs.frozen
class Received:
    """An event as a client's user sees it."""

    id: str
    type: str
    data: str


@attrs.define
class Listener:
    """What a running client has received, heartbeats apart."""

    name: str
    received: list[Received] = attrs.field(factory=list)
    heartbeats: int = 0
    changed: asyncio.Event = attrs.field(factory=asyncio.Event)
    #: Why it ended, if it has.
    ended: str | None = None

    def take(self, id: str, type: str, data: str) -> None:
        if type == "heartbeat":
            self.heartbeats += 1
        else:
            self.received.append(Received(id, type, data))
        self.changed.set()

    def count(self, type: str) -> int:
        return sum(event.type == type for event in self.received)

    async def until(self, type: str, count: int) -> None:
        """Wait until it has received so many events of a type."""
        while self.count(type) < count:
            assert self.ended is None, f"{self.name} ended: {self.ended}"
            self.changed.clear()
            await self.changed.wait()


def httpx_sse(url: str) -> list[str]:
    return [sys.executable, str(HERE / "listen_httpx.py"), url]


def sseclient_py(url: str) -> list[str]:
    return [sys.executable, str(HERE / "listen_sseclient.py"), url]


def npm_eventsource(url: str, node: Path, packages: Path, types: Sequence[str]) -> list[str]:
    return [str(node), str(HERE / "listen_eventsource.mjs"), str(packages), url, *types]


@asynccontextmanager
async def listening(name: str, command: Sequence[str]) -> AsyncIterator[Listener]:
    """The client that ``command`` runs, from now on."""
    listener = Listener(name)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=2**24
    )
    reading = asyncio.create_task(_read(process, listener), name=f"read {name}")
    try:
        yield listener
    finally:
        if process.returncode is None:
            process.kill()
        await reading


async def _read(process: asyncio.subprocess.Process, listener: Listener) -> None:
    assert process.stdout is not None
    assert process.stderr is not None
    async for line in process.stdout:
        listener.take(*json.loads(line))
    complaint = (await process.stderr.read()).decode(errors="replace")
    listener.ended = f"status {await process.wait()}: {complaint}"
    listener.changed.set()
