"""What an agent wrote and cannot be read is a gap in the log, with what is known of it."""

import json

from tests.story.conftest import Session
from tests.world import data_of


async def test_a_message_that_cannot_be_read_is_a_gap_in_its_place(session: Session) -> None:
    broken = '{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"$SESSION","update":{"text":oops}}}\n'
    events = await session.events_of(["say", "before", 1], ["raw", broken], ["say", "after", 1])
    kinds = [event.event for event in events]
    [gap] = [event for event in events if event.event == "gap"]
    assert kinds[kinds.index("gap") - 1] == kinds[kinds.index("gap") + 1] == "session_update"
    assert data_of(gap)["reason"] == "agent_output"
    assert data_of(gap)["message"].startswith('{"jsonrpc":"2.0","method":"session/update"')
    envelope = json.loads(gap.data)
    assert (envelope["sessionId"], envelope["agentId"]) == (session.id, "scripted")
