"""Clients that remember what they were shown, to be compared with what the log has."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from gateway.errors import GatewayError
from gateway.wire.events import Event
from tests.fakes.eventually import eventually, until
from tests.fakes.numbered import NumberedContainer
from tests.log.recording import recorded, updates
from tests.world import Gateway, Project


class Client:
    """What a client shows, by number; a reset makes it begin anew at its place."""

    def __init__(self) -> None:
        self.shown: dict[int, Any] = {}
        self.resets: list[str] = []
        self.cursor: str | None = None

    @asynccontextmanager
    async def watching(self, project: Project) -> AsyncIterator[None]:
        async with project.events(last_event_id=self.cursor, query="" if self.cursor else "?from=start") as stream:
            opened = asyncio.Event()

            async def read() -> None:
                with suppress(EOFError):
                    while True:
                        block = await stream.block()
                        opened.set()
                        if block.id:
                            self.cursor = block.id
                        self.take(block.event, block.data)

            reading = asyncio.create_task(read())
            await opened.wait()
            try:
                yield
            finally:
                reading.cancel()
                await asyncio.wait([reading])

    def take(self, type: str, data: str) -> None:
        if type == "heartbeat":
            return
        value = json.loads(data)["data"]
        if type == "reset":
            self.resets.append(value["reason"])
            self.shown = {}
            return
        assert self.cursor is not None
        seq = int(self.cursor.split("-")[1])
        assert not self.shown or seq == max(self.shown) + 1, f"{seq} after {max(self.shown)}"
        self.shown[seq] = value

    async def has(self, gateway: Gateway) -> None:
        """Wait until it shows the log's end, and compare all that it shows."""
        events = await log_of(gateway)
        await eventually(lambda: max(self.shown, default=0) >= len(events))
        log = {event.seq: json.loads(event.data) for event in await log_of(gateway)}
        assert {seq: log[seq] for seq in self.shown} == self.shown


async def log_of(gateway: Gateway, project_id: str = "demo") -> list[Event]:
    """What is recorded, once the database is there."""
    async with asyncio.timeout(30):
        while True:
            with suppress(GatewayError):
                return await recorded(gateway, project_id)
            await asyncio.sleep(0.1)


async def until_again(gateway: Gateway, container: NumberedContainer) -> None:
    """Wait until the log has all that the container ever said."""

    async def has_all() -> bool:
        return updates(await log_of(gateway)) == list(container.truth.values())

    await until(has_all)


async def has_updates(gateway: Gateway, count: int) -> bool:
    """Whether the log has at least so many updates."""
    return len(updates(await log_of(gateway))) >= count


def epoch_of(cursor: str | None) -> int:
    assert cursor is not None
    return int(cursor.split("-")[0])
