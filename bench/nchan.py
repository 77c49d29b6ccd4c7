"""nchan, a C module for nginx that sends events to many readers: what the fan-out is compared with.

``python -m bench.nchan PORT COUNT RATE`` publishes events to it, one request each, as it wants them.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import psutil
import uvloop

from bench.events import make, paced, padding_for
from bench.processes import Missing, free_port, program, running

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
HINT = "on Debian: apt-get install nginx-light libnginx-mod-nchan"
CONFIG = """\
load_module {module};
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{ worker_connections 10000; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    keepalive_requests 1000000000;
    nchan_max_reserved_memory 512M;
    server {{
        listen 127.0.0.1:{port};
        location = /ready {{ return 200 "ready"; }}
        location = /publish {{ nchan_publisher; nchan_channel_id bench; nchan_message_buffer_length 100000; }}
        location = /events {{
            nchan_subscriber eventsource;
            nchan_channel_id bench;
            nchan_subscriber_first_message newest;
        }}
    }}
}}
"""


@contextmanager
def nchan(home: Path) -> Iterator[tuple[int, psutil.Process]]:
    """nginx with nchan: its port, and its process."""
    found = program("nginx", HINT)
    if not MODULE.exists():
        raise Missing(f"nchan is not installed ({HINT})")
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    config = home / "nginx.conf"
    config.write_text(CONFIG.format(module=MODULE, user=user, home=home, port=port))
    with running([found, "-p", str(home), "-c", str(config)], answers=f"http://127.0.0.1:{port}/ready") as process:
        yield port, process


class Publisher(asyncio.Protocol):
    """One connection on which requests follow each other without waiting for their answers."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._padding = padding_for(b"bench")

    def publish(self, events: int) -> None:
        for _ in range(events):
            event = make(b"bench", self._padding)
            head = b"POST /publish HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n" % len(event)
            self._transport.write(head + event)


async def main(port: int, count: int, rate: float) -> None:
    _, publisher = await asyncio.get_running_loop().create_connection(Publisher, "127.0.0.1", port)
    async for due in paced(count, rate):
        publisher.publish(due)
    await asyncio.sleep(5)  # its answers


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
