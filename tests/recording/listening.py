"""A client of one of OpenCode's event streams that goes through the gateway and keeps what it is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs

from gateway.wire.sse import SSEEvent
from tests.world import EventStream, Gateway

OWN = ("server.connected", "server.heartbeat")


@attrs.define
class Listener:
    """An open stream; ``blocks`` is all that it brought, as it came."""

    stream: EventStream
    blocks: list[SSEEvent] = attrs.field(factory=list)

    async def block(self) -> SSEEvent:
        self.blocks.append(await self.stream.block())
        return self.blocks[-1]

    async def next(self) -> SSEEvent:
        """The next block that is not about the stream itself."""
        while type_of(await self.block()) in OWN:
            pass
        return self.blocks[-1]

    async def until(self, data: bytes) -> list[SSEEvent]:
        """The blocks up to the one with this data, without those about the stream itself."""
        found = [await self.next()]
        while found[-1].data.encode("utf-8", "surrogatepass") != data:
            found.append(await self.next())
        return found

    def told(self) -> list[bytes]:
        """All that it brought of OpenCode's own."""
        return data_of([block for block in self.blocks if type_of(block) not in (*OWN, "gateway.gap")])


def value_of(block: SSEEvent) -> Any:
    return json.loads(block.data)


def event_of(block: SSEEvent) -> Any:
    """The event in a block, whichever stream's form it has."""
    value = value_of(block)
    return value.get("payload", value)


def type_of(block: SSEEvent) -> str:
    found: str = event_of(block)["type"]
    return found


def content_of(block: SSEEvent) -> Any:
    event = event_of(block)
    return event["data"] if "data" in event else event["properties"]


def data_of(blocks: list[SSEEvent]) -> list[bytes]:
    return [block.data.encode() for block in blocks]


@asynccontextmanager
async def listening(
    gateway: Gateway,
    project_id: str = "demo",
    *,
    last_event_id: str | None = None,
    path: str = "/event",
    query: str = "",
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[Listener]:
    """A stream of the project's OpenCode through the gateway, from its first block on."""
    sent = {**gateway.headers, **(headers or {})}
    if last_event_id is not None:
        sent["Last-Event-ID"] = last_event_id
    url = f"{gateway.url}/api/projects/{project_id}/opencode{path}{query}"
    async with gateway.http.get(url, headers=sent, timeout=aiohttp.ClientTimeout(sock_read=30)) as response:
        assert response.status == 200, await response.read()
        listener = Listener(EventStream(response))
        async with asyncio.timeout(30):
            assert type_of(await listener.block()) == "server.connected"
        yield listener
