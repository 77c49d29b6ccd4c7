"""``acp-gateway`` as a person runs it: a process with a data directory, ports and a terminal's signals of its own."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import psutil

from gateway.cli.local_access import TOKEN_FILE

#: A start makes a database and imports much; on a busy machine it takes its time.
START_SECONDS = 60.0
READY = "ready in"
#: What the environment of a gateway has whose operator has said nothing of who asks: it wants its own token.
UNSAID = {"ACP_GATEWAY_IDENTITY_MODES": ""}


def own_token(data_dir: Path) -> dict[str, str]:
    """What a call sends that has the token of a gateway which made its own."""
    return {"Authorization": f"Bearer {(data_dir / TOKEN_FILE).read_text().strip()}"}


@attrs.frozen(kw_only=True)
class Place:
    """Where an ``acp-gateway up`` of a test's own lives: never where one of the machine's owner does."""

    directory: Path
    port: int
    container_port: int

    @classmethod
    def make(cls, directory: Path) -> "Place":
        directory.mkdir()
        directory.chmod(0o755)
        first = free_ports(3)
        return cls(directory=directory, port=first, container_port=first + 1)

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def workspace(self) -> Path:
        return self.directory / "workspace"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def acp(self) -> str:
        return f"{self.url}/api/projects/demo/acp"

    def options(self) -> list[str]:
        ports = ["--port", str(self.port), "--container-port", str(self.container_port)]
        return [*ports, "--data-dir", str(self.data_dir), "--workspace", str(self.workspace)]

    @contextmanager
    def up(self, **options: Any) -> Iterator["Program"]:
        """A running ``acp-gateway up``, ready; stopped at the end, however it ends."""
        with run("up", *self.options(), directory=self.directory, **options) as program:
            program.wait_until_says(READY)
            yield program


@attrs.define
class Program:
    """A started ``acp-gateway``."""

    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    def said(self) -> str:
        return self.stdout.read_text()

    def complained(self) -> str:
        return self.stderr.read_text()

    def wait_until_says(self, text: str) -> None:
        def has_said() -> bool:
            assert self.process.poll() is None, f"it ended: {self.said()}{self.complained()}"
            return text in self.said()

        wait_until(has_said, START_SECONDS)

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def interrupt(self) -> None:
        """Ctrl-C: SIGINT for every process of the terminal's foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self, seconds: float = START_SECONDS) -> int:
        """Its exit status."""
        return self.process.wait(seconds)


@contextmanager
def run(
    *arguments: str,
    directory: Path,
    environ: Mapping[str, str] | None = None,
    module: Sequence[str] = ("gateway",),
    **popen: Any,
) -> Iterator[Program]:
    """A started ``acp-gateway ARGUMENTS…`` in ``directory``; killed at the end if it has not ended.

    ``module``: what runs in its place, with arguments of its own before those.
    """
    number = random.randrange(10**9)
    stdout, stderr = directory / f"{number}.out", directory / f"{number}.err"
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.Popen(
            [*command(*module), *arguments],
            stdin=subprocess.DEVNULL,
            **({"stdout": out, "stderr": err} | popen),
            cwd=directory,
            env=environment(directory, environ or {}),
            start_new_session=True,
        )
    program = Program(process, stdout, stderr)
    try:
        yield program
    except BaseException:
        # pytest shows it beside the failure.
        sys.stderr.write(program.said() + program.complained())
        raise
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@attrs.frozen(kw_only=True)
class Ended:
    """What became of a command that ends by itself."""

    status: int
    stdout: str
    stderr: str

    def sentence(self) -> str:
        """The one line on standard error by which it said that it could not."""
        assert self.status == 1, f"exit status {self.status}: {self.stderr}"
        assert self.stderr.startswith("acp-gateway: "), self.stderr
        assert self.stderr.count("\n") == 1, self.stderr
        assert "Traceback" not in self.stderr
        return self.stderr.removeprefix("acp-gateway: ").strip()


def run_to_end(*arguments: str, directory: Path, environ: Mapping[str, str] | None = None) -> Ended:
    with run(*arguments, directory=directory, environ=environ) as program:
        status = program.wait()
    return Ended(status=status, stdout=program.said(), stderr=program.complained())


def command(*module: str) -> list[str]:
    return [sys.executable, "-m", *(module or ("gateway",))]


def environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """The test's own environment without any settings of the gateway's but one, and another home.

    ``serve`` is open to whoever is on this machine, so that a test which is not about that may ask it.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACP_", "XDG_"))}
    ours = {"HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[1]), "ACP_GATEWAY_IDENTITY_MODES": "local"}
    return {**kept, **ours, **more}


def free_ports(count: int) -> int:
    """The first of ``count`` ports in a row that nobody listens on, out of the range that the kernel gives away."""
    for _ in range(200):
        first = random.randrange(15000, 30000)
        if all(_is_free(first + offset) for offset in range(count)):
            return first
    raise AssertionError("no free ports")


def wait_until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.02)


def call(method: str, url: str, body: Any = None, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """Status and JSON of a call."""
    data = None if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data, sent, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as response:
            return response.status, json.loads(response.read() or b"null")
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.loads(exc.read() or b"null")


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
