"""The commands as people and scripts run them: with pipes, or in a terminal with somebody at it."""

import json
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from tests.program import Place, command

SECONDS = 60.0


def environ(place: Place, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "TERM": "xterm",
        "ACP_GATEWAY_URL": f"http://127.0.0.1:{place.port}",
        "ACP_GATEWAY_TOKEN": "",
        **more,
    }


def script(place: Place, *arguments: str, typed: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """A command as a script runs it."""
    return subprocess.run(
        [*command(), *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=environ(place, **more),
    )


def told(place: Place, *arguments: str) -> Any:
    done = script(place, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@attrs.define
class Terminal:
    """A command with somebody at its terminal."""

    process: subprocess.Popen[bytes]
    master: int
    shown: str = ""

    def until(self, text: str) -> None:
        end = time.monotonic() + SECONDS
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            self._read()

    def until_after(self, first: str, text: str) -> None:
        """Until ``text`` is shown behind the last ``first``."""
        self.until(first)
        end = time.monotonic() + SECONDS
        while text not in self.shown.rpartition(first)[2]:
            assert time.monotonic() < end, self.shown
            self._read()

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait(self) -> int:
        while self._read():
            pass
        return self.process.wait(SECONDS)

    def _read(self) -> bool:
        if not select.select([self.master], [], [], SECONDS)[0]:
            raise AssertionError(f"nothing came: {self.shown}")
        try:
            piece = os.read(self.master, 4096)
        except OSError:
            return False
        self.shown += piece.decode("utf-8", "replace")
        return bool(piece)


@contextmanager
def terminal(place: Place, *arguments: str, **more: str) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*command(), *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environ(place, **more),
        start_new_session=True,
        preexec_fn=_control,
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)


def _control() -> None:
    """Ctrl-C typed into the terminal reaches the program."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
