"""A gateway in a process of its own, so that its memory can be told from the test's.

``python -m tests.proxy.gateway_process UPSTREAM`` prints its port and serves until its standard input ends.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import psutil
import uvloop

from gateway.proxy.upstream import Upstream
from tests.proxy.peers import gateway


async def main(upstream: str) -> None:
    async with gateway(Upstream.parse(upstream)) as front:
        print(front.port, flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.read)


@attrs.define
class GatewayProcess:
    """``growth`` is by how many bytes the process is larger at most than it was at first, sampled."""

    address: Upstream
    growth: int = 0


@asynccontextmanager
async def gateway_process(upstream: Upstream) -> AsyncIterator[GatewayProcess]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.proxy.gateway_process", str(upstream)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    gateway = GatewayProcess(Upstream(scheme="http", host="127.0.0.1", port=port))
    watching = asyncio.create_task(_watch(gateway, process.pid))
    try:
        yield gateway
    finally:
        watching.cancel()
        process.stdin.close()
        await process.wait()


async def _watch(gateway: GatewayProcess, pid: int) -> None:
    process = psutil.Process(pid)
    first = process.memory_info().rss
    while True:
        await asyncio.sleep(0.02)
        gateway.growth = max(gateway.growth, process.memory_info().rss - first)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
