"""The room's key: whoever opens the gateway makes its ``Containers``, which hold nothing that has to be closed."""

from aiohttp import web

from gateway.container.containers import Containers

CONTAINERS = web.AppKey("containers", Containers)
