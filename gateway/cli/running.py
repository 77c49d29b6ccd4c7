"""What up and serve have in common while they run."""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from gateway.cli.say import Say
from gateway.config.schema import AgentHostConfig, ServerConfig
from gateway.db.embedded import EmbeddedPostgres
from gateway.errors import StartError
from gateway.server.run import address

#: How often the embedded PostgreSQL is checked.
LOOK_SECONDS = 1.0
#: Wildcard addresses cannot be connected to everywhere; loopback can, on this machine.
_ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def url_of(settings: ServerConfig | AgentHostConfig) -> str:
    return f"http://{address(settings.host, settings.port)}"


def base_of(server: ServerConfig) -> str:
    """The gateway's address for people: its public URL, or where it listens."""
    return server.public_url or f"http://{address(_ALL.get(server.host, server.host), server.port)}"


def address_of(sock: socket.socket) -> str:
    """Where a socket listens, as an IP address, since a name might lead elsewhere."""
    host, port = sock.getsockname()[:2]
    return f"http://{address(host, port)}"


def say_open(say: Say, modes: Sequence[str]) -> None:
    """Explain the mode ``local``."""
    what = "every program on this machine, agents too, may use the gateway as its one user"
    say(f"identity      {', '.join(modes)}: {what}")


def say_ready(say: Say, base: str, console: str, began: float) -> None:
    """``began``: by the monotonic clock."""
    say(f"console       {console}")
    say(f"API           {base}/docs")
    say(f"ready in {time.monotonic() - began:.1f} s; Ctrl-C stops it")


async def until(
    stopped: asyncio.Event, postgres: EmbeddedPostgres | None, check: Callable[[], None] = lambda: None
) -> None:
    """Wait for the signal to stop; ``check`` raises if something essential has ended.

    ``StartError`` if the embedded PostgreSQL has ended.
    """
    while not stopped.is_set():
        check()
        if postgres is not None and postgres.pid is None:
            raise StartError("PostgreSQL has ended by itself; its log says why. Start again; all data is kept")
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), LOOK_SECONDS)
