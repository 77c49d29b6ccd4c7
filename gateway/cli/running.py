"""A gateway that runs: where it answers, and how long."""

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

#: How often a running gateway looks whether its PostgreSQL is still there.
LOOK_SECONDS = 1.0


#: All addresses of a machine, none of which is one to ask; on the machine itself its loopback is.
_ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def url_of(settings: ServerConfig | AgentHostConfig) -> str:
    return f"http://{address(settings.host, settings.port)}"


def base_of(server: ServerConfig) -> str:
    """Where people reach a gateway: as its operator says, else where it listens."""
    return server.public_url or f"http://{address(_ALL.get(server.host, server.host), server.port)}"


def address_of(sock: socket.socket) -> str:
    """Where a socket listens, by its number: a name may lead elsewhere, too."""
    host, port = sock.getsockname()[:2]
    return f"http://{address(host, port)}"


def say_open(say: Say, modes: Sequence[str]) -> None:
    """What ``local`` means; ``docs/security.md`` has more of it."""
    what = "every program on this machine, its agents too, may use the gateway as its one user"
    say(f"identity      {', '.join(modes)}: {what}")


def say_ready(say: Say, base: str, console: str, began: float) -> None:
    """``began``: by the monotonic clock."""
    say(f"console       {console}")
    say(f"API           {base}/docs")
    say(f"ready in {time.monotonic() - began:.1f} s; Ctrl-C stops it")


async def until(
    stopped: asyncio.Event, postgres: EmbeddedPostgres | None, check: Callable[[], None] = lambda: None
) -> None:
    """Wait for the signal to stop; ``check`` raises where something ends that cannot be done without.

    ``StartError`` where that is the embedded PostgreSQL.
    """
    while not stopped.is_set():
        check()
        if postgres is not None and postgres.pid is None:
            raise StartError("PostgreSQL has ended by itself; its log says why. Start again: what was stored is kept")
        with suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), LOOK_SECONDS)
