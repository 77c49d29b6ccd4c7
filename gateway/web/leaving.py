"""What a server does with an application before it stops."""

from collections.abc import Awaitable, Callable

from aiohttp import web

#: Called before a server stops taking connections. The agent host's server knows it too, without the gateway's rooms.
LEAVE: web.AppKey[Callable[[], Awaitable[None]]] = web.AppKey("leave")
