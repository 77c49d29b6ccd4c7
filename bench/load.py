"""Closed-loop load on one URL: wrk where it is installed, else a plain generator of our own.

``python -m bench.load URL CONNECTIONS SECONDS`` is the generator; it prints what it counted as JSON.
"""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import attrs
import uvloop


@attrs.frozen(kw_only=True)
class Load:
    """What came back in ``seconds``."""

    requests: int
    body_bytes: int
    seconds: float
    errors: int


def generator() -> str:
    """Which one ``put`` uses."""
    return "wrk" if shutil.which("wrk") else "bench.load (install wrk for a faster one)"


def put(url: str, *, connections: int, seconds: float, body_size: int) -> Load:
    """Ask for ``url`` on so many connections, each one request at a time."""
    wrk = shutil.which("wrk")
    arguments = [url, str(connections), str(seconds)]
    if wrk is None:
        counted = _run([sys.executable, "-m", "bench.load", *arguments], seconds)
        return Load(**json.loads(counted))
    whole = max(1, round(seconds))  # wrk takes whole seconds
    said = _run([wrk, "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "30s", url], seconds)
    return _read_wrk(said, body_size)


def _run(command: list[str], seconds: float) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout


def _read_wrk(said: str, body_size: int) -> Load:
    counted = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", said)
    if counted is None:
        raise RuntimeError(f"wrk said something else than expected:\n{said}")
    failed = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", said)))
    failed += sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
    unit = {"ms": 0.001, "s": 1, "m": 60}[counted[3]]
    requests = int(counted[1])
    return Load(requests=requests, body_bytes=requests * body_size, seconds=float(counted[2]) * unit, errors=failed)


class _Asker(asyncio.Protocol):
    """One connection: asks, counts the answer's bytes, asks again."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._head: bytes | None = b""
        self._left = 0
        self.requests = self.body_bytes = self.errors = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            head, end, data = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                return
            self._head = None
            self.errors += head.split(b" ", 2)[1] != b"200"
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            self._left = int(length[1]) if length else 0
        self._left -= len(data)
        self.body_bytes += len(data)
        if self._left <= 0:
            self.requests += 1
            self._head = b""
            self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.errors += 1


async def _generate(url: str, connections: int, seconds: float) -> Load:
    parts = urlsplit(url)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    host, port = parts.hostname or "", parts.port or 80
    opened = [await loop.create_connection(lambda: _Asker(request), host, port) for _ in range(connections)]
    began = time.monotonic()
    await asyncio.sleep(seconds)
    askers = [asker for _, asker in opened]
    return Load(
        requests=sum(asker.requests for asker in askers),
        body_bytes=sum(asker.body_bytes for asker in askers),
        seconds=time.monotonic() - began,
        errors=sum(asker.errors for asker in askers),
    )


if __name__ == "__main__":
    print(json.dumps(attrs.asdict(uvloop.run(_generate(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))))
