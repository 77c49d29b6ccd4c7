"""A TCP (or Unix socket) proxy that can stand between any two, and be a bad network.

Loss is not to be had in a proxy above TCP; to those above, it is delay and jitter, and in the end a broken connection.
"""

import asyncio
import random
import socket
import struct
from contextlib import suppress
from pathlib import Path

import attrs

Place = tuple[str, int] | Path


@attrs.define
class Weather:
    """How the network is just now, both ways. Times in seconds."""

    latency: float = 0.0
    jitter: float = 0.0
    #: Bytes a second for each connection and direction; 0 is no limit.
    rate: int = 0
    #: Nothing gets through, and nobody is told.
    black_hole: bool = False
    #: New connections are cut after so many bytes from the server.
    cut_after: int | None = None


class ChaosProxy:
    """Listens on ``port`` (or the Unix socket ``listen``) and carries to ``upstream``."""

    def __init__(self, upstream: Place, rng: random.Random, *, listen: Path | None = None) -> None:
        self.upstream = upstream
        self.weather = Weather()
        self.port = 0
        self._listen = listen
        self._rng = rng
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        if self._listen is not None:
            self._server = await asyncio.start_unix_server(self._begin, self._listen)
            return
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.reset_all()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def reset_all(self) -> int:
        """Break all connections, with RST where that is to be had; how many."""
        broken = len(self._writers)
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return broken

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with suppress(OSError):
                await self._connect(reader, writer)
        finally:
            writer.transport.abort()
            self._writers.discard(writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(self.upstream, Path):
            far_reader, far_writer = await asyncio.open_unix_connection(self.upstream)
        else:
            far_reader, far_writer = await asyncio.open_connection(*self.upstream)
        self._writers.add(far_writer)
        ways = [
            asyncio.create_task(self._way(reader, far_writer, None)),
            asyncio.create_task(self._way(far_reader, writer, self.weather.cut_after)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            far_writer.transport.abort()
            self._writers.discard(far_writer)

    async def _way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None) -> None:
        with suppress(OSError):
            while data := await reader.read(16384):
                weather = self.weather
                if weather.latency or weather.jitter:
                    await asyncio.sleep(weather.latency + self._rng.uniform(0, weather.jitter))
                if weather.rate:
                    await asyncio.sleep(len(data) / weather.rate)
                while self.weather.black_hole:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                if left is not None:
                    data, left = data[:left], left - len(data)
                writer.write(data)
                await writer.drain()
                if left is not None and left <= 0:
                    return
