"""What the gateway recorded of a session's turn."""

import asyncio
import json

from gateway.log.ids import LogId
from gateway.log.room import LOG
from gateway.wire.events import Cursor, Event
from tests.fakes.numbered import NumberedContainer
from tests.world import Gateway, Project


async def recorded(gateway: Gateway, project_id: str = "demo") -> list[Event]:
    log = gateway.app[LOG].store
    head = await log.head(LogId(project_id))
    events: list[Event] = []
    while batch := await log.read(LogId(project_id), Cursor(head.epoch, events[-1].seq if events else 0)):
        events += batch
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return events


def text(event: Event) -> str:
    found: str = json.loads(event.data)["update"]["content"]["text"]
    return found


async def until_recorded(gateway: Gateway, count: int) -> list[Event]:
    """The log, once it has so many updates."""
    async with asyncio.timeout(20):
        while True:
            events = await recorded(gateway)
            if len([event for event in events if event.type == "session_update"]) >= count:
                return events
            await asyncio.sleep(0.05)


def updates(events: list[Event]) -> list[str]:
    return [text(event) for event in events if event.type == "session_update"]


def gaps(events: list[Event]) -> list[dict[str, object]]:
    return [json.loads(event.data) for event in events if event.type == "gap"]


async def begun(gateway: Gateway, container: NumberedContainer) -> Project:
    project = await gateway.register(container.url)
    await project.create_session()
    return project
