"""A client of an event stream that is one socket and nothing else, so that it can read slowly, and cost little."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Self
from urllib.parse import urlsplit

from gateway.wire.sse import SSEEvent, SSEParser


class Reader:
    """An open stream. ``limit`` bounds what is taken from the system ahead of being read."""

    def __init__(self, reader: asyncio.StreamReader, status: int, headers: Mapping[str, str]) -> None:
        self._reader = reader
        self.status = status
        self.headers = headers
        self._is_chunked = headers.get("transfer-encoding") == "chunked"
        self._parser = SSEParser()
        self._waiting: list[SSEEvent] = []

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        last_event_id: str | None = None,
        version: str = "1.1",
        receive_buffer: int | None = None,
        headers: str = "",
    ) -> AsyncIterator[Self]:
        parts = urlsplit(url)
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (parts.hostname, parts.port))
            reader, writer = await asyncio.open_connection(sock=sock, limit=receive_buffer or 65_536)
        except BaseException:
            sock.close()
            raise
        named = "" if last_event_id is None else f"Last-Event-ID: {last_event_id}\r\n"
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        writer.write(f"GET {target} HTTP/{version}\r\nHost: {parts.netloc}\r\n{named}{headers}\r\n".encode())
        try:
            status, answered = await _head(reader)
            yield cls(reader, status, answered)
        finally:
            writer.transport.abort()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def read(self) -> bytes:
        """The next bytes of the body; none at its end. ``IncompleteReadError`` where it is cut off."""
        if not self._is_chunked:
            return await self._reader.read(4096)
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        data = await self._reader.readexactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def events(self) -> list[SSEEvent]:
        """The next events, heartbeats included; none at the end."""
        while not self._waiting and (data := await self.read()):
            self._waiting = [event for event in self._parser.feed(data) if isinstance(event, SSEEvent)]
        found, self._waiting = self._waiting, []
        return found

    async def until(self, type: str) -> list[SSEEvent]:
        """The events up to the first of a type, without heartbeats, unless they are what is waited for."""
        found: list[SSEEvent] = []
        while True:
            events = await self.events()
            assert events, "the stream ended"
            for place, event in enumerate(events, 1):
                if event.event != "heartbeat":
                    found.append(event)
                if event.event == type:
                    self._waiting = events[place:]
                    return found if type != "heartbeat" else [event]


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    status = (await reader.readuntil(b"\r\n")).decode().split()[1]
    headers = {}
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return int(status), headers
