"""What is remembered of OpenCode's events takes little memory, however long what they name is."""

import json
import tracemalloc
from typing import Any, cast

import pytest

from gateway.credentials.known import KnownSecrets
from gateway.db.pool import Database
from gateway.ingest.opencode import Recording
from gateway.log.store import NewEvent
from gateway.wire.masking import Masker
from gateway.wire.opencode import EVENT
from gateway.wire.sse import SSEEvent

SECRET = "sk-ant-api03-of-alice-and-nobody-else"
#: As long as a whole session that an agent has logged in with.
LONG_SECRET = SECRET + "k" * 50_000


class Known:
    """Each project's agents have been given these secrets."""

    def masker(self, project_id: str) -> Masker:
        return Masker([SECRET, LONG_SECRET])


@pytest.fixture
def recording() -> Recording:
    return Recording(EVENT, cast("Database", None), cast("KnownSecrets", Known()))


async def record(recording: Recording, delta: str, type: str = "message.part.delta", **properties: Any) -> str:
    """The piece as it is recorded."""
    data = json.dumps({"type": type, "properties": {**properties, "delta": delta}}, ensure_ascii=False)
    recorded = recording("demo/opencode", SSEEvent(event="message", data=data, id=None))
    recorded = await recorded() if callable(recorded) else recorded
    assert isinstance(recorded, NewEvent)
    return str(json.loads(recorded.data)["properties"]["delta"])


@pytest.mark.parametrize("begun", ["a", SECRET[:20], LONG_SECRET[:49_000]])
async def test_names_of_texts_are_not_remembered_at_their_length(recording: Recording, begun: str) -> None:
    tracemalloc.start()
    try:
        for number in range(40):
            await record(recording, begun, partID=f"{number}" + "\u20ac" * 100_000)
            await record(recording, begun, sessionID="s", part={"id": f"{number}" + "p" * 100_000})
            await record(recording, begun, type=f"{number}" + "t" * 100_000 + ".delta")
            await record(recording, begun, **{f"{number}" + "n" * 100_000: "x"})
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 500_000


async def test_pieces_of_texts_that_differ_in_any_name_do_not_belong_together(recording: Recording) -> None:
    head, rest = SECRET[:20], SECRET[20:]
    names: list[dict[str, Any]] = [
        {"partID": "p"},
        {"partID": "p" * 100_000},
        {"partID": "p" * 100_000 + "q"},
        {"partID": "p", "field": "text"},
        {"partI": "Dp"},
        {"part": {"id": "p"}},
        {"partID": "p", "type": "message.part.updated"},
    ]
    for named in names:
        assert await record(recording, head, **named) == head[:8] + "***"
        assert await record(recording, "x", **named) == "x"
    for named in names:
        assert await record(recording, head, **named) == head[:8] + "***"
    for named in names:
        assert await record(recording, rest + "!", **named) == "!"
