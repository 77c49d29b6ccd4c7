"""Who is far behind gets the log in long passages, each read once, whatever its events have become."""

from collections.abc import AsyncIterator

import attrs
import pytest

from gateway.db.pool import Database
from gateway.log.ids import LogId
from gateway.log.run import Run
from gateway.log.store import Log, NewEvent
from gateway.projects.store import NewProject, Projects
from gateway.stream.replay import FAR, Passage, Replays
from gateway.upkeep.packing import Packing
from gateway.wire.events import Cursor

PROJECT = "p"
TOTAL = 8_001


class CountingLog(Log):
    """Knows from where packed events were read."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.places: list[int] = []

    async def packed(self, log_id: LogId, after: Cursor, session_id: str | None = None) -> tuple[Run, int] | None:
        found = await super().packed(log_id, after, session_id)
        if found is not None:
            self.places.append(after.seq)
        return found


@pytest.fixture
async def log(database: Database) -> CountingLog:
    """A log whose packs end at places that nobody would begin to read at."""
    await Projects(database).create("local", NewProject(id=PROJECT, container_url="http://127.0.0.1:4096"))
    log = CountingLog(database)
    await log.append(LogId(PROJECT), [NewEvent(type="turn_started", data=b"{}", session_id="s1", key="k")])
    for start in range(0, TOTAL - 1, 500):
        await log.append(LogId(PROJECT), [_chunk(n) for n in range(start, start + 500)])
    return log


def _chunk(n: int) -> NewEvent:
    if n % 1_000 == 999:
        return NewEvent(type="gap", data=b'{"reason":"skipped"}')
    return NewEvent(type="session_update", data=b'{"n":%d}' % n, session_id=f"s{n % 2}")


@pytest.fixture
async def replays(log: CountingLog) -> AsyncIterator[Replays]:
    replays = Replays(log, at_once=4)
    yield replays
    await replays.close()


async def _walk(replays: Replays, epoch: int, session_id: str | None) -> bytes:
    """All that a stream writes that goes from passage to passage, reading ahead, until it is near the head."""
    place, data = Cursor(epoch, 0), b""
    while TOTAL - place.seq >= FAR:
        passage: Passage | None = await replays.read(LogId(PROJECT), place, session_id, TOTAL)
        assert passage is not None
        replays.foresee(LogId(PROJECT), passage, attrs.evolve(place, seq=passage.through), session_id, TOTAL)
        while place.seq < passage.through:
            piece, seq = passage.piece(place.seq)
            data, place = data + piece, attrs.evolve(place, seq=seq)
    return data


@pytest.mark.parametrize("session_id", [None, "s0", "s1", "s2"])
@pytest.mark.parametrize("is_packed", [False, True])
async def test_passages_are_the_log_without_a_hole_or_a_repetition(
    replays: Replays, log: CountingLog, database: Database, session_id: str | None, is_packed: bool
) -> None:
    epoch = (await log.head(LogId(PROJECT))).epoch
    expected, place = b"", Cursor(epoch, 0)
    while events := await log.read(LogId(PROJECT), place, session_id):
        expected += b"".join(event.frame() for event in events)
        place = events[-1].cursor
    if is_packed:
        await Packing(database, 0).pack(LogId(PROJECT))
    got = await _walk(replays, epoch, session_id)
    assert expected.startswith(got)
    if session_id != "s2":
        assert got
    # What is left may be read event by event.
    assert (expected.count(b"\n\n") - got.count(b"\n\n")) < FAR


async def test_what_is_read_ahead_is_not_read_again(replays: Replays, log: CountingLog, database: Database) -> None:
    await Packing(database, 0).pack(LogId(PROJECT))
    epoch = (await log.head(LogId(PROJECT))).epoch
    await _walk(replays, epoch, None)
    assert log.places[0] == 0
    assert all(place % 500 for place in log.places[1:])
    assert len(log.places) <= 1 + TOTAL // 2_500


async def test_a_session_that_is_far_behind_is_framed_by_the_database(log: CountingLog) -> None:
    place = Cursor((await log.head(LogId(PROJECT))).epoch, 10)
    events = await log.read(LogId(PROJECT), place, "s1")
    run = await log.session_blocks(LogId(PROJECT), place, "s1")
    assert run is not None
    assert len(run) > len(events)
    assert run.between(0, events[-1].seq) == [event.frame() for event in events]


@pytest.mark.parametrize("data", [b'{"a":\n1}', b'{"a":\r1}', b'"\xff"', b'"\0"', b'"' + b"x" * 2**21 + b'"'])
async def test_a_session_with_unusual_data_is_left_to_be_read_one_by_one(log: CountingLog, data: bytes) -> None:
    await log.append(LogId(PROJECT), [NewEvent(type="session_update", data=data, session_id="s2")])
    assert await log.session_blocks(LogId(PROJECT), Cursor((await log.head(LogId(PROJECT))).epoch, 0), "s2") is None
