"""All that a session's stream has told."""

import json

from gateway.wire.sse import SSEEvent
from tests.world import Project


async def everything(project: Project, session: str) -> list[SSEEvent]:
    """What the session's stream has up to the end of the turn that has ended last."""
    last = (await project.messages(session))[-1]["turnId"]
    events: list[SSEEvent] = []
    async with project.events(session, query="?from=start") as stream:
        while not (events and events[-1].event == "turn_ended" and json.loads(events[-1].data)["turnId"] == last):
            events.append(await stream.next())
    return events
