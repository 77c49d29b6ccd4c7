"""Proxies in front of gateways, nginx and Caddy, each with the configuration that ``deploy/`` ships."""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import attrs

from tests.program import free_ports

SHIPPED = Path(__file__).parents[2] / "deploy"
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
    """A running proxy. ``reload`` has it read its configuration again, and let go of its streams."""

    url: str
    process: asyncio.subprocess.Process
    reload: Callable[[], None]


@asynccontextmanager
async def nginx(program: Path, home: Path, upstreams: Sequence[str]) -> AsyncIterator[Front]:
    """The shipped configuration, on a port of its own and in front of ``upstreams``."""
    port = free_ports(1)
    configure(home, port, upstreams)
    command = [str(program), "-e", f"{home}/error.log", "-p", str(home), "-c", str(home / "nginx.conf")]
    async with _running(command, port, home) as process:
        yield Front(f"http://127.0.0.1:{port}", process, lambda: process.send_signal(signal.SIGHUP))


@asynccontextmanager
async def caddy(program: Path, home: Path, upstreams: Sequence[str]) -> AsyncIterator[Front]:
    """The same of Caddy, with a door of its own for reloads."""
    port, administration = free_ports(1), free_ports(1)
    file = _caddyfile(home, port, administration, upstreams)
    command = [str(program), "run", "--config", str(file)]

    def reload() -> None:
        # The file is as it was, which is no reason to do nothing.
        again = [str(program), "reload", "--force", "--config", str(file), "--address", f"127.0.0.1:{administration}"]
        subprocess.run(again, check=True, capture_output=True, env=_at_home(home))

    async with _running(command, port, home) as process:
        yield Front(f"http://127.0.0.1:{port}", process, reload)


@asynccontextmanager
async def _running(command: Sequence[str], port: int, home: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The proxy as a process; what it says goes to ``home/error.log``."""
    with (home / "error.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=_at_home(home))
    try:
        await _answers(f"http://127.0.0.1:{port}", process, home)
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _at_home(home: Path) -> dict[str, str]:
    return {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_DATA_HOME": str(home)}


def _caddyfile(home: Path, port: int, administration: int, upstreams: Sequence[str]) -> Path:
    shipped = (SHIPPED / "Caddyfile").read_text()
    addresses = " ".join(upstream.removeprefix("http://") for upstream in upstreams)
    site, replaced = re.subn(r"(?<=reverse_proxy )(127\.0\.0\.1:\d+ ?)+", f"{addresses} ", shipped)
    site, listens = re.subn(r"(?m)^:80 ", f"http://127.0.0.1:{port} ", site)
    site, doors = re.subn(r"grace_period 5s", f"grace_period 1s\n\tadmin 127.0.0.1:{administration}", site)
    assert (replaced, listens, doors) == (1, 1, 1)
    home.mkdir(exist_ok=True)
    (home / "Caddyfile").write_text(site)
    return home / "Caddyfile"


def configure(home: Path, port: int, upstreams: Sequence[str]) -> None:
    """Write what nginx is started with, ``home/nginx.conf`` and what belongs to it."""
    home.mkdir(exist_ok=True)
    (home / "site.conf").write_text(_site(port, upstreams))
    user = "user root;" if os.geteuid() == 0 else ""
    (home / "nginx.conf").write_text(AROUND.format(user=user, home=home))


def _site(port: int, upstreams: Sequence[str]) -> str:
    servers = "".join(f"    server {upstream.removeprefix('http://')};\n" for upstream in upstreams)
    shipped = (SHIPPED / "nginx.conf").read_text()
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
