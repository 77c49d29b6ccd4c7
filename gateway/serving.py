"""Run applications on sockets until a signal says stop."""

import asyncio
import errno
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.errors import StartError
from gateway.proxy.forward import SERVER_OPTIONS

BACKLOG = 1024
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_PORT_IS_WRONG = (errno.EADDRINUSE, errno.EACCES)


def bind(host: str, port: int, *, purpose: str, option: str) -> socket.socket:
    """A listening socket; ``StartError`` in one sentence where the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as exc:
        # The address stands in some of the texts already: create_server appends it to strerror.
        reason = (exc.strerror or str(exc)).split(" (while", 1)[0].lower()
        advice = f"choose another port with {option}" if exc.errno in _PORT_IS_WRONG else "choose another address"
        raise StartError(f"{purpose} cannot listen on {address(host, port)}: {reason}; {advice}") from exc


def address(host: str, port: int) -> str:
    """``host:port`` as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@asynccontextmanager
async def serving(app: web.Application, sock: socket.socket, *, shutdown_timeout: float) -> AsyncIterator[None]:
    """``app`` answers on ``sock`` for as long as this is open; then for ``shutdown_timeout`` more at most."""
    # aiohttp takes it twice: for requests to end by themselves, and for their handlers once they are cancelled.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_timeout / 2, **SERVER_OPTIONS)
    try:
        await runner.setup()
        await web.SockSite(runner, sock, backlog=BACKLOG).start()
        yield
    finally:
        await runner.cleanup()
        sock.close()


def stop_on_signals() -> asyncio.Event:
    """Set when somebody wants this program to stop: Ctrl-C, SIGTERM, or the terminal is closed.

    From now on none of these signals ends the program by itself; a second one does not interrupt the stopping.
    """
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        # Under nohup the closing of the terminal is ignored, and stays so.
        if number is not None and not (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
            loop.add_signal_handler(number, stopped.set)
    return stopped
