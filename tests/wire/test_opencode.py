"""OpenCode's own form: what was recorded comes out as it came, and what the gateway says there looks like it."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.log.packs import encode, frames
from gateway.wire import opencode
from gateway.wire.events import OPENCODE_EVENT, Cursor, Event, Gap, Reset
from gateway.wire.sse import SSEEvent, SSEParser

AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
#: What a line of data can be: its line ends arrive as LF, and bytes that are no UTF-8 do not arrive.
DATA = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r"), min_size=1)


def recorded(seq: int, data: str) -> Event:
    return Event(
        cursor=Cursor(7, seq),
        type=OPENCODE_EVENT,
        session_id=None,
        turn_id=None,
        agent_id=None,
        at=AT,
        data=data.encode(),
    )


def parsed(raw: bytes) -> list[SSEEvent]:
    return [event for event in SSEParser().feed(raw) if isinstance(event, SSEEvent)]


def as_the_sdk_reads_it(raw: bytes) -> list[tuple[str | None, str]]:
    """As OpenCode's SDK takes blocks apart: at empty lines, and then line by line."""
    found = []
    for block in raw.decode().split("\n\n")[:-1]:
        lines = block.split("\n")
        data = [line.removeprefix("data:").lstrip() for line in lines if line.startswith("data:")]
        ids = [line.removeprefix("id:").lstrip() for line in lines if line.startswith("id:")]
        assert not [line for line in lines if line.startswith("event:")]
        found.append((ids[-1] if ids else None, "\n".join(data)))
    return found


@given(st.lists(DATA, min_size=1, max_size=5))
def test_what_was_recorded_comes_out_as_it_came_packed_or_not(texts: list[str]) -> None:
    events = [recorded(seq, data) for seq, data in enumerate(texts, 1)]
    blocks = parsed(b"".join(event.frame() for event in events))
    assert [(block.id, block.event, block.data) for block in blocks] == [
        (f"7-{seq}", "message", data) for seq, data in enumerate(texts, 1)
    ]
    rows = [
        {"seq": event.seq, "type": event.type, "session_id": None, "turn_id": None, "agent_id": None}
        | {"at": event.at, "payload": event.data}
        for event in events
    ]
    assert frames(encode(rows), Cursor(7, 0)) == [(event.seq, event.frame()) for event in events]


@pytest.mark.parametrize(
    ("block", "type"),
    [
        (opencode.connected(Cursor(7, 3), retry=2000), "server.connected"),
        (opencode.heartbeat(Cursor(7, 3)), "server.heartbeat"),
        (opencode.reset(Reset(epoch=7, floor=1, head=3, reason="no_longer_kept")), "gateway.reset"),
        (recorded(3, opencode.gap(Gap(reason="oversized", count=1)).decode()).frame(), "gateway.gap"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_gateway_says_is_of_opencodes_form(block: bytes, type: str) -> None:
    [(id, data)] = as_the_sdk_reads_it(block)
    value = json.loads(data)
    assert (id, value["type"], value.keys()) == ("7-3", type, {"id", "type", "properties"})
    assert value["id"].startswith("evt_")


def test_a_gap_tells_its_times() -> None:
    said = json.loads(opencode.gap(Gap(reason="stream_interrupted"), since=AT, until=AT))
    moment = "2026-01-02T03:04:05.678Z"
    assert said["properties"] == {"reason": "stream_interrupted", "from": moment, "to": moment, "count": None}


def test_without_a_cursor_a_client_keeps_its_own() -> None:
    assert as_the_sdk_reads_it(opencode.connected(None))[0][0] is None
