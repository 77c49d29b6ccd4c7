"""Keeps several gateway processes running on one port, and ends them all when it is told to, or dies.

Each worker has its own listening socket (see ``run.bind_shared``), which the supervisor holds open too: clients that
connect while a worker is replaced wait for the new one and are not refused.
"""

import asyncio
import logging
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from gateway.config.load import environment
from gateway.config.reload import Changes, changed, differences
from gateway.config.schema import Config
from gateway.errors import StartError
from gateway.server import worker
from gateway.server.run import GRACE
from gateway.telemetry.exposition import Seat

logger = logging.getLogger(__name__)

#: A worker that lived this long was healthy; it is replaced at once.
SOUND_SECONDS = 10.0
MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.1, 5.0
#: Workers may die for reasons of their own; if all do twice in this time, the reason is a common one.
DEATHS_EACH, LEAST_DEATHS, DEATHS_SECONDS = 2, 5, 30.0
#: The directory of this process's package, so that workers run the same.
_PLACE = Path(__file__).resolve().parents[2]


class _Worker:
    """A worker process. The code that starts it awaits ``ended``."""

    def __init__(self, process: Process, link: asyncio.StreamReader, keep: asyncio.StreamWriter) -> None:
        self._process = process
        self._link = link
        self._keep = keep
        self.pid = process.pid

    @classmethod
    async def start(cls, config: Config, seat: Seat, sock: socket.socket) -> "_Worker":
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                # Not from the working directory, which may hold any directory named gateway.
                *("-P", "-m", "gateway.server.worker", str(theirs.fileno()), str(sock.fileno())),
                stdin=DEVNULL,
                pass_fds=(theirs.fileno(), sock.fileno()),
                env={**environment(), "PYTHONPATH": _python_path()},
                # Ctrl-C reaches the whole foreground group, but the supervisor stops the workers.
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        writer.write(worker.packed((config, seat)))
        return cls(process, reader, writer)

    async def is_ready(self) -> bool:
        """Wait until it serves; False: it ended before."""
        try:
            return await self._link.readline() == worker.READY
        except OSError:
            return False

    async def ended(self) -> str:
        """How it ended, for people."""
        status = await self._process.wait()
        self._keep.close()
        return f"status {status}" if status >= 0 else signal.Signals(-status).name

    def change(self, changes: Changes) -> None:
        """Send it these settings."""
        self._keep.write(worker.packed(changes))

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


class Supervisor:
    """Owns the workers; see ``supervising``."""

    def __init__(self, config: Config, sockets: Sequence[socket.socket], directory: Path) -> None:
        """``directory``: for the workers' sockets."""
        self._config = config
        self._sockets = sockets
        self._seats = [Seat(number=number, count=len(sockets), directory=directory) for number in range(len(sockets))]
        self._workers: set[_Worker] = set()
        self._keeping: list[asyncio.Task[None]] = []
        self._ready = [asyncio.Event() for _ in sockets]
        self._deaths: deque[float] = deque()
        self._stopping = asyncio.Event()

    @property
    def pids(self) -> list[int]:
        return sorted(one.pid for one in self._workers)

    async def start(self, stopped: asyncio.Event) -> None:
        """Start the workers and wait until all serve, or until ``stopped``. ``StartError`` if one cannot."""
        for seat, sock, ready in zip(self._seats, self._sockets, self._ready, strict=True):
            self._keeping.append(asyncio.create_task(self._keep(seat, sock, ready), name=f"keep worker {seat.number}"))
        waiting = [asyncio.create_task(ready.wait()) for ready in self._ready]
        stop = asyncio.create_task(stopped.wait())
        try:
            left: set[asyncio.Task[bool]] = set(waiting)
            while left and not stop.done() and not any(task.done() for task in self._keeping):
                await asyncio.wait({*left, stop, *self._keeping}, return_when=asyncio.FIRST_COMPLETED)
                left = {task for task in left if not task.done()}
        finally:
            for task in (*waiting, stop):
                task.cancel()
            await asyncio.wait((*waiting, stop))
        self.check()

    def change(self, changes: Changes) -> None:
        """Send these settings to all workers, and to future ones."""
        self._config = changed(self._config, changes)
        for one in self._workers:
            one.change(changes)

    def check(self) -> None:
        """``StartError`` if the workers cannot be kept running."""
        for task in self._keeping:
            if task.done():
                task.result()

    async def stop(self) -> None:
        """End all workers: orderly, as ``server.shutdown_timeout`` allows, then by force."""
        self._stopping.set()
        for sock in self._sockets:
            sock.close()
        server = self._config.server
        # A worker ends by itself within GRACE; much later it must be stuck.
        patience = server.stop_delay + 2 * (server.shutdown_timeout + GRACE)
        for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 10.0)):
            for one in self._workers:
                one.signal(number)
            _, late = await asyncio.wait(self._keeping, timeout=seconds)
            if not late:
                # One failure was reported; the others probably have the same reason.
                await asyncio.gather(*self._keeping, return_exceptions=True)
                return
        logger.error("workers do not end", extra={"workers": self.pids})

    async def _keep(self, seat: Seat, sock: socket.socket, ready: asyncio.Event) -> None:
        """Replace workers on this socket as they end."""
        backoff = 0.0
        while not self._stopping.is_set():
            born = time.monotonic()
            how = await self._live(seat, sock, ready)
            if self._stopping.is_set():
                return
            if not ready.is_set():
                raise StartError(f"A worker could not start ({how}); the lines before this one say why")
            self._note_death(how)
            sound = time.monotonic() - born >= SOUND_SECONDS
            backoff = 0.0 if sound else min(max(backoff * 2, MIN_BACKOFF_SECONDS), MAX_BACKOFF_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff)

    async def _live(self, seat: Seat, sock: socket.socket, ready: asyncio.Event) -> str:
        """One worker, from start to end; returns how it ended."""
        given = self._config
        try:
            one = await _Worker.start(given, seat, sock)
        except OSError as exc:  # no memory, no descriptors, no processes: just now
            return str(exc.strerror)
        self._workers.add(one)
        # Changes made while its process was started, before it was among the workers.
        if changes := differences(given, self._config):
            one.change(changes)
        if self._stopping.is_set():
            one.signal(signal.SIGTERM)
        try:
            if await one.is_ready():
                ready.set()
                logger.info("worker serves", extra={"worker": one.pid})
            return await one.ended()
        finally:
            self._workers.discard(one)

    def _note_death(self, how: str) -> None:
        logger.error("worker died", extra={"end": how})
        now = time.monotonic()
        self._deaths.append(now)
        while now - self._deaths[0] > DEATHS_SECONDS:
            self._deaths.popleft()
        times = len(self._deaths)
        if times >= max(LEAST_DEATHS, DEATHS_EACH * len(self._sockets)):
            raise StartError(
                f"The workers keep dying: {times} times in {DEATHS_SECONDS:g} seconds, the last with {how}. "
                "All is ended; the lines before this one say why"
            )


@asynccontextmanager
async def supervising(
    config: Config, sockets: Sequence[socket.socket], stopped: asyncio.Event
) -> AsyncIterator[Supervisor]:
    """Workers on these sockets, which are closed at the end, while this is open."""
    with TemporaryDirectory(prefix="acp-gateway-") as directory:
        supervisor = Supervisor(config, sockets, Path(directory))
        try:
            await supervisor.start(stopped)
            yield supervisor
        finally:
            await supervisor.stop()


def _python_path() -> str:
    more = environment().get("PYTHONPATH")
    return f"{_PLACE}:{more}" if more else str(_PLACE)
