"""Run applications on sockets until a signal says stop."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.errors import StartError
from gateway.proxy.forward import SERVER_OPTIONS

BACKLOG = 1024


def bind(host: str, port: int, *, purpose: str, option: str) -> socket.socket:
    """A listening socket; ``StartError`` in one sentence where the address cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise StartError(
            f"{purpose} cannot listen on {host}:{port}: {reason.lower()}; choose another port with {option}"
        ) from exc


@asynccontextmanager
async def serving(app: web.Application, sock: socket.socket, *, shutdown_timeout: float) -> AsyncIterator[None]:
    """``app`` answers on ``sock`` for as long as this is open."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=shutdown_timeout, **SERVER_OPTIONS)
    try:
        await runner.setup()
        await web.SockSite(runner, sock, backlog=BACKLOG).start()
        yield
    finally:
        await runner.cleanup()
        sock.close()


async def until_stopped() -> None:
    """Wait for SIGINT or SIGTERM."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
