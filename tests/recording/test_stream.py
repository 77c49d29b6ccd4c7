"""OpenCode's own events, recorded: each once and as it came, whatever happens to those who listen and who record."""

import asyncio
import json
from typing import Any

import aiohttp
import attrs
import pytest

from gateway.follow.lease import Lease, Leases
from gateway.follow.room import FOLLOWERS
from gateway.log.ids import LogId
from gateway.log.room import LOG
from gateway.stream.room import STREAMS
from gateway.web.keys import DATABASE
from gateway.wire.opencode import EVENT
from gateway.wire.times import parse_timestamp
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually, until
from tests.fakes.opencode import HOME, FakeOpenCode, event
from tests.recording.listening import data_of, listening, type_of, value_of
from tests.recording.projects import RECORDED, has_recorded, register
from tests.world import QUICK, Gateway, GatewayProcess

pytestmark = pytest.mark.timeout(120)


async def test_a_client_gets_each_event_as_opencode_wrote_it_with_an_id(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    await register(gateway, opencode, base_container)
    odd = [
        event("message.part.updated", text="\u2028 \U0001f600 \\ \" '", n=1.0),
        b'{"type":"message.part.updated", "b" :1,\t"a":12345678901234567890.10, "a":2}',
        b'{"type":"x","properties":{"text":"\\ud800 \\u0000"}}',
        b"not JSON at all",
        b"[1, 2]",
    ]
    async with listening(gateway) as client:
        for data in odd:
            opencode.say(data)
        found = [await client.block() for _ in odd]
    assert data_of(found) == odd
    assert {block.event for block in found} == {"message"}
    epoch, _, place = (client.blocks[0].id or "").partition("-")
    assert [block.id for block in found] == [f"{epoch}-{int(place) + n}" for n in range(1, len(odd) + 1)]
    assert client.blocks[0].retry == 1000


async def test_a_client_that_comes_back_gets_each_event_once_from_any_place(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    await register(gateway, opencode, base_container)
    async with listening(gateway) as client:
        opencode.tell(50)
        first = await client.until(opencode.said[-1])
    opencode.tell(3_000, 50)
    async with listening(gateway, last_event_id=first[-1].id) as client:
        opencode.tell(5, 3_050)
        rest = await client.until(opencode.said[-1])
    assert data_of(first + rest) == opencode.said
    for place in (0, 17, 1_500):
        query = f"?lastEventId={(first + rest)[place].id}"
        async with listening(gateway, query=query) as client:
            assert data_of(await client.until(opencode.said[-1])) == opencode.said[place + 1 :]
    async with listening(gateway, query="?from=start") as client:
        assert data_of(await client.until(opencode.said[-1])) == opencode.said


async def test_a_client_without_an_id_begins_now(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    await register(gateway, opencode, base_container)
    async with listening(gateway) as client:
        opencode.tell(3)
        await client.until(opencode.said[-1])
        async with listening(gateway) as late:
            opencode.tell(1, 3)
            assert data_of([await late.next()]) == opencode.said[-1:]


async def test_what_is_said_while_no_client_is_there_is_recorded(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    await register(gateway, opencode, base_container)
    await eventually(lambda: opencode.listeners == 1)
    await gateway.app[FOLLOWERS].opencode_connected(LogId("demo", EVENT.name))
    opencode.tell(10)
    async with listening(gateway, query="?from=start") as client:
        assert data_of(await client.until(opencode.said[-1])) == opencode.said


async def test_many_clients_are_one_reader_of_opencode(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    await register(gateway, opencode, base_container)
    async with listening(gateway) as one, listening(gateway) as two, listening(gateway) as three:
        opencode.tell(20)
        for client in (one, two, three):
            assert data_of(await client.until(opencode.said[-1])) == opencode.said
        assert opencode.listeners == 1


async def test_a_break_of_opencodes_stream_is_said_once_with_its_time_and_followed_by_a_connected(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    await register(gateway, opencode, base_container)
    async with listening(gateway) as client:
        opencode.tell(2)
        await client.until(opencode.said[-1])
        opencode.cut()
        opencode.tell(2, 2)
        lost = [opencode.said.pop(), opencode.said.pop()]
        await eventually(lambda: opencode.listeners == 1)
        gap = await client.next()
        assert type_of(await client.block()) == "server.connected"
        opencode.tell(1, 4)
        assert data_of([await client.next()]) == opencode.said[-1:]
    said = value_of(gap)
    assert (said["type"], gap.event) == ("gateway.gap", "message")
    assert said["id"].startswith("evt_")
    begin, end = (parse_timestamp(said["properties"][name]) for name in ("from", "to"))
    assert begin is not None
    assert end is not None
    assert begin < end
    assert said["properties"]["reason"] == "stream_interrupted"
    async with listening(gateway, query="?from=start") as client:
        found = await client.until(opencode.said[-1])
    assert [type_of(block) for block in found].count("gateway.gap") == 1
    assert not set(lost) & set(data_of(found))


async def test_opencode_that_is_away_for_long_is_one_gap_when_it_is_back(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    await register(gateway, opencode, base_container)
    async with listening(gateway) as client:
        opencode.tell(2)
        await client.until(opencode.said[-1])
        await opencode.stop()
        await asyncio.sleep(1.5)
        await opencode.start()
        await eventually(lambda: opencode.listeners == 1, within=20)
        # Whoever comes new is told only once it is read again.
        async with listening(gateway):
            opencode.tell(1, 2)
        found = await client.until(opencode.said[-1])
    assert [type_of(block) for block in found] == ["gateway.gap", "message.part.updated"]


async def test_a_client_comes_back_while_opencode_is_away_and_a_new_one_is_told_so(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    await register(gateway, opencode, base_container)
    async with listening(gateway) as client:
        opencode.tell(5)
        blocks = await client.until(opencode.said[-1])
    await opencode.stop()
    async with listening(gateway, last_event_id=blocks[1].id) as client:
        assert data_of(await client.until(opencode.said[-1])) == opencode.said[2:]

    async def is_noticed() -> bool:
        return not await gateway.app[FOLLOWERS].leases.is_opencode_connected(LogId("demo", EVENT.name))

    await until(is_noticed)
    answer = await gateway.call("GET", "/api/projects/demo/opencode/event")
    assert (answer.status, answer.json["code"]) == (503, "upstream_refused")
    assert (await gateway.call("GET", "/api/projects/demo/opencode/session")).json["code"] == "upstream_refused"
    # A browser gives up on any status but 200: it is told to come back.
    answer = await gateway.call("GET", "/api/projects/demo/opencode/event", headers={"Accept": "text/event-stream"})
    assert answer.status == 200
    assert b"retry: " in answer.body
    assert b'"type":"server.heartbeat"' in answer.body
    await opencode.start()


async def test_a_new_client_that_comes_before_anybody_has_noticed_that_opencode_is_gone_hears_of_the_break(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    noticed = asyncio.Event()
    notice = Leases.opencode_disconnected

    async def notice_late(leases: Leases, lease: Lease, log_id: LogId, **options: Any) -> None:
        await noticed.wait()
        await notice(leases, lease, log_id, **options)

    monkeypatch.setattr(Leases, "opencode_disconnected", notice_late)
    await register(gateway, opencode, base_container)
    async with listening(gateway) as client:
        opencode.tell(1)
        await client.until(opencode.said[-1])
    await opencode.stop()
    async with listening(gateway) as client:
        noticed.set()
        await opencode.start()
        await eventually(lambda: opencode.listeners == 1)
        gap = await client.next()
        assert (type_of(gap), value_of(gap)["properties"]["reason"]) == ("gateway.gap", "stream_interrupted")
        assert type_of(await client.block()) == "server.connected"
        opencode.tell(1, 1)
        assert data_of([await client.next()]) == opencode.said[-1:]


async def test_what_cannot_be_continued_is_told_in_opencodes_form(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    await register(gateway, opencode, base_container)
    async with listening(gateway) as client:
        opencode.tell(5)
        head = (await client.until(opencode.said[-1]))[-1].id
    own = (await gateway.app[LOG].store.head(LogId("demo"))).epoch
    reasons = {f"{own}-1": "other_epoch", "evt_of_opencodes_own": "unreadable_cursor"}
    for named, reason in reasons.items():
        async with listening(gateway, last_event_id=named) as client:
            reset = await client.next()
            assert (type_of(reset), reset.id, reset.event) == ("gateway.reset", head, "message")
            assert value_of(reset)["properties"]["reason"] == reason
            opencode.tell(1, 5)
            assert data_of([await client.next()]) == opencode.said[-1:]
            head = client.blocks[-1].id


async def test_streams_of_the_project_and_its_history_know_nothing_of_it(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url, containerUrl=opencode.url, defaultAgentId="demo", **RECORDED)
    async with listening(gateway) as client, project.events() as own:
        opencode.tell(10)
        await client.until(opencode.said[-1])
        session = await project.create_session()
        await project.prompt(session, "stream 3")
        events = await own.until("turn_ended")
        assert [int((event.id or "").partition("-")[2]) for event in events] == list(range(1, len(events) + 1))
        assert "message.part.updated" not in str(events)
    assert len(await project.messages(session)) == 2
    assert (await gateway.app[LOG].store.head(LogId("demo", EVENT.name))).head == 10


async def test_a_gateway_that_stops_breaks_the_stream_off_and_another_goes_on(
    database_url: str, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    process = GatewayProcess(database_url, QUICK)
    async with process.run() as first, process.run() as second:
        await register(first, opencode, base_container)
        holder, other = first, second
        for _ in range(4):
            async with listening(other) as client:
                begun = len(opencode.said)
                opencode.tell(40, begun)
                found = await client.until(opencode.said[-1])
            assert data_of(found) == opencode.said[begun:]
            if not holder.app[FOLLOWERS].held():
                holder, other = other, holder
            # The lease moves: the other one takes it, and says that something may be missing.
            await holder.app[FOLLOWERS].leave("demo")
            other.app[FOLLOWERS].follow("demo")
            await other.app[FOLLOWERS].opencode_connected(LogId("demo", EVENT.name))
        async with listening(first, query="?from=start") as one, listening(second, query="?from=start") as two:
            opencode.tell(1, 160)
            everything = await one.until(opencode.said[-1])
            assert [block.id for block in await two.until(opencode.said[-1])] == [block.id for block in everything]
    told = [block for block in everything if type_of(block) != "gateway.gap"]
    assert data_of(told) == opencode.said


async def test_a_stream_resumes_after_a_restart_of_the_gateway_in_the_middle(
    database_url: str, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    process = GatewayProcess(database_url, QUICK)
    async with process.run() as gateway:
        await register(gateway, opencode, base_container)
        async with listening(gateway) as client:
            opencode.tell(100)
            for _ in range(60):
                await client.next()
            await gateway.app[STREAMS].streams.stop()
            # No clean end: OpenCode's own client would not come back from one.
            with pytest.raises(aiohttp.ClientPayloadError):
                await client.until(b"nothing that is said")
        await until(lambda: has_recorded(gateway, 100))
    async with process.run() as gateway:
        async with listening(gateway, last_event_id=client.blocks[-1].id) as again:
            await gateway.app[FOLLOWERS].opencode_connected(LogId("demo", EVENT.name))
            opencode.tell(1, 100)
            await again.until(opencode.said[-1])
    assert client.told() + again.told() == opencode.said


async def test_heartbeats_are_opencodes_own_kind_and_carry_the_clients_place(
    database_url: str, base_container: FakeContainer
) -> None:
    config = attrs.evolve(QUICK, events=attrs.evolve(QUICK.events, heartbeat=0.3))
    async with FakeOpenCode(heartbeat=0.05) as opencode, GatewayProcess(database_url, config).run() as gateway:
        await register(gateway, opencode, base_container)
        async with listening(gateway) as client:
            opencode.tell(1)
            last = await client.next()
            beat = await client.block()
        assert (type_of(beat), beat.id, beat.event) == ("server.heartbeat", last.id, "message")
        assert value_of(beat).keys() == {"id", "type", "properties"}
        # Those of OpenCode itself are not stored.
        assert (await gateway.app[LOG].store.head(LogId("demo", EVENT.name))).head == 1


async def test_opencode_that_falls_silent_after_heartbeats_is_taken_for_gone(
    database_url: str, base_container: FakeContainer
) -> None:
    config = attrs.evolve(QUICK, events=attrs.evolve(QUICK.events, container_silence=1.0))
    async with FakeOpenCode(heartbeat=0.2) as opencode, GatewayProcess(database_url, config).run() as gateway:
        await register(gateway, opencode, base_container)
        async with listening(gateway) as client:
            await eventually(lambda: len(opencode.asked) == 1)
            await asyncio.sleep(0.5)
            opencode.heartbeat = 60
            assert type_of(await client.next()) == "gateway.gap"
        assert len(opencode.asked) == 2


async def test_an_event_that_is_too_large_is_a_gap_in_its_place(
    database_url: str, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    config = attrs.evolve(QUICK, events=attrs.evolve(QUICK.events, max_event_bytes=65_536))
    async with GatewayProcess(database_url, config).run() as gateway:
        await register(gateway, opencode, base_container)
        async with listening(gateway) as client:
            opencode.say(event("message.part.updated", text="x" * 200_000))
            opencode.tell(1)
            gap = value_of(await client.next())
            assert (gap["type"], gap["properties"]["reason"]) == ("gateway.gap", "oversized")
            assert data_of([await client.next()]) == opencode.said[-1:]


async def test_the_directory_of_opencode_is_recorded_and_any_other_passes(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    await register(gateway, opencode, base_container)
    async with listening(gateway) as client:
        opencode.tell(1)
        await client.next()
    home = HOME.replace(" ", "%20")
    for options in ({"query": f"?directory={home}/"}, {"headers": {"x-opencode-directory": home}}):
        async with listening(gateway, **options) as client:
            assert client.blocks[0].id is not None
    async with listening(gateway, query="?directory=/elsewhere", last_event_id=client.blocks[0].id) as client:
        opencode.say(event("message.part.updated", text="elsewhere"), "/elsewhere")
        block = await client.next()
        assert (block.id, value_of(block)["properties"]["text"]) == (None, "elsewhere")
    assert opencode.asked[-1][1] == "directory=/elsewhere"


async def test_packed_events_are_told_as_they_came(
    database_url: str, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    config = attrs.evolve(QUICK, events=attrs.evolve(QUICK.events, pack_after=0))
    async with GatewayProcess(database_url, config).run() as gateway:
        await register(gateway, opencode, base_container)
        async with listening(gateway) as client:
            opencode.tell(400)
            opencode.say(json.dumps({"type": "x", "properties": {}}, indent=1).replace("\n", "\ndata: ").encode())
            opencode.tell(1, 400)
            await client.until(opencode.said[-1])

        async def packs() -> bool:
            row = await gateway.app[DATABASE].fetch_one("lock_storage", **LogId("demo", EVENT.name).params, seconds=0)
            return bool(row and row["packed_to"] >= 400)

        await until(packs)
        async with listening(gateway, query="?from=start") as client:
            found = data_of(await client.until(opencode.said[-1]))
        lines = opencode.said[400].replace(b"\ndata: ", b"\n")
        assert found == [*opencode.said[:400], lines, opencode.said[401]]
