"""Many readers of event streams in one process: they count what comes, and a few of them how late.

``python -m bench.listeners EXPECTED SECONDS URL=CLIENTS …`` prints ``ready`` once every stream is open, and a JSON line
with a ``Heard`` once each reader has ``EXPECTED`` events or ``SECONDS`` are over.
"""

import asyncio
import json
import re
import statistics
import sys
from typing import cast
from urllib.parse import urlsplit

import attrs
import uvloop

from bench.events import DIGITS, MARK, moment

#: One reader in so many measures each event's delay; the others count.
SAMPLED = 20
_MOMENT = re.compile(MARK + rb"(\d{%d})" % DIGITS)


@attrs.frozen(kw_only=True)
class Heard:
    """What all readers got; ``seconds`` from the first event to the last, delays in milliseconds."""

    events: int
    wanted: int
    seconds: float
    p50: float
    p99: float
    slowest: float

    @property
    def rate(self) -> float:
        """Events delivered a second, to all readers together."""
        return self.events / self.seconds if self.seconds else 0.0


class Reader(asyncio.Protocol):
    """One stream."""

    def __init__(self, target: str, host: str, room: "Room", *, sampled: bool) -> None:
        self._request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n".encode()
        self._room = room
        self._tail = b""
        self._open = False
        self.count = 0
        self.delays: list[int] | None = [] if sampled else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._open:
            self._open = True
            assert data.startswith(b"HTTP/1.1 200"), data[:200]
            self._room.opened()
        if self.delays is None:
            found = data.count(MARK) + (self._tail + data[: len(MARK) - 1]).count(MARK)
            self._tail = (self._tail + data)[1 - len(MARK) :] if len(data) < len(MARK) else data[1 - len(MARK) :]
        else:
            found = self._measure(data)
        if found:
            self.count += found
            self._room.heard(self)

    def _measure(self, data: bytes) -> int:
        now, data = moment(), self._tail + data
        end = found = 0
        for match in _MOMENT.finditer(data):
            cast(list[int], self.delays).append(now - int(match[1]))
            end, found = match.end(), found + 1
        self._tail = data[max(end, len(data) - len(MARK) - DIGITS + 1) :]
        return found


class Room:
    """All readers, and whether they have got all."""

    def __init__(self, expected: int, clients: int) -> None:
        self._expected = expected
        self._unopened = self._unfinished = clients
        self.ready = asyncio.Event()
        self.done = asyncio.Event()
        self.first = self.last = 0

    def opened(self) -> None:
        self._unopened -= 1
        if not self._unopened:
            self.ready.set()

    def heard(self, reader: Reader) -> None:
        self.last = moment()
        self.first = self.first or self.last
        if reader.count == self._expected:
            self._unfinished -= 1
            if not self._unfinished:
                self.done.set()


async def main(expected: int, seconds: float, targets: dict[str, int]) -> Heard:
    room = Room(expected, sum(targets.values()))
    loop = asyncio.get_running_loop()
    readers: list[Reader] = []
    for url, clients in targets.items():
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        for number in range(clients):
            reader = Reader(target, parts.netloc, room, sampled=clients < SAMPLED or number % SAMPLED == 0)
            await loop.create_connection(lambda reader=reader: reader, parts.hostname, parts.port)
            readers.append(reader)
    async with asyncio.timeout(60):
        await room.ready.wait()
    print("ready", flush=True)
    try:
        async with asyncio.timeout(seconds):
            await room.done.wait()
    except TimeoutError:
        pass
    delays = sorted(delay / 1000 for reader in readers for delay in reader.delays or ())
    cuts = statistics.quantiles(delays, n=100) if len(delays) > 1 else [0.0] * 99
    return Heard(
        events=sum(reader.count for reader in readers),
        wanted=expected * len(readers),
        seconds=(room.last - room.first) / 1e6,
        p50=cuts[49],
        p99=cuts[98],
        slowest=delays[-1] if delays else 0.0,
    )


def _targets(arguments: list[str]) -> dict[str, int]:
    pairs = (argument.rpartition("=") for argument in arguments)
    return {url: int(clients) for url, _, clients in pairs}


if __name__ == "__main__":
    heard = uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), _targets(sys.argv[3:])))
    print(json.dumps(attrs.asdict(heard)))
