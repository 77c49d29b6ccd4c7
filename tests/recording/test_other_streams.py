"""OpenCode's streams of all directories, recorded as the one of its own directory is, each in its form."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import attrs
import pytest

from gateway.errors import ProjectNotFound
from gateway.follow.room import FOLLOWERS
from gateway.log.ids import LogId
from gateway.log.room import LOG
from gateway.wire.opencode import API_EVENT, EVENT, GLOBAL_EVENT, EventStream
from gateway.wire.times import parse_timestamp
from tests.db.things import ask
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually, until
from tests.fakes.opencode import FakeOpenCode, event
from tests.identity.conftest import OWNER, VIEWER
from tests.recording.listening import content_of, data_of, event_of, listening, type_of
from tests.recording.projects import RECORDED, has_recorded, register
from tests.world import PROXIED, QUICK, Gateway, GatewayProcess

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=[GLOBAL_EVENT, API_EVENT], ids=lambda stream: stream.name)
def stream(request: pytest.FixtureRequest) -> EventStream:
    found: EventStream = request.param
    return found


@pytest.fixture
async def recorded(gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer) -> Gateway:
    """A gateway with a project whose OpenCode is recorded."""
    await register(gateway, opencode, base_container)
    return gateway


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[tuple[Gateway, Gateway]]:
    process = GatewayProcess(database_url, QUICK)
    async with process.run() as first, process.run() as second:
        yield first, second


async def head(gateway: Gateway, stream: EventStream) -> int:
    return (await gateway.app[LOG].store.head(LogId("demo", stream.name))).head


async def is_noticed(gateway: Gateway, stream: EventStream) -> None:
    """Wait until it is known that OpenCode's stream is not read."""
    leases = gateway.app[FOLLOWERS].leases

    async def is_away() -> bool:
        return not await leases.is_opencode_connected(LogId("demo", stream.name))

    await until(is_away)


def path_of(stream: EventStream) -> str:
    return f"/api/projects/demo/opencode{stream.path}"


async def test_a_client_gets_each_event_once_as_opencode_wrote_it_from_any_place(
    recorded: Gateway, opencode: FakeOpenCode, stream: EventStream
) -> None:
    async with listening(recorded, path=stream.path) as client:
        opencode.tell(50)
        first = await client.until(opencode.told(stream.path)[-1])
    opencode.tell(1_000, 50)
    async with listening(recorded, path=stream.path, last_event_id=first[-1].id) as client:
        opencode.tell(5, 1_050)
        rest = await client.until(opencode.told(stream.path)[-1])
    blocks, told = first + rest, opencode.told(stream.path)
    assert data_of(blocks) == told
    assert {block.event for block in blocks} == {"message"}
    numbers = [int((block.id or "").partition("-")[2]) for block in blocks]
    assert numbers == list(range(numbers[0], numbers[0] + len(told)))
    for place in (0, 17, 700):
        query = f"?lastEventId={blocks[place].id}"
        async with listening(recorded, path=stream.path, query=query) as client:
            assert data_of(await client.until(told[-1])) == told[place + 1 :]
    async with listening(recorded, path=stream.path, query="?from=start") as client:
        assert data_of(await client.until(told[-1])) == told


async def test_it_has_the_events_of_all_directories(
    recorded: Gateway, opencode: FakeOpenCode, stream: EventStream
) -> None:
    # A directory in the request means nothing here, as to OpenCode.
    async with listening(recorded, path=stream.path, query="?directory=/elsewhere") as client:
        assert client.blocks[0].id is not None
        opencode.say(event("session.idle", sessionID="there"), "/elsewhere")
        opencode.say(event("session.idle", sessionID="here"))
        assert [content_of(await client.next())["sessionID"] for _ in range(2)] == ["there", "here"]


async def test_it_is_recorded_from_the_first_client_on_whether_or_not_one_is_there(
    recorded: Gateway, opencode: FakeOpenCode, stream: EventStream, database_url: str
) -> None:
    async with listening(recorded):
        opencode.tell(1)
    assert opencode.listening(stream.path) == 0
    assert ask(database_url, "select log from log_heads order by log") == [("acp",), ("opencode",)]
    async with listening(recorded, path=stream.path):
        pass
    opencode.tell(10, 1)
    async with listening(recorded, path=stream.path, query="?from=start") as client:
        assert data_of(await client.until(opencode.told(stream.path)[-1])) == opencode.told(stream.path)[1:]
    assert opencode.listening(stream.path) == 1
    await until(lambda: has_recorded(recorded, 11))


