"""Passages that PostgreSQL frames are, byte for byte, what is framed event by event."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.db.pool import Database
from gateway.errors import ProjectNotFound
from gateway.log.ids import LogId
from gateway.log.reading import NotKept
from gateway.log.store import Log, NewEvent
from gateway.projects.store import NewProject, Projects
from gateway.wire.events import Cursor

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=6)
ID = st.one_of(st.none(), st.sampled_from(["s0", "s1"]), TEXT)
DATA = st.one_of(
    st.sampled_from([b"{}", b'"id: 1-1"', b'"\\u0000"', b'"' + b"x" * 70_000 + b'"', b'"' + b"x" * 600_000 + b'"']),
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r\n"), max_size=30).map(str.encode),
)
EVENTS = st.builds(
    NewEvent,
    type=st.sampled_from(["session_update", "gap", "turn_ended"]),
    data=DATA,
    session_id=ID,
    turn_id=ID,
    agent_id=ID,
    at=st.builds(lambda us: datetime(2026, 11, 22, tzinfo=UTC) + timedelta(microseconds=us), st.integers(0, 10**13)),
)


async def make_log(database: Database) -> tuple[Log, str, int]:
    project = f"p-{uuid4()}"
    await Projects(database).create("local", NewProject(id=project, container_url="http://127.0.0.1:4096"))
    log = Log(database)
    return log, project, (await log.head(LogId(project))).epoch


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(EVENTS, min_size=1, max_size=20), data=st.data())
async def test_a_passage_is_the_frames_of_its_events_from_any_place(
    database: Database, events: list[NewEvent], data: st.DataObject
) -> None:
    log, project, epoch = await make_log(database)
    stored = (await log.append(LogId(project), events)).events
    after = data.draw(st.integers(0, len(stored) - 1))
    blocks = await log.blocks(LogId(project), Cursor(epoch, after))
    assert blocks is not None
    seq = data.draw(st.integers(after, blocks.through - 1))
    got, begin = b"", seq
    while seq < blocks.through:
        piece, place = blocks.piece(seq)
        assert piece.endswith(b"}\n\n")
        assert len(piece) <= 65_536 or place == seq + 1
        got, seq = got + piece, place
    assert got == b"".join(event.frame() for event in stored[begin : blocks.through])
    assert blocks.through == len(stored) or blocks.size > 10**6


@pytest.mark.parametrize("data", [b'{"a":\n1}', b'{"a":\r1}', b'"\xff"', b'"\0"'])
async def test_data_with_line_breaks_or_no_utf_8_is_left_to_be_read_one_by_one(database: Database, data: bytes) -> None:
    log, project, epoch = await make_log(database)
    await log.append(LogId(project), [NewEvent(type="session_update", data=one) for one in (b"{}", data)])
    assert await log.blocks(LogId(project), Cursor(epoch, 0)) is None


async def test_the_end_of_the_log_has_no_blocks(database: Database) -> None:
    log, project, epoch = await make_log(database)
    assert await log.blocks(LogId(project), Cursor(epoch, 0)) is None


async def test_another_log_and_one_that_is_gone_are_told(database: Database) -> None:
    log, project, epoch = await make_log(database)
    with pytest.raises(NotKept):
        await log.blocks(LogId(project), Cursor(epoch + 1, 0))
    with pytest.raises(ProjectNotFound):
        await log.blocks(LogId("unknown"), Cursor(1, 0))
