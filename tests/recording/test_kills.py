"""Gateways that are killed while OpenCode talks: each event once, in order; where some are missing a gap says so."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import attrs
import pytest

from gateway.wire.sse import SSEEvent
from gateway.wire.times import parse_timestamp
from tests.chaos.processes import GatewayServer
from tests.fakes.eventually import eventually
from tests.fakes.opencode import FakeOpenCode
from tests.recording.listening import OWN, type_of, value_of
from tests.world import EventStream

pytestmark = pytest.mark.timeout(180)

EVENTS, PAUSE = 1_500, 0.005


@pytest.fixture
async def gateways(database_url: str, tmp_path: Path) -> AsyncIterator[list[GatewayServer]]:
    servers = [GatewayServer(database_url, tmp_path) for _ in range(2)]
    for server in servers:
        server.start()
    try:
        for server in servers:
            await server.ready()
        yield servers
    finally:
        for server in servers:
            if server.is_running:
                server.kill()


@attrs.define
class Client:
    """Comes back at another gateway each time that its stream breaks, as a client behind a load balancer does."""

    servers: list[GatewayServer]
    blocks: list[SSEEvent] = attrs.field(factory=list)
    comebacks: int = -1

    async def until(self, data: bytes) -> None:
        async with aiohttp.ClientSession() as http:
            while not (self.blocks and self.blocks[-1].data.encode() == data):
                self.comebacks += 1
                try:
                    await self._listen(http, self.servers[self.comebacks % len(self.servers)].url, data)
                except (aiohttp.ClientError, EOFError):
                    await asyncio.sleep(0.1)

    async def _listen(self, http: aiohttp.ClientSession, url: str, data: bytes) -> None:
        headers = {"Last-Event-ID": self.blocks[-1].id or ""} if self.blocks else {}
        path = "/api/projects/demo/opencode/event" + ("" if self.blocks else "?from=start")
        async with http.get(url + path, headers=headers) as response:
            response.raise_for_status()
            stream = EventStream(response)
            while not (self.blocks and self.blocks[-1].data.encode() == data):
                self.blocks.append(await stream.block())


async def test_each_event_comes_once_or_is_in_a_gap_however_often_the_gateway_that_records_is_killed(
    gateways: list[GatewayServer],
) -> None:
    async with FakeOpenCode() as opencode, aiohttp.ClientSession() as http:
        body = {
            "id": "demo",
            "containerUrl": opencode.url,
            "acpUrl": "http://127.0.0.1:1",
            "recordOpencodeEvents": True,
        }
        async with http.post(f"{gateways[0].url}/api/projects", json=body) as answer:
            assert answer.status == 201
        client = Client(gateways)
        last = b'{"type":"session.idle","properties":{}}'
        listening = asyncio.create_task(client.until(last))
        await eventually(lambda: opencode.listeners, within=30)
        await asyncio.sleep(0.5)
        for number in range(EVENTS):
            opencode.tell(1, number)
            if number % 500 == 250:
                # Each in turn: one of them records.
                victim = gateways[number // 500 % 2]
                victim.kill()
                victim.start()
            await asyncio.sleep(PAUSE)
        await eventually(lambda: opencode.listeners, within=30)
        await asyncio.sleep(0.5)
        opencode.say(last)
        async with asyncio.timeout(90):
            await listening
    # Each that was killed had recorded, or its client.
    assert client.comebacks >= 1
    assert "gateway.gap" in [type_of(block) for block in client.blocks]
    check(client.blocks, opencode)


def check(blocks: list[SSEEvent], opencode: FakeOpenCode) -> None:
    """What was told is what OpenCode said, in its order; between neighbours that were none there, a gap says so."""
    places = {data: place for place, data in enumerate(opencode.said)}
    told = [block for block in blocks if type_of(block) not in OWN]
    expected, gaps, missing = 0, [], 0
    for block in told:
        if type_of(block) == "gateway.gap":
            gaps.append(value_of(block)["properties"])
            continue
        place = places[block.data.encode()]
        assert place >= expected, "told twice, or out of order"
        if place > expected:
            assert gaps, f"{place - expected} events are missing before {place}, and nothing says so"
            begin, end = (parse_timestamp(gap) for gap in (gaps[0]["from"], gaps[-1]["to"]))
            assert begin is not None
            assert end is not None
            for lost in range(expected, place):
                assert begin <= opencode.said_at[lost] <= end, "lost outside of what the gap says"
            missing += place - expected
        gaps, expected = [], place + 1
    assert expected == len(opencode.said)
    assert missing < len(opencode.said)
    # Heartbeats bear the id of the one before; the ``server.connected`` behind a gap has its own.
    numbers = {int((block.id or "").partition("-")[2]) for block in blocks} - {0}
    assert numbers == set(range(1, len(numbers) + 1))
