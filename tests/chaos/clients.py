"""Clients in raw Python that follow EventSource's rules, and record all that they were told."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import attrs

from tests.chaos.truth import checksum

#: A client that hears no heartbeat for so long takes its connection for dead.
SILENCE_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 5.0
_NUMBERS = itertools.count(1)

Address = tuple[str, int]


@attrs.frozen
class Told:
    """An event as a client got it."""

    epoch: int
    seq: int
    type: str
    sum: int
    at: float


@attrs.frozen
class Began:
    """The place at which a client's record begins: its first id, or what a ``reset`` told it."""

    epoch: int
    seq: int
    is_reset: bool


@attrs.define(eq=False)
class Client:
    """Reads one stream, coming back with its last id: to another replica where one is away."""

    #: The replicas' addresses just now.
    replicas: Callable[[], list[Address]]
    path: str
    rng: random.Random
    session_id: str | None = None
    #: Events in order; a ``Began`` stands where the record begins, and at each ``reset``.
    record: list[Told | Began] = attrs.field(factory=list)
    last_id: str = ""
    statuses: Counter[int] = attrs.field(factory=Counter)
    #: When each connection was lost, and when the next one brought its first block.
    lost_at: float | None = None
    away: list[float] = attrs.field(factory=list)
    connections: int = 0
    #: By which its gateway is found; 0 while there is no connection.
    target: Address = ("", 0)
    heard_at: float = 0.0
    name: int = attrs.field(factory=lambda: next(_NUMBERS))
    _retry: float = 1.0
    _writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        """Until cancelled."""
        order = self.rng.randrange(100)
        while True:
            addresses = self.replicas()
            answered = False
            if addresses:
                target = addresses[order % len(addresses)]
                # What ends a connection is no concern of a client: it comes back.
                with suppress(OSError, EOFError, TimeoutError, ValueError):
                    answered = await self._listen(target)
            self._disconnected()
            if answered:
                await asyncio.sleep(self._retry * self.rng.uniform(0.8, 1.0))
            else:
                # A load balancer would try the next one at once.
                order += 1
                await asyncio.sleep(0.05 if addresses else 0.2)

    @property
    def seq(self) -> int:
        """The newest place it knows."""
        return int(self.last_id.split("-")[1]) if self.last_id else -1

    def disconnect(self) -> None:
        """Break its connection from its own side."""
        if self._writer is not None:
            self._writer.transport.abort()

    def told(self) -> list[Told]:
        return [entry for entry in self.record if isinstance(entry, Told)]

    async def _listen(self, target: Address) -> bool:
        """Whether the server answered at all."""
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(*target, limit=2**22)
        self._writer, self.target = writer, target
        try:
            resume = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
            host = f"{target[0]}:{target[1]}"
            writer.write(f"GET {self.path} HTTP/1.1\r\nHost: {host}\r\n{resume}\r\n".encode())
            async with asyncio.timeout(CONNECT_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            self.statuses[status] += 1
            if status == 200:
                self.connections += 1
                await self._read(reader)
            return True
        finally:
            writer.transport.abort()
            self._writer = None

    async def _read(self, reader: asyncio.StreamReader) -> None:
        left = b""
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                size = int(await reader.readline() or b"0", 16)
                data = await reader.readexactly(size + 2)
            if not size:
                return
            *blocks, left = (left + data[:-2]).split(b"\n\n")
            now = time.monotonic()
            for block in blocks:
                self._take(block, now)

    def _take(self, block: bytes, now: float) -> None:
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line and line[:1] != b":")
        self.heard_at = now
        if self.lost_at is not None:
            self.away.append(now - self.lost_at)
            self.lost_at = None
        if b"retry" in fields:
            self._retry = int(fields[b"retry"]) / 1000
        if b"id" not in fields:
            return
        self.last_id = fields[b"id"].decode()
        epoch, seq = map(int, self.last_id.split("-"))
        type = fields.get(b"event", b"message").decode()
        if type == "reset" or not self.record:
            self.record.append(Began(epoch, seq, is_reset=type == "reset"))
        if type not in ("heartbeat", "reset"):
            if len(self.record) == 1 and isinstance(self.record[0], Began) and self.record[0].seq == seq:
                self.record[0] = Began(epoch, seq - 1, is_reset=False)
            self.record.append(Told(epoch, seq, type, checksum(fields[b"data"]), now))

    def _disconnected(self) -> None:
        self.target = ("", 0)
        if self.lost_at is None and self.connections:
            self.lost_at = time.monotonic()
