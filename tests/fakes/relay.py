"""A TCP relay in front of a server, or of several of which any will do, whose connections a test can cut."""

import asyncio
import random
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit


class Relay:
    """``async with Relay(url) as relay``: ``relay.url`` leads to the same server; of several, to one that lives."""

    def __init__(self, *urls: str) -> None:
        self._addresses = [(address.hostname, address.port) for address in map(urlsplit, urls)]
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        #: A piece of a request: the next one that has it arrives, and its connection is cut when the answer comes.
        self.lose_answer_to: bytes | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut_streams()
        if self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut_streams(self) -> None:
        """Abort every connection that is open now."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        up = await self._connect()
        if up is None:
            writer.transport.abort()
            return
        up_reader, up_writer = up
        both = {writer, up_writer}
        self._writers |= both
        try:
            lost = asyncio.Event()
            await asyncio.gather(self._pump_up(reader, up_writer, lost), _pump_down(up_reader, writer, lost))
        except OSError:
            pass  # cut, by the test or by either end
        finally:
            self._writers -= both
            for one in both:
                one.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for host, port in random.sample(self._addresses, len(self._addresses)):
            with suppress(OSError):
                return await asyncio.open_connection(host, port)
        return None

    async def _pump_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if self.lose_answer_to is not None and self.lose_answer_to in data:
                self.lose_answer_to = None
                lost.set()
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def _pump_down(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
    while data := await reader.read(65536):
        if lost.is_set():
            raise ConnectionAbortedError
        writer.write(data)
        await writer.drain()
    writer.write_eof()
