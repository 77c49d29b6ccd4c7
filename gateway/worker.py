"""One of several gateway processes on one port, as ``supervisor`` starts it: ``worker.py LINK SOCKET``.

LINK is the worker's end of a pair of sockets: the supervisor sends the configuration over it, the worker a line once it
serves, and when it ends, the supervisor is gone (`kill -9` included) and the worker ends too.
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

from gateway import logs
from gateway.app import build_app
from gateway.config import Config
from gateway.db.pool import Database
from gateway.errors import DatabaseUnavailable, GatewayError
from gateway.serving import run, serving, stop_on_signals
from gateway.telemetry.exposition import Seat

READY = b"ready\n"
_LENGTH = struct.Struct("!I")
#: How long a worker whose supervisor has gone may take to end in order.
ORPHAN_SECONDS = 1.5
_RETRY_SECONDS = 0.5


def packed(config: Config, seat: Seat) -> bytes:
    """What a worker needs as it goes over a link: no command line and no environment shows its secrets."""
    data = pickle.dumps((config, seat))
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
    with link.makefile("rb") as stream:
        (length,) = _LENGTH.unpack(stream.read(_LENGTH.size))
        config, seat = pickle.loads(stream.read(length))
    assert isinstance(config, Config)
    assert isinstance(seat, Seat)
    return config, seat


async def _work(config: Config, seat: Seat, link: socket.socket, sock: socket.socket) -> None:
    stopped = stop_on_signals()
    watching = (link, asyncio.get_running_loop(), stopped)
    # A thread, so that even a worker whose loop is stuck ends.
    threading.Thread(target=_end_with_supervisor, args=watching, name="supervisor", daemon=True).start()
    await _until_database_answers(config, stopped)
    if stopped.is_set():
        return
    async with serving(build_app(config, seat), sock, shutdown_timeout=config.server.shutdown_timeout):
        with suppress(OSError):
            link.sendall(READY)
        await stopped.wait()


def _end_with_supervisor(link: socket.socket, loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    with suppress(OSError):
        link.recv(1)
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(stopped.set)
    time.sleep(ORPHAN_SECONDS)
    os._exit(1)


async def _until_database_answers(config: Config, stopped: asyncio.Event) -> None:
    """A worker that replaces another may start while PostgreSQL is away; that it can be reached has been seen."""
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
