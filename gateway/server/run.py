"""Run applications on sockets until a signal says stop."""

import asyncio
import ctypes
import errno
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import web

from gateway.errors import StartError
from gateway.proxy.options import SERVER_OPTIONS
from gateway.server.listening import Accepting
from gateway.web.leaving import LEAVE

logger = logging.getLogger(__name__)

BACKLOG = 1024
#: Seconds that stopping may take beyond the time for requests; then what still runs is abandoned.
GRACE = 5.0
#: How long a connection may be without a complete request: idle, or with a slow head (aiohttp has no limit for that
#: alone). More than nginx's, which would otherwise send into a closing one.
IDLE_SECONDS = 75.0
#: M_MMAP_THRESHOLD and M_ARENA_MAX of glibc's malloc.h: bytes, and heaps of threads.
_MALLOC = {-3: 300_000, -8: 1}
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_PORT_IS_WRONG = (errno.EADDRINUSE, errno.EACCES)


def bind(host: str, port: int, *, purpose: str, option: str) -> socket.socket:
    """A listening socket; ``StartError`` in one sentence if the address is not available."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as exc:
        # Some texts have the address already: create_server appends it to strerror.
        reason = (exc.strerror or str(exc)).split(" (while", 1)[0].lower()
        advice = f"choose another port with {option} PORT" if exc.errno in _PORT_IS_WRONG else "choose another address"
        raise StartError(f"{purpose} cannot listen on {address(host, port)}: {reason}; {advice}") from exc


def bind_shared(host: str, port: int, count: int, *, purpose: str, option: str) -> list[socket.socket]:
    """Listening sockets of ``count`` processes on one port; the kernel divides connections among them evenly.

    A single shared socket would give most of a burst to the first that wakes, and streams stay where they began.
    Clients in the queue of a process that died wait for the next one with its socket.
    """
    # This fails if the port is in use; those below would not for a process of the same user.
    sock = bind(host, port, purpose=purpose, option=option)
    if count == 1:
        return [sock]
    sock.close()
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return [socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=True) for _ in range(count)]


def address(host: str, port: int) -> str:
    """``host:port`` as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@asynccontextmanager
async def serving(app: web.Application, sock: socket.socket, *, shutdown_timeout: float) -> AsyncIterator[None]:
    """``app`` answers on ``sock`` while this is open; requests have ``shutdown_timeout`` after that.

    An application with ``LEAVE`` is told before.
    """
    # aiohttp uses it twice: for requests to end, and for their handlers after cancellation.
    runner = web.AppRunner(
        app, access_log=None, shutdown_timeout=shutdown_timeout / 2, keepalive_timeout=IDLE_SECONDS, **SERVER_OPTIONS
    )
    site: Accepting | None = None
    try:
        await runner.setup()
        site = Accepting(runner, sock)
        await site.start()
        yield
        if leave := app.get(LEAVE):
            await leave()
    finally:
        # Streams are told to reconnect first, which takes this long at most, too.
        await _clean_up(runner, 2 * shutdown_timeout + GRACE)
        if site is not None:
            await site.finish()
        sock.close()


async def _clean_up(runner: web.AppRunner, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await runner.cleanup()
    except TimeoutError:
        logger.error("stopping took too long; what still ran was left", extra={"seconds": seconds})


def stop_on_signals() -> asyncio.Event:
    """Set when the program should stop: Ctrl-C, SIGTERM, or the terminal is closed.

    From now on these signals do not end the program; a second one does not interrupt the stopping.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        # Under nohup the closing of the terminal stays ignored.
        if number is not None and not (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
            loop.add_signal_handler(number, stopped.set)
    return stopped


def reload_on_hangup() -> asyncio.Event:
    """Set when SIGHUP asks to read the configuration again; clear it to hear of the next.

    With a terminal SIGHUP means its closing, and still stops the program.
    """
    wanted = asyncio.Event()
    number = getattr(signal, "SIGHUP", None)
    if number is not None and not _has_terminal():
        asyncio.get_running_loop().add_signal_handler(number, wanted.set)
    return wanted


def _give_memory_back() -> None:
    """Have large blocks allocated by the system one by one, and returned when they are free.

    By default the GNU C library takes blocks of up to 32 MB from its heap once the first of them was freed; with small
    ones between them a few events of 4 MB keep 100 MB for good.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOC.items():
            mallopt(parameter, value)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a program to its end, on the fastest event loop available."""
    _give_memory_back()
    # Imported objects stay: the garbage collector need not visit them, nor run after every few requests.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    if sys.platform == "win32":
        asyncio.run(work)
        return
    import uvloop

    uvloop.run(work)
