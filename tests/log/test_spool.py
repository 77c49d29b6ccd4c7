"""The spool: what goes in comes out, in order, from memory and from files; what does not fit is counted or refused."""

import os
import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.follow.spool import FILE_BYTES, Dropped, Item, Spool, SpoolDamaged, SpoolFull, SpoolLimits
from gateway.wire.sse import OversizedEvent, SSEEvent

TINY = SpoolLimits(memory_bytes=4_000, max_bytes=10_000_000)


def said(number: int, size: int = 300) -> SSEEvent:
    return SSEEvent(event="session_update", data=f"{number} ".ljust(size, "x"), id=f"boot-{number}")


async def all_of(spool: Spool) -> list[Item]:
    spool.end()
    items: list[Item] = []
    while (some := await spool.take()) is not None:
        items += some
    return items


async def test_what_does_not_fit_into_memory_comes_back_from_files_in_order(tmp_path: Path) -> None:
    spool = Spool(SpoolLimits(memory_bytes=4_000, max_bytes=100_000_000, directory=tmp_path), sheds=False)
    events = [said(n, 3_000) for n in range(FILE_BYTES // 3_000 + 100)]
    for start in range(0, len(events), 7):
        spool.put(events[start : start + 7])
    assert await all_of(spool) == events
    assert os.listdir(tmp_path) == []


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.one_of(st.integers(1, 60), st.none()), max_size=60))
async def test_whoever_puts_and_takes_in_whatever_order_sees_all_in_order(steps: list[int | None]) -> None:
    spool = Spool(TINY, sheds=False)
    put, taken = 0, list[Item]()
    for step in steps:
        if step is None:
            if len(taken) < put:
                taken += await spool.take() or ()
        else:
            spool.put([said(n, 900) for n in range(put, put + step)])
            put += step
    taken += await all_of(spool)
    assert taken == [said(n, 900) for n in range(put)]


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.one_of(st.integers(1, 60), st.none()), max_size=60))
async def test_what_is_shed_is_counted_where_it_is_missing(steps: list[int | None]) -> None:
    spool = Spool(SpoolLimits(memory_bytes=20_000, max_bytes=90_000), sheds=True)
    put, taken = 0, list[Item]()
    for step in steps:
        if step is None:
            if put:
                spool.put([said(put)])
                put += 1
                taken += await spool.take() or ()
        else:
            spool.put([said(n) for n in range(put, put + step)])
            put += step
    taken += await all_of(spool)
    following = 0
    for item in taken:
        if isinstance(item, Dropped):
            assert item.reason == "spool_full"
            following += item.count
        else:
            assert item == said(following)
            following += 1
    assert following == put


async def test_events_too_large_to_keep_pass_through_files_as_what_they_are() -> None:
    spool = Spool(TINY, sheds=True)
    events = [said(1, 5_000), OversizedEvent(event="x", id="boot-2", size=99), said(3, 100_000)]
    for event in events:
        spool.put([event])
    assert await all_of(spool) == events


def test_what_does_not_fit_and_must_not_be_dropped_is_refused() -> None:
    spool = Spool(SpoolLimits(memory_bytes=1_000, max_bytes=0), sheds=False)
    spool.put([said(1)])
    with pytest.raises(SpoolFull):
        spool.put([said(n) for n in range(2, 9)])


@pytest.mark.parametrize("sheds", [True, False], ids=["a gap", "the stream is read again"])
@pytest.mark.parametrize("harm", ["torn", "changed"])
async def test_a_record_that_comes_back_as_something_else_is_never_believed(sheds: bool, harm: str) -> None:
    spool = Spool(TINY, sheds=sheds)
    events = [said(n, 40_000) for n in range(6)]  # one in memory, then records of two
    for event in events:
        spool.put([event])
    file = spool._files[0].file.fileno()
    if harm == "torn":
        os.ftruncate(file, 70_000)
    else:
        os.pwrite(file, b"?", 1_000)
    if not sheds:
        with pytest.raises(SpoolDamaged):
            await all_of(spool)
        spool.close()
        return
    items = await all_of(spool)
    assert items[0] == events[0]
    assert Dropped(2, "spool_damaged") in items
    kept = sum(item.count if isinstance(item, Dropped) else 1 for item in items)
    assert kept == len(events)


async def test_a_full_disk_is_a_full_spool() -> None:
    spool = Spool(SpoolLimits(memory_bytes=4_000, max_bytes=2**30, directory=Path("/nowhere")), sheds=True)
    events = [said(n, 5_000) for n in range(100)]
    for event in events:
        spool.put([event])
    items = await all_of(spool)
    assert sum(item.count if isinstance(item, Dropped) else 1 for item in items) == 100


@pytest.mark.parametrize("room", [0, 20_000, 79_900])
async def test_a_disk_that_fills_up_takes_nothing_of_what_it_had_taken(room: int) -> None:
    spool = Spool(TINY, sheds=True)
    events = [said(n, 40_000) for n in range(9)]  # one in memory, then records of two
    for event in events[:5]:
        spool.put([event])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (spool._files[0].written + room, hard))
    try:
        for event in events[5:]:
            spool.put([event])
        items = await all_of(spool)
        spool.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert items == [*events[:5], Dropped(4, "spool_full")]
