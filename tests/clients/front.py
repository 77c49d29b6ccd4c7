"""nginx in front of gateways, with the configuration that the documentation ships."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import attrs

from tests.program import free_ports

SHIPPED = Path(__file__).parents[2] / "docs" / "nginx.conf"
#: What a distribution's own nginx.conf brings, and what the shipped file asks to be set there.
AROUND = """\
{user}
daemon off;
worker_processes 1;
worker_shutdown_timeout 1s;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log {home}/access.log;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    include {home}/site.conf;
}}
"""


@attrs.frozen
class Front:
    """A running nginx."""

    url: str
    process: asyncio.subprocess.Process

    def reload(self) -> None:
        self.process.send_signal(1)  # SIGHUP: new workers; the old ones let go of their streams


@asynccontextmanager
async def nginx(program: Path, home: Path, upstreams: Sequence[str]) -> AsyncIterator[Front]:
    """The shipped configuration, on a port of its own and in front of ``upstreams``."""
    port = free_ports(1)
    configure(home, port, upstreams)
    command = [str(program), "-e", f"{home}/error.log", "-p", str(home), "-c", str(home / "nginx.conf")]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        await _answers(f"http://127.0.0.1:{port}", process, home)
        yield Front(f"http://127.0.0.1:{port}", process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def configure(home: Path, port: int, upstreams: Sequence[str]) -> None:
    """Write what nginx is started with, ``home/nginx.conf`` and what belongs to it."""
    home.mkdir(exist_ok=True)
    (home / "site.conf").write_text(_site(port, upstreams))
    user = "user root;" if os.geteuid() == 0 else ""
    (home / "nginx.conf").write_text(AROUND.format(user=user, home=home))


def _site(port: int, upstreams: Sequence[str]) -> str:
    servers = "".join(f"    server {upstream.removeprefix('http://')};\n" for upstream in upstreams)
    shipped = SHIPPED.read_text()
    site, replaced = re.subn(r"(    server 127\.0\.0\.1:\d+;\n)+", servers, shipped)
    site, listens = re.subn(r"listen 127\.0\.0\.1:80;", f"listen 127.0.0.1:{port};", site)
    assert (replaced, listens) == (1, 1)
    return site


async def _answers(url: str, process: asyncio.subprocess.Process, home: Path) -> None:
    async with asyncio.timeout(30), aiohttp.ClientSession() as http:
        while True:
            assert process.returncode is None, (home / "error.log").read_text()
            try:
                async with http.get(f"{url}/api/projects") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)
