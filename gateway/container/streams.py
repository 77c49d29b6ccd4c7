"""Reads a container's event stream."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Final

import aiohttp

from gateway.errors import UpstreamFailed
from gateway.proxy.answer import Answer
from gateway.proxy.client import Client
from gateway.proxy.upstream import Timeouts, Upstream

#: Bytes parsed before others may run: events may be a few bytes long.
PIECE_BYTES = 16_384

_ACCEPT: Final = {"Accept": "text/event-stream"}


@asynccontextmanager
async def opened(
    client: Client, upstream: Upstream, path: str, *, headers: Mapping[str, str], timeouts: Timeouts
) -> AsyncIterator[aiohttp.StreamReader]:
    """The open stream's bytes. Raises ``UpstreamError`` kinds."""
    async with client.open("GET", upstream, path, headers={**headers, **_ACCEPT}, timeouts=timeouts) as response:
        if not _is_stream(response):
            raise UpstreamFailed(f"The container's event stream answered {response.status} {response.content_type}.")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            # A few compressed bytes may be gigabytes of events.
            raise UpstreamFailed("The container compresses its event stream, which it was not asked to.")
        yield response.content


async def is_there(
    client: Client, upstream: Upstream, path: str, *, headers: Mapping[str, str], timeouts: Timeouts
) -> bool:
    """Whether the container answers with an event stream there. Raises ``UpstreamError`` kinds."""
    async with client.open("GET", upstream, path, headers={**headers, **_ACCEPT}, timeouts=timeouts) as response:
        return _is_stream(response)


def _is_stream(answer: Answer) -> bool:
    return answer.status == 200 and answer.content_type == "text/event-stream"


@asynccontextmanager
async def opened_or_counted(
    opening: AbstractAsyncContextManager[aiohttp.StreamReader], counted: Callable[[], Awaitable[None]]
) -> AsyncIterator[Awaitable[aiohttp.StreamReader]]:
    """A stream that is open once it is answered, or once ``counted`` returns, whichever comes first.

    Bun's server sends the head of an answer together with the first piece of its body, so an open stream may have no
    head yet. Awaiting what is yielded waits for it.
    """
    async with AsyncExitStack() as stack:
        head = asyncio.create_task(stack.enter_async_context(opening), name="head of an event stream")
        stack.push_async_callback(_cancelled, head)
        counting = asyncio.ensure_future(counted())
        try:
            await asyncio.wait((head, counting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancelled(counting)
        if head.done():
            await head
        yield head


async def _cancelled(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def pieces(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The data in small pieces, so that others can run in between."""
    async for data in stream.iter_any():
        for start in range(0, len(data), PIECE_BYTES):
            if start:
                await asyncio.sleep(0)
            yield data[start : start + PIECE_BYTES]
