"""One of several gateway processes on one port, as ``supervisor`` starts it: ``worker.py LINK SOCKET``.

LINK is a socket pair's end: the supervisor sends the configuration, the worker a line once it serves, and when it
closes, the supervisor is gone (`kill -9` included) and the worker ends too.
"""

import asyncio
import os
import pickle
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from gateway.app import build_app
from gateway.config.reload import Changes, Settings
from gateway.config.schema import Config
from gateway.db.pool import Database
from gateway.errors import DatabaseUnavailable, GatewayError
from gateway.server.run import run, serving, stop_on_signals
from gateway.telemetry import logging as logs
from gateway.telemetry.exposition import Seat

READY = b"ready\n"
_LENGTH = struct.Struct("!I")
#: How long a worker without a supervisor may take to end orderly.
ORPHAN_SECONDS = 1.5
_RETRY_SECONDS = 0.5


def packed(value: tuple[Config, Seat] | Changes) -> bytes:
    """A message on a link: command lines and environments would show its secrets."""
    data = pickle.dumps(value)
    return _LENGTH.pack(len(data)) + data


def main(link: socket.socket, sock: socket.socket) -> None:
    config, seat = _receive(link)
    logs.configure(config.logging)
    try:
        run(_work(config, seat, link, sock))
    except GatewayError as exc:
        sys.stderr.write(f"acp-gateway: {exc}\n")
        sys.exit(1)


def _receive(link: socket.socket) -> tuple[Config, Seat]:
    with link.makefile("rb", buffering=0) as stream:
        config, seat = _next(stream)
    assert isinstance(config, Config)
    assert isinstance(seat, Seat)
    return config, seat


def _next(stream: Any) -> Any:
    """The next value; None if the supervisor is gone."""
    head = _exactly(stream, _LENGTH.size)
    data = head and _exactly(stream, *_LENGTH.unpack(head))
    return pickle.loads(data) if data else None


def _exactly(stream: Any, size: int) -> bytes:
    """Exactly this many bytes; none if the stream ends before."""
    data = b""
    while len(data) < size:
        if not (piece := stream.read(size - len(data))):
            return b""
        data += piece
    return data


async def _work(config: Config, seat: Seat, link: socket.socket, sock: socket.socket) -> None:
    stopped = stop_on_signals()
    settings = Settings(config)
    settings.on_change(lambda changed: logs.configure(changed.logging))
    watching = (link, asyncio.get_running_loop(), settings, stopped)
    # A thread, so that a worker with a stuck loop ends too.
    threading.Thread(target=_hear_supervisor, args=watching, name="supervisor", daemon=True).start()
    await _until_database_answers(config, stopped)
    if stopped.is_set():
        return
    async with serving(build_app(settings, seat), sock, shutdown_timeout=config.server.shutdown_timeout):
        with suppress(OSError):
            link.sendall(READY)
        await stopped.wait()


def _hear_supervisor(
    link: socket.socket, loop: asyncio.AbstractEventLoop, settings: Settings, stopped: asyncio.Event
) -> None:
    """Take changes of settings, and end with the link."""
    with suppress(OSError, RuntimeError), link.makefile("rb") as stream:
        while (changes := _next(stream)) is not None:
            loop.call_soon_threadsafe(settings.change, changes)
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(stopped.set)
    time.sleep(ORPHAN_SECONDS)
    os._exit(1)


async def _until_database_answers(config: Config, stopped: asyncio.Event) -> None:
    """A replacement may start while PostgreSQL is unreachable; it was reachable before."""
    while not stopped.is_set():
        try:
            database = await Database.open(config.database.url, size=1, connect_timeout=config.database.connect_timeout)
        except DatabaseUnavailable:
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), _RETRY_SECONDS)
        else:
            await database.close()
            return


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), socket.socket(fileno=int(sys.argv[2])))