async def test_another_start_of_the_gateway_goes_on_recording_it(
    database_url: str, opencode: FakeOpenCode, base_container: FakeContainer, stream: EventStream
) -> None:
    process = GatewayProcess(database_url, QUICK)
    async with process.run() as gateway:
        await register(gateway, opencode, base_container)
        async with listening(gateway, path=stream.path) as client:
            opencode.tell(1)
            last = await client.next()
    async with process.run() as gateway:
        await eventually(lambda: opencode.listening(stream.path) == 1, within=20)
        await gateway.app[FOLLOWERS].opencode_connected(LogId("demo", stream.name))
        opencode.tell(1, 1)
        async with listening(gateway, path=stream.path, last_event_id=last.id) as client:
            found = await client.until(opencode.told(stream.path)[-1])
    assert [type_of(block) for block in found if type_of(block) != "gateway.gap"] == ["message.part.updated"]


async def test_both_and_the_directorys_own_are_recorded_beside_each_other(
    recorded: Gateway, opencode: FakeOpenCode
) -> None:
    streams = (EVENT, GLOBAL_EVENT, API_EVENT)
    async with (
        listening(recorded) as one,
        listening(recorded, path=GLOBAL_EVENT.path) as two,
        listening(recorded, path=API_EVENT.path) as three,
    ):
        opencode.tell(100)
        for client, of in zip((one, two, three), streams, strict=True):
            assert data_of(await client.until(opencode.told(of.path)[-1])) == opencode.told(of.path)
        assert len({client.blocks[0].id for client in (one, two, three)}) == 3
    assert [await head(recorded, of) for of in streams] == [100, 100, 100]


async def test_a_break_is_told_once_with_its_time_and_followed_by_a_connected(
    recorded: Gateway, opencode: FakeOpenCode, stream: EventStream
) -> None:
    async with listening(recorded, path=stream.path) as client:
        opencode.tell(2)
        await client.until(opencode.told(stream.path)[-1])
        opencode.cut()
        await eventually(lambda: opencode.listening(stream.path) == 1)
        gap = await client.next()
        assert type_of(await client.block()) == "server.connected"
        opencode.tell(1, 2)
        assert data_of([await client.next()]) == opencode.told(stream.path)[-1:]
    assert event_of(gap).keys() == {"id", "type", stream.content}
    said = content_of(gap)
    begin, end = (parse_timestamp(said[name]) for name in ("from", "to"))
    assert begin is not None
    assert end is not None
    assert (type_of(gap), said["reason"], begin < end) == ("gateway.gap", "stream_interrupted", True)
    async with listening(recorded, path=stream.path, query="?from=start") as client:
        found = await client.until(opencode.told(stream.path)[-1])
    assert [type_of(block) for block in found].count("gateway.gap") == 1


async def test_while_opencode_is_away_a_client_with_a_cursor_gets_what_it_missed_and_a_new_one_is_told(
    recorded: Gateway, opencode: FakeOpenCode, stream: EventStream
) -> None:
    async with listening(recorded, path=stream.path) as client:
        opencode.tell(5)
        blocks = await client.until(opencode.told(stream.path)[-1])
    await opencode.stop()
    async with listening(recorded, path=stream.path, last_event_id=blocks[1].id) as client:
        assert data_of(await client.until(opencode.told(stream.path)[-1])) == opencode.told(stream.path)[2:]
    await is_noticed(recorded, stream)
    answer = await recorded.call("GET", path_of(stream))
    assert (answer.status, answer.json["code"]) == (503, "upstream_refused")
    answer = await recorded.call("GET", path_of(stream), headers={"Accept": "text/event-stream"})
    assert answer.status == 200
    assert b"retry: " in answer.body
    await opencode.start()


