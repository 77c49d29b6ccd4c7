"""Appending to the log of a test's own project, and reading all of it."""

import json

from gateway.db.pool import Database
from gateway.log.ids import LogId
from gateway.log.store import Log, NewEvent
from gateway.projects.store import NewProject, Projects
from gateway.wire.events import Cursor, Event

PROJECT = "p"


async def make_project(database: Database, id: str = PROJECT) -> None:
    await Projects(database).create("local", NewProject(id=id, container_url="http://127.0.0.1:4096"))


async def whole(log: Log, project: str = PROJECT) -> list[Event]:
    events: list[Event] = []
    epoch = (await log.head(LogId(project))).epoch
    while batch := await log.read(LogId(project), Cursor(epoch, events[-1].seq if events else 0)):
        events += batch
    return events


def said(text: str, number: int | None = None, key: str | None = None, **members: str) -> NewEvent:
    return NewEvent(type="session_update", data=json.dumps(text).encode(), number=number, key=key, **members)
