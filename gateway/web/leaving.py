"""The key of an application's hook that its server calls before it stops."""

from collections.abc import Awaitable, Callable

from aiohttp import web

#: Called before a server stops accepting connections. In a module of its own because the agent host imports it, too.
LEAVE: web.AppKey[Callable[[], Awaitable[None]]] = web.AppKey("leave")