async def test_what_cannot_be_continued_is_told_in_its_form(
    recorded: Gateway, opencode: FakeOpenCode, stream: EventStream
) -> None:
    async with listening(recorded) as other, listening(recorded, path=stream.path) as client:
        opencode.tell(5)
        head = (await client.until(opencode.told(stream.path)[-1]))[-1].id
        of_another = (await other.next()).id
    for named, reason in ((of_another, "other_epoch"), ("evt_of_opencodes_own", "unreadable_cursor")):
        async with listening(recorded, path=stream.path, last_event_id=named) as client:
            reset = await client.next()
            assert (type_of(reset), reset.id, content_of(reset)["reason"]) == ("gateway.reset", head, reason)
            assert event_of(reset).keys() == {"id", "type", stream.content}


async def test_heartbeats_are_of_its_form_and_none_is_stored(
    database_url: str, base_container: FakeContainer, stream: EventStream
) -> None:
    config = attrs.evolve(QUICK, events=attrs.evolve(QUICK.events, heartbeat=0.3))
    async with FakeOpenCode(heartbeat=0.05) as opencode, GatewayProcess(database_url, config).run() as gateway:
        await register(gateway, opencode, base_container)
        async with listening(gateway, path=stream.path) as client:
            opencode.tell(1)
            last = await client.next()
            if stream is API_EVENT:
                beat = f"id: {last.id}\n: heartbeat\n\n".encode()
                while beat not in client.stream.raw:
                    client.stream.raw += await client.stream.response.content.readany()
            else:
                beating = await client.block()
                assert (type_of(beating), beating.id, beating.event) == ("server.heartbeat", last.id, "message")
        assert await head(gateway, stream) == 1


async def test_a_stream_that_falls_silent_after_heartbeats_is_taken_for_gone(
    database_url: str, base_container: FakeContainer, stream: EventStream
) -> None:
    config = attrs.evolve(QUICK, events=attrs.evolve(QUICK.events, container_silence=1.0))
    async with FakeOpenCode(heartbeat=0.2) as opencode, GatewayProcess(database_url, config).run() as gateway:
        await register(gateway, opencode, base_container)
        async with listening(gateway, path=stream.path) as client:
            await asyncio.sleep(0.5)  # Two heartbeats come: they are not told on to clients.
            opencode.heartbeat = 60
            assert type_of(await client.next()) == "gateway.gap"


@pytest.mark.parametrize("known", ["", "?from=start", "?lastEventId=1-1"])
async def test_a_stream_that_this_opencode_has_not_is_answered_by_it_and_not_recorded(
    gateway: Gateway, base_container: FakeContainer, database_url: str, stream: EventStream, known: str
) -> None:
    async with FakeOpenCode(paths=[EVENT.path]) as opencode:
        await register(gateway, opencode, base_container)
        answer = await gateway.call("GET", path_of(stream) + known)
        assert (answer.status, answer.body) == (404, b"404: Not Found")
        assert ask(database_url, "select log from log_heads order by log") == [("acp",), ("opencode",)]
        async with listening(gateway) as client:
            opencode.tell(1)
            assert data_of([await client.next()]) == opencode.said


async def test_a_stream_that_another_version_has_no_more_is_answered_by_it(
    recorded: Gateway, opencode: FakeOpenCode, stream: EventStream
) -> None:
    async with listening(recorded, path=stream.path) as client:
        opencode.tell(1)
        block = await client.next()
    await opencode.stop()
    opencode.paths = [EVENT.path]
    await opencode.start()
    await is_noticed(recorded, stream)
    assert (await recorded.call("GET", path_of(stream))).status == 404
    # What was recorded is there.
    async with listening(recorded, path=stream.path, query="?from=start") as client:
        assert (await client.next()).id == block.id


async def test_opencodes_password_is_used(gateway: Gateway, base_container: FakeContainer, stream: EventStream) -> None:
    async with FakeOpenCode(password="a password") as opencode:
        project = await gateway.register(
            base_container.url, id="demo", containerUrl=opencode.url, opencodePassword="a password", **RECORDED
        )
        async with listening(gateway, path=stream.path) as client:
            opencode.tell(1)
            assert data_of([await client.next()]) == opencode.told(stream.path)
        # Without it OpenCode's own refusal is the answer.
        await gateway.call("PATCH", project.path, {"opencodePassword": None})
        opencode.cut()
        await is_noticed(gateway, stream)
        assert (await gateway.call("GET", path_of(stream))).status == 401


