"""A TCP relay in front of PostgreSQL's Unix socket that can fail in the ways that networks do."""

import asyncio
from contextlib import suppress
from types import TracebackType
from urllib.parse import parse_qs, urlsplit


class Relay:
    """Use as ``async with``. ``silent``: takes connections and bytes, and says nothing.

    ``cut_after(marker)``: once, when the client sends ``marker``, PostgreSQL gets it, its answer is dropped and the
    connection cut. ``cut_before(marker)``: the connection is cut and PostgreSQL does not get it.
    """

    def __init__(self, url: str, *, host: str = "127.0.0.1", silent: bool = False):
        self.lead_to(url)
        self._url = url
        self._host = host
        self.silent = silent
        self._cut_after: bytes | None = None
        self._cut_before: bytes | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        #: How many connections it took.
        self.accepted = 0

    async def __aenter__(self) -> "Relay":
        self._server = await asyncio.start_server(self._accept, self._host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """The same database, through here."""
        parts = urlsplit(self._url)
        return f"postgresql://{parts.username}@{self._host}:{self.port}{parts.path}"

    def lead_to(self, url: str) -> None:
        """New connections lead to this server."""
        self._socket = parse_qs(urlsplit(url).query)["host"][0] + "/.s.PGSQL.5432"

    async def go_away(self) -> None:
        """Break every connection and refuse new ones, as a stopped server does, until ``come_back``."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def come_back(self) -> None:
        self._server = await asyncio.start_server(self._accept, self._host, self.port)

    def cut_after(self, marker: bytes) -> None:
        self._cut_after = marker

    @property
    def has_cut(self) -> bool:
        """Whether what was to be cut has been."""
        return self._cut_after is None and self._cut_before is None

    def cut_before(self, marker: bytes) -> None:
        self._cut_before = marker

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.ensure_future(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._socket)
        answers = asyncio.create_task(self._answer(server_reader, writer))
        try:
            with suppress(ConnectionError):
                if await self._forward(reader, server_writer):
                    # Until PostgreSQL has done it; the client hears nothing of that.
                    answers.cancel()
                    await asyncio.wait((answers,))
                    await asyncio.wait_for(server_reader.read(1), 10)
        finally:
            answers.cancel()
            writer.transport.abort()
            server_writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> bool:
        """Until the client hangs up or it is time to cut; True if PostgreSQL's answer must be swallowed first."""
        while data := await reader.read(65536):
            if self.silent:
                continue
            if self._cut_before is not None and self._cut_before in data:
                self._cut_before = None
                return False
            server.write(data)
            await server.drain()
            if self._cut_after is not None and self._cut_after in data:
                self._cut_after = None
                return True
        return False

    async def _answer(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await server.read(65536):
                if not self.silent:
                    client.write(data)
                    await client.drain()
            client.close()
