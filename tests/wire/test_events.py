"""Events as blocks of a stream, and cursors as text."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from gateway.wire import events
from gateway.wire.events import Cursor, Event, EventData
from gateway.wire.sse import SSEEvent, SSEParser, encode_event
from gateway.wire.times import parse_timestamp, timestamp

AT = datetime(2026, 11, 22, 12, 30, 15, 123456, tzinfo=UTC)

EVERY_KIND: list[EventData] = [
    events.SessionCreated(agent_id="demo", title=None, working_directory="src", created_by="local"),
    events.SessionRestored(how="new", reason="agent_restarted"),
    events.SessionRenamed(title="new", former_title=None, renamed_by="local"),
    events.SessionCleared(cleared_by="local"),
    events.SessionMode(mode="plan", agent_decides=False),
    events.SessionEnded(ended_by="local"),
    events.TurnStarted(prompt=[{"type": "text", "text": "hi"}], started_by="local"),
    events.TurnQueued(queued_by="local"),
    events.TurnCancelling(requested_by="local"),
    events.TurnStalling(silent_for=900.0, ends_after=1800.0),
    events.AgentStopping(agent_id="demo", reason="cancel_unanswered", other_turns=["trn_2"]),
    events.TurnEnded(outcome="failed", failure="agent_died", message="it died"),
    events.PermissionRequest(permission_id="prm_1", tool_call={"toolCallId": "1"}, options=[]),
    events.PermissionResolved(permission_id="prm_1", outcome="selected", option_id="yes", resolved_by="local"),
    events.TerminalStarted(terminal_id="t", command="ls", args=("-l",), cwd="/project"),
    events.TerminalOutput(terminal_id="t", text="total 0\n"),
    events.TerminalEnded(terminal_id="t", exit_code=0),
    events.FileRead(path="/project/a", size=5, line=2),
    events.FileWritten(path="/project/a", size=2, old_text=None, new_text="hi"),
    events.ProjectChanged(
        changed=["permissionMode"],
        settings={"permissionMode": "ask"},
        former={"permissionMode": "full-auto"},
        changed_by="local",
    ),
    events.MemberAdded(user_id="olga", role="viewer", added_by="local"),
    events.MemberRoleChanged(user_id="olga", role="admin", former_role="viewer", changed_by="local"),
    events.MemberRemoved(user_id="olga", role="admin", removed_by="olga"),
    events.CredentialConnected(
        user_id="alice", token_type="oauth", provider="github", scopes=("a",), expires_at="2027-11-22T12:30:15.123Z"
    ),
    events.CredentialRenewed(user_id="alice", provider="github", expires_at=None),
    events.CredentialNeedsReauth(user_id="alice", provider="github", reason="lost", message="Connect it again."),
    events.CredentialDisconnected(user_id="alice", provider=None),
    events.LoginEnded(user_id="alice", provider="github", outcome="denied", code="access_denied", message="No."),
    events.Gap(reason="skipped", source="boot", from_=4, to=40, count=37),
    events.ContainerEvent(event="error", data={"a": 1}),
    events.HistoryFilled(gap=3, source="opencode", update={"sessionUpdate": "agent_message_chunk"}),
    events.Reset(epoch=1, floor=0, head=9, reason="beyond_head"),
    events.Heartbeat(),
]


def parse(frame: bytes) -> SSEEvent:
    [event] = SSEParser().feed(frame)
    assert isinstance(event, SSEEvent)
    return event


def event_of(data: bytes, **members: str) -> Event:
    values = {"session_id": None, "turn_id": None, "agent_id": None, "type": "session_update"} | members
    return Event(cursor=Cursor(3, 17), at=AT, data=data, **values)


@pytest.mark.parametrize("data", EVERY_KIND, ids=lambda data: data.type)
def test_each_kind_comes_back_from_its_block_as_it_was(data: EventData) -> None:
    block = parse(event_of(data.to_json(), type=data.type).frame())
    assert (block.event, block.id) == (data.type, "3-17")
    assert json.loads(block.data)["data"] == json.loads(data.to_json())


def test_no_kind_is_missing_here() -> None:
    assert {type(data) for data in EVERY_KIND} == set(EventData.__subclasses__())


def test_the_data_is_the_bytes_that_came() -> None:
    raw = '{"n": 1.10,"big":123456789012345678901234567890,"x":"é\\u0000\\ud800"}'
    assert raw in parse(event_of(raw.encode()).frame()).data


def test_line_breaks_in_the_data_cannot_end_the_block() -> None:
    [one] = SSEParser().feed(event_of(b'{"a":\r\n\r\n1,\n\n"b":2}').frame())
    assert json.loads(one.data)["data"] == {"a": 1, "b": 2}


def test_ids_are_left_out_where_there_are_none() -> None:
    assert list(json.loads(event_of(b"1").envelope())) == ["type", "at", "data"]
    full = event_of(b"1", session_id="s", turn_id="t", agent_id="a\nb")
    assert list(json.loads(full.envelope())) == ["type", "sessionId", "turnId", "agentId", "at", "data"]


def test_a_reset_tells_where_the_log_stands_and_goes_on_there() -> None:
    block = parse(events.Reset(epoch=2, floor=5, head=9, reason="other_epoch").frame())
    assert (block.event, block.id) == ("reset", "2-9")
    assert json.loads(block.data)["data"] == {"epoch": 2, "floor": 5, "head": 9, "reason": "other_epoch"}


@pytest.mark.parametrize("text", ["1-0", "1-1", "999999999-999999999999999999"])
def test_a_cursor_is_its_text(text: str) -> None:
    assert str(Cursor.parse(text)) == text


@pytest.mark.parametrize("text", ["", "1", "-1", "1-", "1--1", "a-b", "1-1 ", "1-9223372036854775808", "١-١", "1-1\n"])
def test_other_texts_are_no_cursor(text: str) -> None:
    assert Cursor.parse(text) is None


def test_times_are_utc_with_milliseconds() -> None:
    assert timestamp(AT.astimezone(timezone(timedelta(hours=2)))) == "2026-11-22T12:30:15.123Z"
    assert parse_timestamp("2026-11-22T07:23:54.104Z") == datetime(2026, 11, 22, 7, 23, 54, 104000, tzinfo=UTC)
    for text in (None, 5, "", "yesterday", "2026-11-22T07:23:54"):
        assert parse_timestamp(text) is None


def test_a_heartbeat_tells_the_cursor_and_when_to_come_back_or_leaves_the_client_what_it_has() -> None:
    block = parse(events.Heartbeat.frame(Cursor(2, 5), retry=700))
    assert (block.event, block.id, block.retry) == ("heartbeat", "2-5", 700)
    assert list(json.loads(block.data)) == ["type", "at", "data"]
    block = parse(events.Heartbeat.frame(None))
    assert (block.event, block.id, block.retry) == ("heartbeat", None, None)


def test_a_frame_is_the_block_of_its_envelope_whatever_its_data() -> None:
    for data in (b"{}", b'{"a":\n1}', b'{"a":\r\n1}', b'"\xc3\xa4"'):
        one = event_of(data, session_id="s", turn_id="t", agent_id="a")
        expected = encode_event(event=one.type, id="3-17", data=one.envelope())
        assert one.frame() == expected
