"""What an application does when its server stops."""

import asyncio

from aiohttp import web

from gateway.follow.room import FOLLOWERS
from gateway.stream.room import STREAMS
from gateway.turns.room import TURNS
from gateway.web.keys import CONFIG, READINESS


async def leave(app: web.Application) -> None:
    """Before the server stops accepting connections: report not ready, and give load balancers time to notice."""
    app[READINESS].stop()
    await asyncio.sleep(app[CONFIG].server.stop_delay)


async def stop(app: web.Application) -> None:
    """While pending requests are still answered: store what containers sent, then hand their leases over."""
    app[READINESS].stop()
    app[TURNS].stop_waiting()
    await app[STREAMS].streams.stop()
    await app[FOLLOWERS].hand_over()
