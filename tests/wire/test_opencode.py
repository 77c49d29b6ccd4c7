"""The forms of OpenCode's streams: what was recorded comes out as it came, and what the gateway says looks like it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.log.packs import encode, frames
from gateway.wire.events import OPENCODE_EVENT, Cursor, Event, Gap, Reset
from gateway.wire.opencode import API_EVENT, EVENT, EVENT_STREAMS, GLOBAL_EVENT, EventStream
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


def said_on(stream: EventStream) -> dict[str, bytes]:
    """What the gateway itself says, by its type."""
    gap = recorded(3, stream.gap(Gap(reason="oversized", count=1)).decode())
    return {
        "server.connected": stream.connected(Cursor(7, 3), retry=2000),
        "gateway.reset": stream.reset(Reset(epoch=7, floor=1, head=3, reason="no_longer_kept")),
        "gateway.gap": gap.frame(),
    }


@pytest.mark.parametrize(
    ("stream", "content"), [(EVENT, "properties"), (GLOBAL_EVENT, "properties"), (API_EVENT, "data")], ids=EVENT_STREAMS
)
def test_what_the_gateway_says_is_of_the_streams_form(stream: EventStream, content: str) -> None:
    for type, block in said_on(stream).items():
        [(id, data)] = as_the_sdk_reads_it(block)
        value = json.loads(data)
        if stream is GLOBAL_EVENT:
            assert value.keys() == {"payload"}
            value = value["payload"]
        assert (id, value["type"], value.keys()) == ("7-3", type, {"id", "type", content})
        assert value["id"].startswith("evt_")
        assert stream.event_in(json.loads(data)) == value


def test_a_heartbeat_is_an_event_or_a_comment_as_opencodes_is() -> None:
    for stream in (EVENT, GLOBAL_EVENT):
        [(id, data)] = as_the_sdk_reads_it(stream.heartbeat(Cursor(7, 3)))
        assert (id, stream.event_in(json.loads(data))["type"]) == ("7-3", "server.heartbeat")
    assert API_EVENT.heartbeat(None) == b": heartbeat\n\n"
    assert API_EVENT.is_comment(b": heartbeat\n\n")
    assert API_EVENT.heartbeat(Cursor(7, 3), retry=2000) == b"id: 7-3\nretry: 2000\n: heartbeat\n\n"
    assert not EVENT.is_comment(b": heartbeat\n\n")


@given(st.recursive(st.none() | st.text(), lambda some: st.lists(some) | st.dictionaries(st.text(), some)))
def test_whatever_a_block_has_an_event_is_found_or_not(value: Any) -> None:
    for stream in EVENT_STREAMS.values():
        assert isinstance(stream.event_in(value), dict)
        assert stream.event_in({"payload": value}) in (value, {}, {"payload": value})


def test_a_gap_tells_its_times() -> None:
    said = json.loads(EVENT.gap(Gap(reason="stream_interrupted"), since=AT, until=AT))
    moment = "2026-01-02T03:04:05.678Z"
    assert said["properties"] == {"reason": "stream_interrupted", "from": moment, "to": moment, "count": None}


def test_without_a_cursor_a_client_keeps_its_own() -> None:
    assert as_the_sdk_reads_it(EVENT.connected(None))[0][0] is None
