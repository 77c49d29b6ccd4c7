"""The append function, tried from all sides against the real database."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.db.pool import Database
from gateway.errors import ProjectNotFound
from gateway.follow.lease import Leases
from gateway.log.ids import LogId
from gateway.log.store import Log, NewEvent, StaleFence
from gateway.projects.store import Projects
from gateway.wire.events import Cursor, Event
from tests.db.things import ask
from tests.log.appending import PROJECT, make_project, said, whole

TURN = (
    "insert into turns (project_id, id, session_id, user_id, state) "
    "values ('p', '{id}', '{session}', 'local', '{state}') returning id"
)


@pytest.fixture
async def log(database: Database) -> Log:
    await make_project(database)
    return Log(database)


async def test_events_come_back_as_they_went_in_numbered_from_one(log: Log) -> None:
    raw = b'{"n":1.10,"big":123456789012345678901234567890,"nul":"\\u0000","half":"\\ud800","k":1,"k":2}'
    appended = await log.append(
        LogId(PROJECT), [NewEvent(type="session_update", data=raw, key="a"), said("b", key="b")]
    )
    assert [event.cursor for event in appended.events] == [Cursor(1, 1), Cursor(1, 2)]
    assert await whole(log) == list(appended.events)
    assert (await whole(log))[0].data == raw


async def test_an_event_of_a_key_is_stored_once(log: Log) -> None:
    await log.append(LogId(PROJECT), [said("first", key="k")])
    second = await log.append(LogId(PROJECT), [said("again", key="k"), said("other", key="o"), said("other", key="o")])
    assert [event.data for event in second.events] == [b'"other"']
    assert second.cursor == Cursor(1, 2)


async def test_what_the_mark_covers_is_dropped_and_what_was_skipped_is_a_gap(log: Log) -> None:
    await log.append(LogId(PROJECT), [said("1", 1), said("2", 2)], source="boot")
    appended = await log.append(LogId(PROJECT), [said("2", 2), said("3", 3), said("41", 41)], source="boot")
    kinds = [(event.type, event.seq) for event in appended.events]
    assert kinds == [("session_update", 3), ("gap", 4), ("session_update", 5)]
    gap = json.loads(appended.events[1].data)
    assert gap == {"reason": "skipped", "source": "boot", "from": 4, "to": 40, "count": 37}
    assert await log.mark(LogId(PROJECT), "boot") == 41


async def test_events_that_follow_one_another_come_back_as_they_went_in(log: Log, database: Database) -> None:
    """Whatever is in them: they are stored as a series, in one piece, where that can be."""
    raws = ['""', "'\\\\ é 😀 \u2028 %s %% \\x00'".join('""'), "1", '{"nul":"\\u0000","half":"\\ud800"}']
    texts = [raw.encode() for raw in raws]
    ats = [datetime(1970, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)]
    ats += [datetime(2026, 11, 22, 22, 30, 1, 123_457, tzinfo=timezone(timedelta(hours=-5)))]
    sessions = [None, "ses_1", 'a"b\\c', "{NULL}", "null", ""]
    for source, unstorable in (("a", []), ("b", [b'"\xff"']), ("c", [b'"\0"'])):
        payloads = [*texts, *unstorable] * 6
        count = len(payloads)
        batch = [
            NewEvent(
                type="gap" if place % 5 == 4 else "session_update",
                data=payload,
                at=ats[place % len(ats)],
                session_id=sessions[place % len(sessions)],
                agent_id=sessions[place % 5],
                turn_id=sessions[place % 4],
            )
            for place, payload in enumerate(payloads)
        ]
        before = (await log.head(LogId(PROJECT))).cursor
        appended = await log.append(LogId(PROJECT), batch, numbers=range(1, count + 1), source=source)
        assert await log.read(LogId(PROJECT), before) == list(appended.events)
        assert [event.data for event in appended.events] == payloads
        assert [event.at for event in appended.events] == [event.at for event in batch]
        assert await log.mark(LogId(PROJECT), source) == count
        again = await log.append(LogId(PROJECT), batch, numbers=range(1, count + 1), source=source)
        assert not again.events
        assert again.cursor == appended.cursor


async def test_a_series_belongs_to_its_sessions_running_turns(log: Log, database: Database, database_url: str) -> None:
    for session in ("ses_1", "ses_2"):
        for turn, state in (("old", "completed"), ("new", "running" if session == "ses_1" else "lost")):
            ask(database_url, TURN.format(id=f"{turn}-{session}", session=session, state=state))
    batch = [said("a"), said("b", session_id="ses_1"), said("c", session_id="ses_2")]
    batch.append(said("d", session_id="ses_1", turn_id="old-ses_1"))
    appended = await log.append(LogId(PROJECT), batch, numbers=[1, 2, 3, 4], source="boot")
    assert [event.turn_id for event in appended.events] == [None, "new-ses_1", None, "old-ses_1"]
    assert await whole(log) == list(appended.events)


async def test_sources_have_marks_of_their_own(log: Log) -> None:
    await log.append(LogId(PROJECT), [said("a1", 1), said("a2", 2)], source="a")
    appended = await log.append(LogId(PROJECT), [said("b1", 1)], source="b")
    assert [event.data for event in appended.events] == [b'"b1"']


async def test_a_stale_fence_is_refused_and_changes_nothing(log: Log, database: Database) -> None:
    [old], [new] = [await Leases(database, holder=holder, seconds=-1).acquire([PROJECT]) for holder in ("one", "two")]
    with pytest.raises(StaleFence):
        await log.append(LogId(PROJECT), [said("late", 1)], source="boot", fence=old.fence)
    assert await whole(log) == []
    assert len((await log.append(LogId(PROJECT), [said("now", 1)], source="boot", fence=new.fence)).events) == 1


async def test_a_project_made_again_gives_no_fence_a_second_time(log: Log, database: Database) -> None:
    leases = Leases(database, holder="one", seconds=60)
    [before] = await leases.acquire([PROJECT])
    await Projects(database).delete("local", PROJECT)
    await make_project(database)
    [after] = await leases.acquire([PROJECT])
    assert after.fence != before.fence
    with pytest.raises(StaleFence):
        await log.append(LogId(PROJECT), [said("late", 1)], source="boot", fence=before.fence)


async def test_appending_to_a_deleted_project_is_refused_and_leaves_no_event(
    log: Log, database: Database, database_url: str
) -> None:
    await log.append(LogId(PROJECT), [said("a", key="a")])
    await Projects(database).delete("local", PROJECT)
    with pytest.raises(ProjectNotFound):
        await log.append(LogId(PROJECT), [said("b", key="b")])
    with pytest.raises(ProjectNotFound):
        await whole(log)
    assert ask(database_url, "select count(*) from events") == [(0,)]


async def test_concurrent_writers_leave_no_hole_and_a_reader_misses_none(log: Log) -> None:
    writers, each = 8, 60
    seen: list[Event] = []

    async def write(writer: int) -> None:
        for n in range(each):
            await log.append(LogId(PROJECT), [said(f"{writer}-{n}", key=f"{writer}-{n}")])

    async def read() -> None:
        while len(seen) < writers * each:
            seen.extend(await log.read(LogId(PROJECT), Cursor(1, seen[-1].seq if seen else 0)))

    async with asyncio.timeout(60):
        await asyncio.gather(read(), *(write(writer) for writer in range(writers)))
    assert [event.seq for event in seen] == list(range(1, writers * each + 1))
    for writer in range(writers):
        own = [event.data for event in seen if event.data.startswith(b'"%d-' % writer)]
        assert own == [b'"%d-%d"' % (writer, n) for n in range(each)]


NUMBERS = st.lists(st.integers(1, 40), min_size=1, max_size=12) | st.builds(
    lambda first, count: list(range(first, first + count)), st.integers(1, 25), st.integers(1, 12)
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.tuples(st.sampled_from(["a", "b"]), NUMBERS), min_size=1, max_size=8))
async def test_any_mixture_of_repeats_and_skips_keeps_the_log_whole(
    database: Database, batches: list[tuple[str, list[int]]]
) -> None:
    """Each number of a source is stored once or lies in exactly one gap; the log is 1..head without holes."""
    project = f"p-{uuid4()}"
    await make_project(database, project)
    log = Log(database)
    for source, numbers in batches:
        batch = [said(f"{source}{number}", number) for number in numbers]
        await asyncio.gather(*(log.append(LogId(project), batch, source=source) for _ in range(2)))
    events = await whole(log, project)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    for source in {source for source, _ in batches}:
        covered: list[int] = []
        for event in events:
            value = json.loads(event.data)
            if event.type == "gap" and value["source"] == source:
                assert value["count"] == value["to"] - value["from"] + 1 > 0
                covered += range(value["from"], value["to"] + 1)
            elif event.type != "gap" and value.startswith(source):
                covered.append(int(value[1:]))
        highest = max(number for one, numbers in batches if one == source for number in numbers)
        assert covered == list(range(1, highest + 1))


COUNTING = """
create sequence writes;
create function count_write() returns trigger language plpgsql as
$$ begin perform nextval('writes'); return new; end $$;
create trigger count_write after insert or update on session_activity for each row execute function count_write();
"""


async def test_while_an_agent_speaks_its_sessions_activity_is_written_once_a_second(
    log: Log, database_url: str
) -> None:
    def noted() -> object:
        [(place, writes)] = ask(database_url, "select place, (select last_value from writes) from session_activity")
        return place, writes

    ask(database_url, COUNTING)
    began = time.monotonic()
    for number in range(1, 100):
        await log.append(LogId(PROJECT), [said(f"{number}", number, session_id="s")], source="boot")
    [(writes,)] = ask(database_url, "select last_value from writes")
    assert writes <= 1 + time.monotonic() - began
    ask(database_url, "update session_activity set at = at - interval '2 seconds'")
    await log.append(LogId(PROJECT), [said("100", 100, session_id="s")], source="boot")
    assert noted() == (100, writes + 2)
    # What is not the agent's is noted each time.
    for seq in (101, 102):
        await log.append(LogId(PROJECT), [NewEvent(type="turn_queued", data=b"{}", session_id="s", key=f"{seq}")])
        assert noted() == (seq, writes + seq - 98)
