"""Which prompts a container took, and what was said of their turns."""

import json

from gateway.wire.sse import SSEEvent
from tests.world import Project

#: While this stands no gateway can note that it is about to send a prompt.
NOT_SENT_YET = """
create function not_yet() returns trigger language plpgsql as $$ begin raise exception 'not yet'; end $$;
create trigger not_yet before update of sent_at on turns for each row execute function not_yet();
"""


async def prompts_taken(project: Project) -> int:
    """How many prompts the project's container was given, as it counts them itself."""
    sessions = (await project.call("GET", "/sessions")).json["data"]["sessions"]
    return sum(session["messageCount"] for session in sessions)


async def events_of(project: Project, session_id: str) -> list[SSEEvent]:
    """What the log holds now of a session, which may not be what it holds last."""
    head = (await project.call("GET", f"/session/{session_id}")).json["cursor"]
    async with project.events(query="?from=start") as stream:
        events = [await stream.next()]
        while events[-1].id != head:
            events.append(await stream.next())
    return [event for event in events if json.loads(event.data).get("sessionId") == session_id]
