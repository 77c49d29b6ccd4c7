"""Many clients in a process of their own: what they take of the machine is not taken from whoever measures.

``python -m tests.chaos.crowd`` is given one line of JSON, an ``Order``. Those who catch up begin at once, and what they
found is printed in the end, a ``Found``. Those who watch say ``ready`` once all are connected, and go on: for each
further line they print what they have found since the last one.
"""

import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from typing import Any, cast

import attrs

_ID = re.compile(rb"^id: \d+-(\d+)\n", re.MULTILINE)
#: When the container's event was made; see ``Truth``.
_MOMENT = re.compile(rb" @(\d+) ")
COME_BACK_SECONDS = 0.3


@attrs.frozen(kw_only=True)
class Order:
    """``cursors``: one client each, an empty one begins at the head. ``head``: how far they catch up; 0: they watch."""

    addresses: list[tuple[str, int]]
    path: str
    cursors: list[str]
    head: int = 0


@attrs.frozen(kw_only=True)
class Found:
    """``seconds``: until each was served; or how late each event came to those who watch. At p50, at p99, the most."""

    delivered: int
    seconds: tuple[float, float, float]
    statuses: dict[str, int]
    wrong: list[str]


class _Reader(asyncio.Protocol):
    """One client: HTTP/1.0 knows no chunks, so that what comes is the stream itself."""

    def __init__(self, crowd: "_Crowd", address: tuple[str, int], cursor: str) -> None:
        self._crowd = crowd
        self._address = address
        self._cursor = cursor
        self.seq = int(cursor.split("-")[1]) if cursor else -1
        self.is_done = False
        self._begun = False
        self._left = b""

    async def connect(self) -> None:
        self._begun, self._left = False, b""
        await asyncio.get_running_loop().create_connection(lambda: self, *self._address)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        epoch = self._cursor.split("-")[0]
        resume = f"Last-Event-ID: {epoch}-{self.seq}\r\n" if self._cursor else ""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(f"GET {self._crowd.order.path} HTTP/1.0\r\nHost: 127.0.0.1\r\n{resume}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self._left += data
        if not self._begun:
            head, end, rest = self._left.partition(b"\r\n\r\n")
            if not end:
                return
            self._begun, self._left = True, rest
            self._crowd.statuses[head.split(b" ", 2)[1].decode()] += 1
        whole, end, left = self._left.rpartition(b"\n\n")
        if end:
            self._left = left
            self._take(whole)

    def _take(self, blocks: bytes) -> None:
        seqs = list(map(int, _ID.findall(blocks)))
        if self.seq < 0 and seqs:
            self.seq = seqs[0]  # the first block of a stream, a heartbeat that tells where it begins
            self._crowd.opened()
        if seqs != list(range(self.seq + 1, self.seq + 1 + len(seqs))):
            # A heartbeat has the id of the event before it.
            seqs = [seq for place, seq in enumerate(seqs) if seq != (seqs[place - 1] if place else self.seq)]
            if seqs != list(range(self.seq + 1, self.seq + 1 + len(seqs))):
                self._crowd.wrong.append(f"{seqs[:5]} came after {self.seq}")
        if seqs:
            self.seq = seqs[-1]
            self._crowd.delivered += len(seqs)
        if self._crowd.order.head:
            if self.seq >= self._crowd.order.head and not self.is_done:
                self.is_done = True
                self._crowd.served()
                self._transport.abort()
        else:
            now = time.monotonic_ns() // 1000
            self._crowd.late += [now - int(moment) for moment in _MOMENT.findall(blocks)]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.is_done:
            self._crowd.come_back(self)


class _Crowd:
    def __init__(self, order: Order) -> None:
        self.order = order
        self.delivered = 0
        self.statuses: Counter[str] = Counter()
        self.wrong: list[str] = []
        #: Microseconds.
        self.late: list[int] = []
        self._began = time.monotonic_ns() // 1000
        self._unopened = self._unserved = len(order.cursors)
        self.all_open, self.all_served = asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        for number, cursor in enumerate(self.order.cursors):
            self._go(_Reader(self, self.order.addresses[number % len(self.order.addresses)], cursor), 0.0)

    def come_back(self, reader: _Reader) -> None:
        self._go(reader, COME_BACK_SECONDS)

    def opened(self) -> None:
        self._unopened -= 1
        if not self._unopened:
            self.all_open.set()

    def served(self) -> None:
        self.late.append(time.monotonic_ns() // 1000 - self._began)
        self._unserved -= 1
        if not self._unserved:
            self.all_served.set()

    def found(self) -> Found:
        """What was found since the last time."""
        late, self.late = sorted(self.late) or [0], []
        delivered, self.delivered = self.delivered, 0
        wrong, self.wrong = self.wrong, []
        places = (late[len(late) // 2], late[int(len(late) * 0.99)], late[-1])
        seconds = (places[0] / 1e6, places[1] / 1e6, places[2] / 1e6)
        return Found(delivered=delivered, seconds=seconds, statuses=dict(self.statuses), wrong=wrong[:10])

    def _go(self, reader: _Reader, pause: float) -> None:
        task = asyncio.create_task(self._connect(reader, pause))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: _Reader, pause: float) -> None:
        await asyncio.sleep(pause)
        try:
            await reader.connect()
        except OSError:
            self.come_back(reader)


async def _main(order: Order) -> None:
    loop = asyncio.get_running_loop()
    crowd = _Crowd(order)
    await crowd.start()
    if order.head:
        _say("ready")
        await crowd.all_served.wait()
        _print(crowd.found())
        return
    await crowd.all_open.wait()
    _say("ready")
    while await loop.run_in_executor(None, sys.stdin.readline):
        _print(crowd.found())


def _print(found: Found) -> None:
    _say(json.dumps(attrs.asdict(found)))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Crowd:
    """Such a process, as who started it sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def found(self, *, seconds: float = 60.0, ask: bool = False) -> Found:
        """What its clients found; ``ask``: those who watch are asked."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if ask:
            self._process.stdin.write(b"\n")
        async with asyncio.timeout(seconds):
            line = await self._process.stdout.readline()
        assert line, "a crowd of clients has died"
        return Found(**json.loads(line))


@asynccontextmanager
async def crowd(order: Order) -> AsyncIterator[Crowd]:
    """So many clients, connected, or on their way to catch up."""
    arguments = [sys.executable, "-m", "tests.chaos.crowd"]
    pipe: Any = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*arguments, stdin=pipe, stdout=pipe, limit=2**20)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(attrs.asdict(order)).encode() + b"\n")
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"ready\n", "a crowd of clients has not come"
        yield Crowd(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


if __name__ == "__main__":
    setrlimit(RLIMIT_NOFILE, (getrlimit(RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(_main(Order(**json.loads(sys.stdin.readline()))))
