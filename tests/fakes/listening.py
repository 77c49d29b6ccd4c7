"""Servers of the tests' own, which leave nothing open when they stop."""

import socket

from aiohttp import web

from gateway.server.listening import Accepting


async def listen(runner: web.AppRunner, port: int = 0, *, host: str = "127.0.0.1") -> Accepting:
    """The runner's application answers there from now on.

    aiohttp's own sites keep a connection open for good that comes in at the very moment at which they stop.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    site = Accepting(runner, socket.create_server((host, port), family=family, backlog=128))
    await site.start()
    return site