async def test_retention_holds_for_it_by_itself(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer, database_url: str, stream: EventStream
) -> None:
    limit = {"maxAgeDays": None, "maxBytes": 20_000}
    await gateway.register(base_container.url, id="demo", containerUrl=opencode.url, **RECORDED, retention=limit)
    async with listening(gateway, path=stream.path) as client:
        opencode.tell(500)
        ids = [block.id for block in await client.until(opencode.told(stream.path)[-1])]
    ask(database_url, "update log_storage set looked_at = now() - interval '1 hour'")

    async def is_cut() -> bool:
        return (await gateway.app[LOG].store.head(LogId("demo", stream.name))).floor > 0

    await until(is_cut)
    async with listening(gateway, path=stream.path, last_event_id=ids[0]) as client:
        assert content_of(await client.next())["reason"] == "no_longer_kept"


async def test_another_gateway_takes_it_over(
    two: tuple[Gateway, Gateway], opencode: FakeOpenCode, base_container: FakeContainer, stream: EventStream
) -> None:
    first, second = two
    await register(first, opencode, base_container)
    log_id = LogId("demo", stream.name)
    async with listening(second, path=stream.path) as client:
        for number, (holder, other) in enumerate(((first, second), (second, first)) * 2):
            if holder.app[FOLLOWERS].held():
                await holder.app[FOLLOWERS].leave("demo")
                other.app[FOLLOWERS].follow("demo")
            await other.app[FOLLOWERS].opencode_connected(log_id)
            opencode.tell(10, 10 * number)
            await client.until(opencode.told(stream.path)[-1])
    told = [block for block in client.blocks if type_of(block) not in ("server.connected", "gateway.gap")]
    assert data_of(told) == opencode.told(stream.path)


async def test_switched_off_it_breaks_off_and_passes_through(
    recorded: Gateway, opencode: FakeOpenCode, stream: EventStream
) -> None:
    async with listening(recorded, path=stream.path) as client:
        opencode.tell(3)
        await client.until(opencode.told(stream.path)[-1])
        await recorded.call("PATCH", "/api/projects/demo", {"recordOpencodeEvents": False})
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.until(b"nothing that is said")
    await eventually(lambda: opencode.listeners == 0)
    async with listening(recorded, path=stream.path, last_event_id=client.blocks[-1].id) as client:
        assert client.blocks[0].id is None
    assert await head(recorded, stream) == 3


async def test_the_stream_of_a_remote_workspace_passes_through(
    recorded: Gateway, opencode: FakeOpenCode, stream: EventStream
) -> None:
    async with listening(recorded, path=stream.path, query="?workspace=wrk_1") as client:
        assert client.blocks[0].id is None
    with pytest.raises(ProjectNotFound):
        await head(recorded, stream)


async def test_viewers_see_it_where_it_is_recorded_by_a_ticket_too(
    database_url: str, opencode: FakeOpenCode, base_container: FakeContainer, stream: EventStream
) -> None:
    async with GatewayProcess(database_url, PROXIED).run() as shared:
        owner, victor = shared.as_user(OWNER), shared.as_user(VIEWER)
        await owner.register(base_container.url, containerUrl=opencode.url)
        await owner.call("PUT", f"/api/projects/demo/members/{VIEWER}", {"role": "viewer"})
        ticket: tuple[str, str, Any] = (
            "POST",
            "/api/projects/demo/acp/events/ticket",
            {"path": f"/opencode{stream.path}"},
        )
        for refused in (await victor.call("GET", path_of(stream)), await victor.call(*ticket)):
            assert (refused.status, refused.json["code"]) == (403, "insufficient_role")
        await owner.call("PATCH", "/api/projects/demo", RECORDED)
        async with listening(victor, path=stream.path) as client:
            opencode.tell(1)
            assert data_of([await client.next()]) == opencode.told(stream.path)
        url = (await victor.call(*ticket)).json["url"]
        async with shared.http.get(shared.url + url, headers={"Accept": "text/event-stream"}) as response:
            assert response.status == 200
