"""What a container does to its stream, and what the log has then: each event once, or a gap in its place."""

import asyncio
from collections.abc import AsyncIterator

import attrs
import pytest

from gateway.follow.room import FOLLOWERS
from tests.db.relay import Relay
from tests.fakes.eventually import eventually
from tests.fakes.numbered import NumberedContainer
from tests.log.recording import begun, gaps, until_recorded, updates
from tests.world import QUICK, Gateway, GatewayProcess

LIVELY = attrs.evolve(QUICK, events=attrs.evolve(QUICK.events, container_silence=1.0))


@pytest.fixture
async def numbered() -> AsyncIterator[NumberedContainer]:
    async with NumberedContainer() as container:
        yield container


async def test_events_that_are_replayed_are_stored_once(gateway: Gateway, numbered: NumberedContainer) -> None:
    await begun(gateway, numbered)
    numbered.emit(5_000)
    await until_recorded(gateway, 5_000)
    numbered.resumes = False
    numbered.cut()
    await eventually(lambda: len(numbered.asked) >= 2)
    numbered.emit(1)
    events = await until_recorded(gateway, 5_001)
    assert numbered.asked[1] == f"{numbered.boot}-5000"
    assert updates(events) == list(numbered.truth.values())
    assert gaps(events) == []


async def test_numbers_that_are_skipped_are_one_gap(gateway: Gateway, numbered: NumberedContainer) -> None:
    await begun(gateway, numbered)
    numbered.emit(3)
    numbered.skip(37)
    numbered.emit(3)
    events = await until_recorded(gateway, 6)
    assert updates(events) == list(numbered.truth.values())
    [gap] = gaps(events)
    assert (gap["reason"], gap["from"], gap["to"], gap["count"]) == ("skipped", 4, 40, 37)


async def test_a_restart_with_numbers_from_one_takes_nothing_for_a_duplicate(
    gateway: Gateway, numbered: NumberedContainer
) -> None:
    await begun(gateway, numbered)
    numbered.emit(10)
    await until_recorded(gateway, 10)
    first, boot = list(numbered.truth.values()), numbered.boot
    numbered.restart()
    numbered.emit(10, text="again ")
    events = await until_recorded(gateway, 20)
    assert updates(events) == first + ["again "] * 10
    [gap] = gaps(events)
    assert (gap["reason"], gap["source"], gap["from"]) == ("container_restarted", boot, 11)


async def test_an_event_of_another_boot_has_the_stream_opened_again_where_the_container_is_another_now(
    gateway: Gateway, numbered: NumberedContainer
) -> None:
    await begun(gateway, numbered)
    numbered.emit(2)
    await until_recorded(gateway, 2)
    boot = numbered.boot
    numbered.boot, numbered.number, numbered.journal = "another", 0, []
    numbered.emit(2)
    events = await until_recorded(gateway, 4)
    assert numbered.asked[1] == "another-0"
    assert updates(events) == ["e1 ", "e2 ", "e1 ", "e2 "]
    assert [(gap["reason"], gap["source"]) for gap in gaps(events)] == [("container_restarted", boot)]


#: Ids that are no number of the container's boot, which is BOOT.
ODD_IDS = ["BOOT-\u00b2", f"BOOT-{'9' * 19}", f"BOOT-{'9' * 5_000}", "BOOT--1", "BOOT", "another-7", "7", ""]


@pytest.mark.parametrize("id", ODD_IDS, ids=[id[:12] or "empty" for id in ODD_IDS])
async def test_an_event_in_the_journal_with_an_id_of_another_form_is_a_gap_and_what_follows_is_stored(
    gateway: Gateway, numbered: NumberedContainer, id: str
) -> None:
    await begun(gateway, numbered)
    numbered.emit(1)
    odd = numbered.frame(0, "odd").replace(f"{numbered.boot}-0\n".encode(), f"{id}\n".encode())
    odd = odd.replace(b"BOOT", numbered.boot.encode())
    numbered.journal[-1] += odd * 2
    numbered.send(odd * 2)
    numbered.emit(2)
    events = await until_recorded(gateway, 3)
    assert [event.type for event in events][-4:] == ["session_update", "gap", "session_update", "session_update"]
    assert updates(events) == list(numbered.truth.values())
    assert gaps(events) == [
        {"reason": "unnumbered", "source": numbered.boot, "from": None, "to": None, "count": None},
    ]
    # A container that tells all of it again says nothing new.
    numbered.resumes = False
    numbered.cut()
    await eventually(lambda: len(numbered.asked) >= 2)
    numbered.emit(1)
    events = await until_recorded(gateway, 4)
    assert (updates(events), len(gaps(events))) == (list(numbered.truth.values()), 1)
    assert gateway.app[FOLLOWERS].held() == ["demo"]


