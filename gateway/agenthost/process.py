"""A child process under the guard: its pipes, the tail of its stderr, and an orderly end."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

_GUARD = str(Path(__file__).with_name("guard.py"))
#: Bytes of stderr that are kept, to explain why a process ended.
TAIL_SIZE = 8 * 1024


class Lifeline:
    """A pipe that ends when this process does; every guard watches it."""

    def __init__(self) -> None:
        self.reading_end, self._writing_end = os.pipe()

    def close(self) -> None:
        os.close(self._writing_end)
        os.close(self.reading_end)


class Tail:
    """The last bytes of an output."""

    def __init__(self, size: int = TAIL_SIZE) -> None:
        self._size = size
        self._kept = bytearray()

    def add(self, chunk: bytes) -> None:
        self._kept += chunk
        if len(self._kept) > self._size:
            del self._kept[: -self._size]

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace").strip()

    @property
    def full(self) -> bool:
        """Whether something was cut off."""
        return len(self._kept) == self._size


class ChildProcess:
    """A running program; its creator must await `end()`."""

    def __init__(self, process: Process, *, grace: float) -> None:
        self._process = process
        self._grace = grace
        self.tail = Tail()
        self._stderr = asyncio.create_task(self._drain(process.stderr, self.tail.add)) if process.stderr else None

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        lifeline: Lifeline,
        grace: float,
        interactive: bool = True,
    ) -> "ChildProcess":
        """Start `command` in a process group of its own.

        Interactive: stdin and stdout are pipes, and stderr goes to `tail`. Otherwise stdin is empty, and stdout has
        both outputs. `grace`: seconds for each step of ending it.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", _GUARD, str(lifeline.reading_end)),
            *command,
            cwd=cwd,
            env=dict(env),
            stdin=PIPE if interactive else asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=PIPE if interactive else STDOUT,
            pass_fds=(lifeline.reading_end,),
            start_new_session=True,
        )
        return cls(process, grace=grace)

    @property
    def pid(self) -> int:
        """The guard's process id."""
        return self._process.pid

    @property
    def stdin(self) -> asyncio.StreamWriter:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def returncode(self) -> int | None:
        """As in `asyncio.subprocess`: negative for a signal."""
        return self._process.returncode

    async def wait(self) -> int:
        return await self._process.wait()

    def kill(self) -> None:
        """Have the guard kill the program and its group."""
        self._signal(signal.SIGUSR1)

    async def end(self) -> None:
        """Close stdin and wait, terminate and wait, kill and wait. Nobody else may be reading stdout any more."""
        # A full pipe would keep the process from ending, and asyncio from noticing its end.
        drain = asyncio.create_task(self._drain(self.stdout, lambda _: None))
        try:
            await self._end()
        finally:
            for task in (drain, self._stderr):
                if task is not None:
                    await _finish(task, self._grace)

    async def _end(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        for number in (None, signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL):
            if number is not None:
                self._signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._grace):
                    await self.wait()
                    return
        logger.error("a process does not end", extra={"pid": self.pid})

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _drain(self, stream: asyncio.StreamReader, keep: Callable[[bytes], None]) -> None:
        while chunk := await stream.read(64 * 1024):
            keep(chunk)


async def _finish(task: asyncio.Task[None], limit: float) -> None:
    """Wait for a reader whose pipe has ended or is about to."""
    await asyncio.wait([task], timeout=limit)
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
