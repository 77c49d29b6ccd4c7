"""Programs that a benchmark starts, waits for, weighs and stops."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

START_SECONDS = 30
STOP_SECONDS = 20


class Missing(Exception):
    """A program that is not on this machine; ``str()`` says which, and how to get it."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str, hint: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is not installed ({hint})")
    return found


def cache_directory() -> Path:
    """Where programs from npm are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "acp-gateway-bench"


def npm_program(package: str, version: str) -> Path:
    """The program of an npm package, installed into the cache if it is not there yet."""
    home = cache_directory() / f"{package}-{version}"
    path = home / "node_modules" / ".bin" / package
    if not path.exists():
        npm = program("npm", "install Node.js")
        home.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(home), "--no-audit", "--no-fund", "--loglevel=error"]
        result = subprocess.run([*command, f"{package}@{version}"], capture_output=True, text=True, timeout=300)
        if result.returncode != 0 or not path.exists():
            raise Missing(f"npm could not install {package}@{version}: {result.stderr.strip()[-300:]}")
    return path


@contextmanager
def running(
    command: Sequence[str], *, answers: str, environment: Mapping[str, str] | None = None
) -> Iterator[psutil.Process]:
    """The process of ``command``, once the URL ``answers`` does; stopped afterwards."""
    environ = {**os.environ, **(environment or {})}
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdout=said, stderr=said, env=environ) as process,
    ):
        try:
            _wait_until_it_answers(process, answers)
            yield psutil.Process(process.pid)
        except TimeoutError as exc:
            said.seek(0)
            raise RuntimeError(f"{command[0]}: {exc}\n{said.read().decode(errors='replace')[-2000:]}") from exc
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def cpu_seconds(process: psutil.Process) -> float:
    """What the process and its children, those that have ended included, have used so far, on all cores."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise TimeoutError(f"it stopped with status {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                answer.read()
                return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"{url} did not answer within {START_SECONDS} s")
