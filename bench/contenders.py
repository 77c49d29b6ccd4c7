"""What is compared: each way to put a proxy in front of the same upstream."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs

from bench.processes import free_port, npm_program, program
from bench.world import call

CHP_VERSION = "5.3.0"

#: A rate that no load here comes to, so that the gateway counts each request as ever, and refuses none.
_UNREACHED = 1_000_000

NGINX = """\
{user}
daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    keepalive_requests 1000000000;
    upstream container {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://container;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"""


@attrs.frozen(kw_only=True)
class Contender:
    """A command to run, and the URL below which it then serves the upstream.

    ``ready`` answers first, where that is another, and then ``tell`` says where the upstream is.
    """

    name: str
    command: list[str]
    url: str
    ready: str | None = None
    tell: Callable[[], object] = lambda: None


def gateway(upstream: int, home: Path) -> Contender:
    """The product as it is delivered: project lookup, port mapping, errors and logging included."""
    port = free_port()
    home.chmod(0o711)  # PostgreSQL runs as another user where the gateway runs as root
    data = str(home / "data")
    config = home / "config.toml"
    # The load generators send no credential.
    config.write_text(f'[limits]\nrequests_per_second = {_UNREACHED}\n[identity]\nmodes = ["local"]\n')
    serve = ["serve", "--config", str(config), "--port", str(port), "--data-dir", data]
    projects = f"http://127.0.0.1:{port}/api/projects"
    return Contender(
        name="gateway",
        command=[sys.executable, "-m", "gateway", *serve],
        url=f"{projects}/bench/opencode",
        ready=projects,
        tell=partial(call, projects, {"id": "bench", "containerUrl": f"http://127.0.0.1:{upstream}"}),
    )


def forward_alone(upstream: int, home: Path) -> Contender:
    """The proxy core with nothing around it: what a project lookup costs is the difference."""
    port = free_port()
    command = [sys.executable, "-m", "bench.forward_alone", str(port), f"http://127.0.0.1:{upstream}"]
    return Contender(name="forward alone", command=command, url=f"http://127.0.0.1:{port}")


def plain_aiohttp(upstream: int, home: Path) -> Contender:
    """aiohttp's own server and client, the straightforward way: what all of the above stands on."""
    port = free_port()
    command = [sys.executable, "-m", "bench.plain_aiohttp", str(port), f"http://127.0.0.1:{upstream}"]
    return Contender(name="plain aiohttp", command=command, url=f"http://127.0.0.1:{port}")


def nginx(upstream: int, home: Path) -> Contender:
    """One worker of nginx, with connections to the upstream kept open."""
    found = program("nginx", "on Debian: apt-get install nginx-light")
    port = free_port()
    config = home / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(NGINX.format(user=user, home=home, port=port, upstream=upstream))
    command = [found, "-p", str(home), "-c", str(config)]
    return Contender(name="nginx", command=command, url=f"http://127.0.0.1:{port}")


def configurable_http_proxy(upstream: int, home: Path) -> Contender:
    """JupyterHub's proxy on Node, which does the same job in front of notebooks."""
    path = npm_program("configurable-http-proxy", CHP_VERSION)
    port = free_port()
    listen = ["--ip", "127.0.0.1", "--port", str(port), "--api-ip", "127.0.0.1", "--api-port", str(free_port())]
    target = ["--default-target", f"http://127.0.0.1:{upstream}", "--log-level", "error"]
    command = [program("node", "install Node.js"), str(path), *listen, *target]
    return Contender(name="configurable-http-proxy", command=command, url=f"http://127.0.0.1:{port}")


CONTENDERS: tuple[Callable[[int, Path], Contender], ...] = (
    gateway,
    forward_alone,
    plain_aiohttp,
    nginx,
    configurable_http_proxy,
)
