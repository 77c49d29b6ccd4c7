"""Large histories read: a session full of pictures, and a running turn whose tool tells more and more."""

import argparse
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench.world import Project, World, call, world

PATIENCE_SECONDS = 120
#: How often a second client asks for something small.
PROBE_SECONDS = 0.02
READS = 15


def main(arguments: list[str]) -> None:
    """memory and time while a session of large pictures is read, and a running turn whose output grows"""
    parser = argparse.ArgumentParser(prog="python -m bench history", description=main.__doc__)
    parser.add_argument("--pictures", type=int, default=20, help="in the session (default 20)")
    parser.add_argument("--picture-bytes", type=int, default=2_200_000, help="of each (default 2200000)")
    parser.add_argument("--updates", type=int, default=200, help="that tell the growing output (default 200)")
    parser.add_argument("--output-bytes", type=int, default=400_000, help="of it in the end (default 400000)")
    options = parser.parse_args(arguments)
    with world() as running:
        _read_pictures(running, running.project("pictures"), options.pictures, options.picture_bytes)
        _read_growing(running, running.project("growing"), options.updates, options.output_bytes)


def _read_pictures(running: World, project: Project, count: int, size: int) -> None:
    session = f"{project.acp}/session/{project.session}"
    turn = call(f"{session}/prompt", {"prompt": f"pictures {count} {size}"})["turnId"]
    _until(lambda: call(f"{session}/turns/{turn}")["state"] != "running", "the turn does not end")
    _until(lambda: len(_messages(session)) > count, "its messages are not written")
    print(f"{count} pictures of {size} bytes")
    for path in ("snapshot?limit=40", "messages?limit=50", "export?format=jsonl", "export?format=markdown"):
        with _watched(running) as watched:
            began = time.perf_counter()
            length = _length(f"{session}/{path}")
            took = time.perf_counter() - began
        growth, wait = watched
        print(
            f"  {path:24} {length / 2**20:6.1f} MiB in {took * 1000:5.0f} ms; "
            f"the gateway grew by {growth / 2**20:4.0f} MiB, others waited {wait * 1000:3.0f} ms at most"
        )


def _read_growing(running: World, project: Project, count: int, size: int) -> None:
    session = f"{project.acp}/session/{project.session}"
    before = project.head()
    call(f"{session}/prompt", {"prompt": f"grow {count} {size}"})
    meanwhile = []
    end = time.monotonic() + PATIENCE_SECONDS
    while project.head() < before + count + 1:
        if time.monotonic() > end:
            raise TimeoutError("the turn does not tell all of its output")
        meanwhile.append(_timed(f"{session}/messages"))
    with _watched(running) as watched:
        afterwards = [_timed(f"{session}/messages") for _ in range(READS)]
    print(f"a running turn, its output told {count} times and {size} bytes in the end")
    for when, took in (("while it grows", meanwhile), ("when it has grown", afterwards)):
        slowest, usual = max(took) * 1000, sorted(took)[len(took) // 2] * 1000
        print(f"  messages, {when:18} {len(took):3} reads: {usual:5.0f} ms (median), {slowest:5.0f} ms at most")
    print(f"  the gateway grew by {watched[0] / 2**20:.0f} MiB for the latter")


def _messages(session: str) -> list[object]:
    """All that are to be had."""
    found: list[object] = []
    after = ""
    while True:
        page = call(f"{session}/messages?limit=200{after}")
        found += page["messages"]
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


def _timed(url: str) -> float:
    began = time.perf_counter()
    _length(url)
    return time.perf_counter() - began


def _length(url: str) -> int:
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
        return sum(len(piece) for piece in iter(lambda: answer.read(1 << 20), b""))


@contextmanager
def _watched(running: World) -> Iterator[list[float]]:
    """By how many bytes the gateway grew inside, and how long somebody else waited for an answer."""
    process = running.process
    result: list[float] = []
    waits, over = [0.0], threading.Event()

    def probe() -> None:
        while not over.wait(PROBE_SECONDS):
            waits.append(_timed(f"{running.url}/healthz"))

    thread = threading.Thread(target=probe)
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    before = process.memory_info().rss
    thread.start()
    yield result
    over.set()
    thread.join()
    result += [max(0, _peak(process) - before), max(waits)]


def _peak(process: psutil.Process) -> int:
    """Bytes that it has had resident at the most since its ``clear_refs`` was written."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def _until(condition: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(otherwise)
        time.sleep(0.2)
