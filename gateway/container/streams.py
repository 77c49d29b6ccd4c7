"""An event stream of a container, read as it comes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from gateway.errors import UpstreamFailed
from gateway.proxy.client import Client
from gateway.proxy.upstream import Timeouts, Upstream


@asynccontextmanager
async def opened(
    client: Client, upstream: Upstream, path: str, *, headers: Mapping[str, str], timeouts: Timeouts
) -> AsyncIterator[aiohttp.StreamReader]:
    """The stream's bytes, once it is open. Raises ``UpstreamError`` kinds."""
    sent = {**headers, "Accept": "text/event-stream"}
    async with client.open("GET", upstream, path, headers=sent, timeouts=timeouts) as response:
        if response.status != 200 or response.content_type != "text/event-stream":
            raise UpstreamFailed(f"The container's event stream answered {response.status} {response.content_type}.")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            # Nobody asked for it, and a few bytes of it may be gigabytes of events.
            raise UpstreamFailed("The container compresses its event stream, which it was not asked to.")
        yield response.content
