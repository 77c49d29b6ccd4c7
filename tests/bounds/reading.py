"""A client that reads a stream of events, and looks for nothing but the mark that was said last."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import attrs

from tests.bounds.trial import Trial


@attrs.define
class Follower:
    number: int = 0
    marked: str = ""
    is_found: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def reads(self, say: Callable[[str], Awaitable[None]]) -> None:
        """Have another mark said, and wait until it is read: all before it is, too."""
        self.number += 1
        self.marked, self.is_found = f"mark-{self.number};", asyncio.Event()
        await say(self.marked)
        async with asyncio.timeout(30):
            await self.is_found.wait()

    async def follow(self, response: aiohttp.ClientResponse) -> None:
        tail = b""
        async for piece in response.content.iter_any():
            if self.marked.encode() in tail + piece:
                self.is_found.set()
            tail = piece[-100:]


@asynccontextmanager
async def following(trial: Trial, path: str) -> AsyncIterator[Follower]:
    follower = Follower()
    async with trial.gateway.http.get(f"{trial.gateway.url}{path}") as response:
        assert response.status == 200
        task = asyncio.create_task(follower.follow(response))
        try:
            yield follower
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
