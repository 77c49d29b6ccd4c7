"""What a server does with an application before it stops."""

from collections.abc import Awaitable, Callable

from aiohttp import web

#: Called before a server stops taking connections: whoever sends requests here is told, and has time to notice.
LEAVE: web.AppKey[Callable[[], Awaitable[None]]] = web.AppKey("leave")
