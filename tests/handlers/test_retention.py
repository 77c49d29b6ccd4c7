"""Retention under running streams, over HTTP: complete, or told to reset (row 21 of the fault matrix)."""

import asyncio
import json
from typing import Any

import attrs
import pytest

from gateway.config.schema import EventsConfig
from gateway.log.folding import Folding
from gateway.log.ids import LogId
from gateway.log.room import LOG
from gateway.projects.store import Retention
from gateway.upkeep.packing import Packing
from gateway.upkeep.retention import Retaining
from gateway.web.keys import DATABASE
from tests.handlers.history import turn_of
from tests.world import QUICK, GatewayProcess, Project

TURNS = 30


@pytest.fixture
def gateways(database_url: str) -> GatewayProcess:
    # So short a tail that whoever is behind reads the log.
    return GatewayProcess(database_url, attrs.evolve(QUICK, events=EventsConfig(heartbeat=0.5, tail_bytes=65_536)))


async def read(project: Project, last: int) -> tuple[list[int], list[tuple[int, Any]]]:
    """The numbers that a client got from the log's start, and where it was told to begin again from where on."""
    numbers: list[int] = []
    resets: list[tuple[int, Any]] = []
    async with project.events(query="?from=start") as stream:
        while not numbers or numbers[-1] < last:
            event = await stream.next()
            seq = int(event.id.split("-")[1]) if event.id else 0
            if event.event == "reset":
                resets.append((len(numbers), json.loads(event.data)["data"]))
                numbers.append(seq)
            elif event.event != "heartbeat":
                numbers.append(seq)
    return numbers, resets


async def test_streams_are_complete_or_reset_while_retention_deletes_what_they_read(
    gateways: GatewayProcess, base_container: Any
) -> None:
    async with gateways.run() as gateway:
        project = await gateway.register(base_container.url, defaultAgentId="demo")
        session = await project.create_session()
        log, database = gateway.app[LOG].store, gateway.app[DATABASE]
        events = [event for number in range(TURNS) for event in turn_of(session, f"t{number}", number)]
        for start in range(0, len(events), 500):
            await log.append(LogId(project.id), events[start : start + 500])
        last = (await log.head(LogId(project.id))).head
        retaining = Retaining(database, Folding(database, log), Retention())

        async def delete() -> None:
            await Packing(database, 0).pack(LogId(project.id))
            for size in range(10_000, 0, -2_500):
                await retaining.apply(LogId(project.id), Retention(max_bytes=size))

        async with asyncio.timeout(50):
            *clients, _ = await asyncio.gather(*(read(project, last) for _ in range(3)), delete())
        for numbers, resets in clients:
            begins = {index for index, _ in resets}
            for index in range(1, len(numbers)):
                assert index in begins or numbers[index] == numbers[index - 1] + 1
            assert all(reset["reason"] == "no_longer_kept" for _, reset in resets)
        floor = (await log.head(LogId(project.id))).floor
        assert floor > 0
        numbers, resets = await read(project, last)
        assert numbers[0] == floor + 1
        assert resets == []
        async with project.events(last_event_id=f"1-{floor - 1}") as stream:
            assert (await stream.until("reset"))[-1].event == "reset"
