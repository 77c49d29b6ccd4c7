"""``gateway.proxy.forward`` with nothing around it: ``python -m bench.forward_alone PORT UPSTREAM``."""

import asyncio
import sys

import uvloop
from aiohttp import web

from gateway.config.schema import PRIVATE_NETWORKS
from gateway.proxy.client import Client
from gateway.proxy.forward import forward
from gateway.proxy.options import SERVER_OPTIONS
from gateway.proxy.policy import AddressPolicy
from gateway.proxy.upstream import Timeouts, Upstream

TIMEOUTS = Timeouts(connect=5, headers=60, idle=300)


async def main(port: int, upstream: Upstream) -> None:
    async with Client(AddressPolicy.parse(PRIVATE_NETWORKS)) as client:

        async def pass_on(request: web.Request) -> web.StreamResponse:
            return await forward(
                request, client, upstream, request.raw_path, timeouts=TIMEOUTS, scheme="http", prefix=""
            )

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", pass_on)
        runner = web.AppRunner(app, access_log=None, **SERVER_OPTIONS)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), Upstream.parse(sys.argv[2])))
