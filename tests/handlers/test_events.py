"""Event streams: what they look like, where they begin, when they end, and who disturbs whom."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from typing import Any

import psycopg2

from gateway.config.schema import EventsConfig
from gateway.stream.room import STREAMS
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.handlers.expected import problem
from tests.world import QUICK, Gateway, GatewayProcess, Project, data_of

CURSOR = re.compile(r"([1-9][0-9]*)-([1-9][0-9]*)")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MEMBERS = ["type", "sessionId", "turnId", "agentId", "at", "data"]
#: A stream may find another process's events by looking once a second.
FOUND_SECONDS = 2.0


def seq(cursor: str) -> int:
    return int(cursor.rpartition("-")[2])


def execute(database_url: str, statement: str) -> None:
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)


async def head_of(project: Project, session: str) -> str:
    cursor: str = (await project.call("GET", f"/session/{session}")).json["cursor"]
    return cursor


async def test_each_event_has_its_cursor_its_type_and_the_members_of_the_envelope(project: Project) -> None:
    session = await project.create_session()
    turn = (await project.prompt(session, "think a\nplan b; c\ntool\nsay d"))["turnId"]
    events = await project.all_events(session)
    assert {"session_created", "turn_started", "session_update", "turn_ended"} <= {event.event for event in events}
    for event in events:
        assert CURSOR.fullmatch(event.id or "")
        envelope = json.loads(event.data)
        assert list(envelope) == [name for name in MEMBERS if name in envelope]
        assert envelope["type"] == event.event
        assert envelope["sessionId"] == session
        assert INSTANT.fullmatch(envelope["at"])
        if event.event in ("turn_started", "session_update", "turn_ended"):
            assert envelope["turnId"] == turn
    cursors = [seq(event.id or "") for event in events]
    assert cursors == sorted(set(cursors))


async def test_an_agents_notification_stands_in_the_stream_byte_for_byte(
    base_project: Project, base_container: FakeContainer
) -> None:
    session = await base_project.create_session()
    [known] = base_container.sessions
    said = (
        b'{"sessionId":"acp-1","update":{"sessionUpdate":"of a kind that nobody knows","n":1.0,"m":1e2,'
        b'"big":12345678901234567890123,"text":"\\u0000 \\/ \\u00e4 \xc3\xa4","z":1,"a":{"_meta":[ ]}}}'
    )
    async with base_project.events(session) as stream:
        envelope = b'{"type":"session_update","sessionId":"%b","data":%b}' % (known.encode(), said)
        base_container.emit_bytes(b"event: session_update\ndata: %b\n\n" % envelope)
        await stream.until("session_update")
        assert b'"data":%b}\n\n' % said in bytes(stream.raw)


async def test_half_a_surrogate_pair_of_an_agent_is_kept(base_project: Project, base_container: FakeContainer) -> None:
    session = await base_project.create_session()
    [known] = base_container.sessions
    async with base_project.events(session) as stream:
        update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "\ud83d"}}
        base_container.emit("session_update", {"update": update}, session_id=known)
        event = (await stream.until("session_update"))[-1]
    assert data_of(event)["update"] == update
    [message] = await base_project.messages(session)
    assert message["content"] == [{"type": "text", "text": "\ud83d"}]


async def test_a_stream_begins_at_the_head_unless_told_otherwise(base_project: Project) -> None:
    session = await base_project.create_session()
    await base_project.prompt(session, "say old")
    for query in ("", "?from=head", "?lastEventId="):
        async with base_project.events(session, query=query) as stream:
            await base_project.prompt(session, "say new")
            assert (await stream.next()).event == "turn_started"


async def test_from_start_gives_everything(base_project: Project) -> None:
    session = await base_project.create_session()
    await base_project.prompt(session, "say a")
    async with base_project.events(query="?from=start") as stream:
        events = await stream.until("turn_ended")
    assert [seq(event.id or "") for event in events] == list(range(1, len(events) + 1))


async def test_the_header_wins_over_the_query_and_a_cursor_over_from(base_project: Project) -> None:
    session = await base_project.create_session()
    await base_project.prompt(session, "stream 5")
    ids = [event.id or "" for event in await base_project.all_events(session)]
    for options, expected in (
        ({"query": f"?lastEventId={ids[2]}"}, ids[3]),
        ({"last_event_id": ids[1], "query": f"?lastEventId={ids[3]}"}, ids[2]),
        ({"last_event_id": ids[1], "query": "?from=start"}, ids[2]),
        ({"last_event_id": ids[1], "query": "?from=head"}, ids[2]),
        ({"last_event_id": "", "query": f"?lastEventId={ids[3]}"}, ids[4]),
        ({"last_event_id": "", "query": "?from=start"}, ids[0]),
    ):
        async with base_project.events(session, **options) as stream:
            assert (await stream.next()).id == expected, options


async def test_every_odd_cursor_is_a_place_or_a_reset(base_project: Project, database_url: str) -> None:
    session = await base_project.create_session()
    await base_project.prompt(session, "stream 20")
    epoch, head = map(int, (await head_of(base_project, session)).split("-"))
    execute(database_url, "delete from events where seq <= 5; update log_heads set floor = 5")
    places = {f"{epoch}-{place}": place + 1 for place in (5, 6, head - 1)} | {f"0{epoch}-{head - 1}": head}
    for cursor, first in places.items():
        async with base_project.events(last_event_id=cursor) as stream:
            event = await stream.next()
            assert (event.event, seq(event.id or "")) != ("reset", head)
            assert seq(event.id or "") == first, cursor
    resets = {
        f"{epoch}-{head + 1}": "beyond_head",
        f"{epoch}-{10**17}": "beyond_head",
        f"{epoch}-0": "no_longer_kept",
        f"{epoch}-4": "no_longer_kept",
        f"{epoch + 1}-1": "other_epoch",
        f"999999999-{head}": "other_epoch",
        f"{epoch}-{2**63}": "unreadable_cursor",
        f"{2**63}-1": "unreadable_cursor",
        "-1": "unreadable_cursor",
        f"{epoch}--1": "unreadable_cursor",
        f"{epoch}": "unreadable_cursor",
        f"{epoch}-": "unreadable_cursor",
        f"{epoch}-1.5": "unreadable_cursor",
        f"{epoch}-1 or 1=1; drop table events": "unreadable_cursor",
        "x" * 8_000: "unreadable_cursor",
        "\u0661-\u0661": "unreadable_cursor",
        "null": "unreadable_cursor",
    }
    for cursor, reason in resets.items():
        async with base_project.events(last_event_id=cursor) as stream:
            event = await stream.next()
            assert (event.event, event.id) == ("reset", f"{epoch}-{head}"), cursor
            assert json.loads(event.data)["type"] == "reset"
            assert data_of(event) == {"epoch": epoch, "floor": 5, "head": head, "reason": reason}


async def test_a_stream_goes_on_at_the_head_after_a_reset(base_project: Project) -> None:
    session = await base_project.create_session()
    async with base_project.events(session, last_event_id="nonsense") as stream:
        reset = await stream.next()
        await base_project.prompt(session, "say on")
        event = await stream.next()
    assert (reset.event, event.event) == ("reset", "turn_started")
    async with base_project.events(session, last_event_id=reset.id) as again:
        assert (await again.next()).id == event.id


async def test_a_cursor_at_the_head_waits_for_what_comes(base_project: Project) -> None:
    session = await base_project.create_session()
    async with base_project.events(session, last_event_id=await head_of(base_project, session)) as stream:
        await base_project.prompt(session, "say on")
        assert (await stream.next()).event == "turn_started"


async def test_an_open_stream_is_told_when_its_log_is_another(base_project: Project, database_url: str) -> None:
    session = await base_project.create_session()
    async with base_project.events(session) as stream:
        execute(database_url, "update log_heads set epoch = epoch + 1")
        event = (await stream.until("reset"))[-1]
    assert data_of(event)["reason"] == "other_epoch"


async def test_the_reconnection_time_stands_in_the_first_block_with_data(base_project: Project) -> None:
    session = await base_project.create_session()
    await base_project.prompt(session, "stream 5")
    for options in ({"query": "?from=start"}, {"last_event_id": "nonsense"}):
        async with base_project.events(session, **options) as stream:
            await stream.next()
            if "query" in options:
                await stream.until("turn_ended")
        blocks = [block for block in bytes(stream.raw).split(b"\n\n") if b"data:" in block]
        assert [b"retry: 1000" in block for block in blocks] == [True] + [False] * (len(blocks) - 1)
        assert bytes(stream.raw).count(b"retry:") == 1


async def test_a_stream_is_neither_kept_nor_changed_nor_held_back_on_its_way(base_project: Project) -> None:
    async with base_project.events() as stream:
        headers = stream.response.headers
        assert headers["Content-Type"] == "text/event-stream"
        assert headers["Cache-Control"] == "no-store, no-transform"
        assert headers["X-Accel-Buffering"] == "no"
        assert re.fullmatch("[0-9a-f]{16}", headers["X-Request-Id"])
        assert "Content-Encoding" not in headers


async def test_the_first_block_is_a_heartbeat_with_the_cursor_at_which_the_stream_begins(base_project: Project) -> None:
    session = await base_project.create_session()
    await base_project.prompt(session, "stream 5")
    head = await head_of(base_project, session)
    epoch = head.partition("-")[0]
    for query, cursor in (("", head), ("?from=start", f"{epoch}-0"), (f"?lastEventId={epoch}-3", f"{epoch}-3")):
        async with base_project.events(session, query=query) as stream:
            first = await stream.block()
        assert (first.event, first.id, first.retry) == ("heartbeat", cursor, 1000)
        assert json.loads(first.data)["type"] == "heartbeat"
        assert data_of(first) == {}


async def test_before_a_reset_the_first_block_leaves_the_client_its_cursor(base_project: Project) -> None:
    async with base_project.events(last_event_id="nonsense") as stream:
        first, second = await stream.block(), await stream.block()
    assert (first.event, first.id, first.retry) == ("heartbeat", None, 1000)
    assert (second.event, second.retry) == ("reset", None)


async def test_a_stream_with_nothing_to_say_has_heartbeats_with_its_cursor(base_project: Project) -> None:
    mine, other = await base_project.create_session(), await base_project.create_session()
    async with base_project.events(mine) as stream:
        await stream.block()
        await base_project.prompt(other, "say not yours")
        head = await head_of(base_project, other)
        beats = [await stream.block()]
        while beats[-1].id != head:
            beats.append(await stream.block())
    assert {beat.event for beat in beats} == {"heartbeat"}
    assert INSTANT.fullmatch(json.loads(beats[-1].data)["at"])
    assert {beat.retry for beat in beats} == {None}


async def test_a_sessions_stream_has_its_own_events_and_the_projects_gaps(
    base_project: Project, base_container: FakeContainer
) -> None:
    mine, other = await base_project.create_session(), await base_project.create_session()
    async with base_project.events(mine) as stream:
        await base_project.prompt(other, "say not yours")
        base_container.drop_streams()
        await stream.until("gap")
        await base_container.wait_for_streams()
        await base_project.prompt(mine, "say yours")
        live = await stream.until("turn_ended")
    replayed = await base_project.all_events(mine)
    for events in (live, replayed):
        envelopes = [json.loads(event.data) for event in events]
        assert {envelope.get("sessionId") for envelope in envelopes} - {mine} <= {None}
        assert all(envelope["type"] == "gap" for envelope in envelopes if "sessionId" not in envelope)
    assert [event.event for event in replayed].count("gap") == 1
    whole = {json.loads(event.data).get("sessionId") for event in await everything(base_project)}
    assert whole >= {mine, other}


async def everything(project: Project) -> list[Any]:
    """All events of the project up to the head."""
    async with project.events(last_event_id="nonsense") as stream:
        head = data_of(await stream.next())["head"]
    async with project.events(query="?from=start") as stream:
        return [await stream.next() for _ in range(head)]


async def test_a_session_of_another_project_has_no_stream_here(
    gateway: Gateway, base_project: Project, base_container: FakeContainer
) -> None:
    other = await gateway.register(base_container.url, id="other")
    session = await base_project.create_session()
    problem(await other.call("GET", f"/events/{session}"), 404, "session_not_found")


async def test_what_another_gateway_appends_arrives_soon(database_url: str, base_container: FakeContainer) -> None:
    processes = GatewayProcess(database_url, QUICK)
    async with processes.run() as first, processes.run() as second:
        project = await first.register(base_container.url, defaultAgentId="demo")
        session = await project.create_session()
        elsewhere = Project(second, "demo")
        async with elsewhere.events(session) as stream:
            started = await project.prompt(session, "say hi", wait=None)
            before = time.monotonic()
            event = await stream.next()
            assert time.monotonic() - before < FOUND_SECONDS
            assert (event.event, json.loads(event.data)["turnId"]) == ("turn_started", started["turnId"])
            await stream.until("turn_ended")
        events = await project.all_events(session)
        assert [event.data for event in await elsewhere.all_events(session)] == [event.data for event in events]


@asynccontextmanager
async def raw_stream(gateway: Gateway, path: str) -> AsyncIterator[asyncio.StreamReader]:
    """A stream as the bytes of its connection."""
    address = gateway.url.removeprefix("http://")
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    try:
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_stopping_the_gateway_tells_clients_to_come_back_and_ends_their_streams_cleanly(
    database_url: str, base_container: FakeContainer
) -> None:
    async with AsyncExitStack() as connections:
        async with GatewayProcess(database_url, QUICK).run() as gateway:
            project = await gateway.register(base_container.url)
            path = f"{project.acp}/events"
            readers = [await connections.enter_async_context(raw_stream(gateway, path)) for _ in range(3)]
            for reader in readers:
                await reader.readuntil(b"\n\n\r\n")
            before = time.monotonic()
        assert time.monotonic() - before < 1.5
        for reader in readers:
            rest = await reader.read()
            assert rest.endswith(b"}\n\n\r\n0\r\n\r\n")
            last = rest.split(b"\r\n")[1]
            retry = re.search(rb"^retry: ([0-9]+)$", last, re.MULTILINE)
            assert retry, last
            assert 100 <= int(retry[1]) <= 1000
            assert re.search(rb"^id: [0-9]+-0$", last, re.MULTILINE)


async def test_the_ends_of_many_streams_are_spread_over_the_time_that_is_set(
    database_url: str, base_container: FakeContainer
) -> None:
    ends: list[float] = []

    async def watch(project: Project) -> None:
        async with project.events() as stream:
            await stream.block()
            opened.release()
            with suppress(EOFError):
                await stream.until("never")
        ends.append(time.monotonic())

    opened = asyncio.Semaphore(0)
    async with GatewayProcess(database_url, QUICK).configured(events=EventsConfig(drain=0.5)).run() as gateway:
        project = await gateway.register(base_container.url)
        watching = [asyncio.create_task(watch(project)) for _ in range(100)]
        for _ in watching:
            await opened.acquire()
        stopping = time.monotonic()
        await gateway.app[STREAMS].streams.stop()
        await asyncio.gather(*watching)
        # None comes in any more: it would have to leave at once.
        answer = await project.call("GET", "/events")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
    assert min(ends) - stopping < 0.25
    assert max(ends) - stopping > 0.4


async def test_fifty_clients_get_the_same_bytes(database_url: str, base_container: FakeContainer) -> None:
    events = EventsConfig(heartbeat=300, lease=2.0)
    async with GatewayProcess(database_url, QUICK).configured(events=events).run() as gateway:
        project = await gateway.register(base_container.url, defaultAgentId="demo")
        session = await project.create_session()

        async def watch() -> bytes:
            async with project.events(session) as stream:
                opened.release()
                await stream.until("turn_ended")
                # The first block tells the time at which each of them came.
                return bytes(stream.raw).partition(b"\n\n")[2]

        opened = asyncio.Semaphore(0)
        watching = [asyncio.create_task(watch()) for _ in range(50)]
        for _ in watching:
            await opened.acquire()
        await project.prompt(session, "stream 200", wait=None)
        seen = set(await asyncio.gather(*watching))
    assert len(seen) == 1


async def test_a_client_that_never_reads_disturbs_nobody_and_costs_little_memory(
    gateway: Gateway, base_project: Project, base_container: FakeContainer
) -> None:
    session = await base_project.create_session()
    [known] = base_container.sessions
    async with base_project.events(session) as stuck, base_project.events(session) as stream:
        for number in range(400):
            base_container.emit("session_update", {"n": number, "x": "x" * 50_000}, session_id=known)
        assert [data_of(await stream.next())["n"] for _ in range(400)] == list(range(400))
        buffered = gateway.app[STREAMS].streams.buffered()
        assert len(buffered) == 2
        assert max(buffered) < 200_000
        # It has lost nothing by it.
        assert [data_of(await stuck.next())["n"] for _ in range(400)] == list(range(400))


async def test_a_client_that_leaves_is_let_go(gateway: Gateway, base_project: Project) -> None:
    async with base_project.events() as stream:
        await stream.block()
        assert len(gateway.app[STREAMS].streams) == 1
    await eventually(lambda: not len(gateway.app[STREAMS].streams))


async def test_the_container_is_followed_while_a_stream_is_open(
    base_project: Project, base_container: FakeContainer
) -> None:
    async with base_project.events() as stream:
        await base_container.wait_for_streams()
        base_container.emit("agent_status", {"agentId": "demo", "status": "error"}, agent_id="demo")
        event = await stream.next()
    assert (event.event, data_of(event)["status"]) == ("agent_status", "error")
    assert "sessionId" not in json.loads(event.data)


async def test_a_stream_is_open_while_the_container_is_away(
    base_project: Project, base_container: FakeContainer
) -> None:
    await base_container.refuse()
    async with base_project.events() as stream:
        await base_container.listen()
        await base_container.wait_for_streams()
        base_container.emit("agent_status", {"agentId": "demo", "status": "running"}, agent_id="demo")
        assert (await stream.next()).event == "agent_status"


async def test_a_stream_is_opened_with_get_only(base_project: Project) -> None:
    answer = await base_project.call("POST", "/events", {})
    assert (answer.status, answer.json["code"]) == (403, "forbidden")
