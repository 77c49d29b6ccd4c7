"""A gateway as a process of its own on a test's database, to be killed."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import attrs
from aiohttp import web

from tests.program import START_SECONDS, Program, free_ports, run
from tests.world import Gateway

SETTINGS = {"ACP_GATEWAY_EVENTS_LEASE": "1", "ACP_GATEWAY_DATABASE_POOL_SIZE": "4", "ACP_GATEWAY_LOGGING_LEVEL": "info"}


@attrs.define
class Replica:
    """A running ``acp-gateway serve``, called over HTTP."""

    gateway: Gateway
    program: Program

    async def kill(self) -> None:
        """kill -9: no word to anybody."""
        self.program.process.kill()
        await asyncio.to_thread(self.program.wait)

    async def terminate(self) -> None:
        """SIGTERM, as an operator who restarts it."""
        self.program.process.terminate()
        await asyncio.to_thread(self.program.wait)


@asynccontextmanager
async def replica(
    database_url: str,
    directory: Path,
    settings: Mapping[str, str] | None = None,
    *,
    port: int | None = None,
    options: Sequence[str] = (),
) -> AsyncIterator[Replica]:
    """A gateway process, ready; ended at the end if it has not been killed."""
    port = port or free_ports(1)
    environ = {"ACP_GATEWAY_DATABASE_URL": database_url, **SETTINGS, **(settings or {})}
    with run("serve", "--port", str(port), *options, directory=directory, environ=environ) as program:
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession(auto_decompress=False) as http:
            gateway = Gateway(web.Application(), f"http://127.0.0.1:{port}", http)
            while not await _answers(gateway):
                assert program.process.poll() is None, program.complained()
                await asyncio.sleep(0.05)
            yield Replica(gateway, program)


async def _answers(gateway: Gateway) -> bool:
    try:
        return (await gateway.call("GET", "/api/projects")).status == 200
    except aiohttp.ClientConnectionError:
        return False
