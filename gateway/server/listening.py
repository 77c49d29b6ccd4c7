"""Accepts connections, and continues after descriptors ran out.

asyncio's and uvloop's servers do not: uvloop's closes its listening socket for good at the first failure, and both take
the last descriptor, so that running work (database, containers) finds none. Here clients wait in the kernel's queue
while fewer than ``RESERVED`` descriptors are left.
"""

import asyncio
import errno
import logging
import os
import resource
import socket
import time
from contextlib import suppress
from weakref import WeakSet

from aiohttp import web

from gateway.server.heads import Connection

logger = logging.getLogger(__name__)

#: Descriptors kept for connections to PostgreSQL and to containers, and for files.
RESERVED = 64
RETRY_SECONDS = 0.1
#: How long a stopping server waits for clients to read the last bytes.
FLUSH_SECONDS = 1.0
#: Connections that are accepted in a row before other work runs.
_BURST = 64
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


_Connection = tuple[asyncio.Transport, asyncio.BaseProtocol]

#: The limit that a gateway requests: each stream needs one.
WANTED = 65_536


def allow_descriptors() -> None:
    """Raise this process's limit, often 1,024, as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS has a limit beyond the hard one.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Accepting(web.BaseSite):
    """A site of an ``AppRunner`` on a listening socket, which it closes when it stops."""

    __slots__ = ("_lowest_reserved", "_opened", "_opening", "_paused", "_sock", "_waiting")

    def __init__(self, runner: web.AppRunner, sock: socket.socket) -> None:
        super().__init__(runner)
        self._sock = sock
        self._lowest_reserved = _descriptor_limit() - RESERVED
        self._opening: set[asyncio.Task[_Connection]] = set()
        self._opened: WeakSet[asyncio.Transport] = WeakSet()
        self._waiting: asyncio.TimerHandle | None = None
        self._paused = False

    @property
    def name(self) -> str:
        return str(self._sock.getsockname())

    @property
    def port(self) -> int:
        port: int = self._sock.getsockname()[1]
        return port

    async def start(self) -> None:
        await super().start()
        self._sock.setblocking(False)
        asyncio.get_running_loop().add_reader(self._sock, self._accept)

    async def stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sock)
        if self._waiting is not None:
            self._waiting.cancel()
        self._sock.close()
        if self._opening:
            await asyncio.wait(self._opening)
        await super().stop()

    async def finish(self) -> None:
        """Close all connections: a closed one stays open until its client has read the rest.

        Clients that read have a moment for that.
        """
        end = time.monotonic() + FLUSH_SECONDS
        # A transport does not report when it has written everything.
        while any(transport.get_write_buffer_size() for transport in self._opened) and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for transport in list(self._opened):
            transport.abort()

    def _accept(self) -> None:
        for _ in range(_BURST):
            try:
                if self._is_short():
                    self._pause("few descriptors are left")
                    return
                client, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                if exc.errno in _EXHAUSTED:
                    self._pause(str(exc.strerror))
                    return
                continue  # that client has gone before its turn came (ECONNABORTED and its like, accept(2))
            self._paused = False
            self._open(client)

    def _is_short(self) -> bool:
        # The kernel returns the lowest free number.
        probe = os.dup(self._sock.fileno())
        os.close(probe)
        return probe >= self._lowest_reserved

    def _pause(self, reason: str) -> None:
        """Leave clients in the kernel's queue for a moment; a readable socket would be reported again at once."""
        if not self._paused:
            logger.warning("connections wait to be accepted", extra={"reason": reason})
        self._paused = True
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        self._waiting = loop.call_later(RETRY_SECONDS, loop.add_reader, self._sock, self._accept)

    def _open(self, client: socket.socket) -> None:
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opening = asyncio.get_running_loop().connect_accepted_socket(self._connection, client)
        task: asyncio.Task[_Connection] = asyncio.create_task(opening, name="open connection")
        self._opening.add(task)
        task.add_done_callback(self._note)

    def _connection(self) -> Connection:
        assert self._runner.server is not None
        return Connection(self._runner.server)

    def _note(self, task: asyncio.Task[_Connection]) -> None:
        self._opening.discard(task)
        if task.cancelled():
            return
        if task.exception() is not None:
            logger.warning("connection not opened", extra={"error": str(task.exception())})
        else:
            self._opened.add(task.result()[0])


def _descriptor_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 2**31