async def test_a_heartbeat_without_an_id_is_no_gap(gateway: Gateway, numbered: NumberedContainer) -> None:
    numbered.preamble = b"event: ping\ndata: ping\n\n"
    await begun(gateway, numbered)
    numbered.emit(1)
    assert gaps(await until_recorded(gateway, 1)) == []


async def test_a_stream_cut_at_every_byte_of_an_event_is_resumed_exactly(
    gateway: Gateway, numbered: NumberedContainer
) -> None:
    await begun(gateway, numbered)
    size = len(numbered.frame(1, "e1 "))
    for offset in range(0, size, max(1, size // 24)):
        # A stream that is cut before it has brought anything is opened again later and later.
        await until_recorded(gateway, len(numbered.truth))
        numbered.number += 1
        numbered.truth[numbered.number] = f"e{numbered.number} "
        frame = numbered.frame(numbered.number, numbered.truth[numbered.number])
        numbered.journal.append(frame)
        opened = len(numbered.asked)
        numbered.cut(frame[:offset])
        await eventually(lambda opened=opened: len(numbered.asked) > opened)
    events = await until_recorded(gateway, len(numbered.truth))
    assert updates(events) == list(numbered.truth.values())
    assert gaps(events) == []


async def test_a_silent_stream_is_found_dead_and_opened_again(database_url: str, numbered: NumberedContainer) -> None:
    async with GatewayProcess(database_url, LIVELY).run() as gateway:
        await begun(gateway, numbered)
        numbered.emit(1)
        await until_recorded(gateway, 1)
        async with asyncio.timeout(5):
            await eventually(lambda: len(numbered.asked) >= 2)
        numbered.emit(1)
        assert updates(await until_recorded(gateway, 2)) == list(numbered.truth.values())


@pytest.mark.parametrize(
    "garbage",
    [b"data: " + b"x" * 20_000_000 + b"\n\n", b"\xef\xbb\xbf\xff\xfe\x00\r\r\n:\n\n", b"id\n\ndata\n\nevent: \x00\n\n"],
    ids=["a line of 20 MB", "no UTF-8, NUL, lone CR, BOM", "empty fields"],
)
async def test_garbage_before_events_costs_none_of_them(
    gateway: Gateway, numbered: NumberedContainer, garbage: bytes
) -> None:
    await begun(gateway, numbered)
    numbered.emit(1)
    await until_recorded(gateway, 1)
    numbered.send(garbage)
    numbered.emit(1)
    events = await until_recorded(gateway, 2)
    assert updates(events) == list(numbered.truth.values())


async def test_a_compressed_stream_is_refused_and_another_is_asked_for(
    gateway: Gateway, numbered: NumberedContainer
) -> None:
    await begun(gateway, numbered)
    numbered.headers = {"Content-Encoding": "gzip"}
    numbered.cut()
    await eventually(lambda: len(numbered.asked) >= 3)
    numbered.headers = {}
    numbered.emit(1)
    assert updates(await until_recorded(gateway, 1)) == ["e1 "]


async def test_what_comes_while_the_database_is_away_is_read_and_stored_later(
    database_url: str, numbered: NumberedContainer
) -> None:
    small = attrs.evolve(QUICK.events, spool_memory_bytes=65_536)
    async with (
        Relay(database_url) as relay,
        GatewayProcess(relay.url, attrs.evolve(QUICK, events=small)).run() as gateway,
        GatewayProcess(database_url, QUICK).run() as other,
    ):
        await begun(gateway, numbered)
        numbered.emit(10)
        await until_recorded(other, 10)
        assert gateway.app[FOLLOWERS].held() == ["demo"]
        await other.app[FOLLOWERS].hand_over()  # it reads the log for us, and takes nothing over
        await relay.go_away()
        numbered.emit(3_000)
        await eventually(lambda: not gateway.app[FOLLOWERS].held())
        await relay.come_back()
        events = await until_recorded(other, 3_010)
    assert updates(events) == list(numbered.truth.values())
    assert gaps(events) == []
    assert len(numbered.asked) == 1
