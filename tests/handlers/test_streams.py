"""Streams through what happens to them: odd cursors, slow and old clients, deletions, a database that is away."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest

from gateway.config.schema import EventsConfig
from gateway.db.migrate import migrate
from gateway.log.ids import LogId
from gateway.log.room import LOG
from gateway.log.store import Log, NewEvent
from gateway.stream.room import STREAMS
from gateway.wire.sse import SSEEvent
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.fakes.reader import Reader
from tests.restartable import Restartable
from tests.world import QUICK, Gateway, GatewayProcess, Project, data_of

#: A client that reads nothing has this much from the system, about.
LITTLE = 4096


def execute(database_url: str, statement: str) -> None:
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)


async def append(gateway: Gateway, count: int, *, size: int = 10, session_id: str | None = None) -> None:
    """Events ``{"n": …}`` of the project ``demo``."""
    log: Log = gateway.app[LOG].store
    for start in range(0, count, 100):
        numbers = range(start, min(start + 100, count))
        data = [json.dumps({"n": n, "x": "x" * size}).encode() for n in numbers]
        await log.append(
            LogId("demo"), [NewEvent(type="session_update", data=one, session_id=session_id) for one in data]
        )


@pytest.fixture
def url(gateway: Gateway, base_project: Project) -> str:
    return f"{gateway.url}{base_project.acp}/events"


async def test_every_odd_cursor_has_its_answer_on_every_stream_and_however_it_is_named(
    gateway: Gateway, base_project: Project, database_url: str
) -> None:
    session = await base_project.create_session()
    await base_project.prompt(session, "stream 20")
    await gateway.register("http://127.0.0.1:1", id="other")
    cursor: str = (await base_project.call("GET", f"/session/{session}")).json["cursor"]
    epoch, head = map(int, cursor.split("-"))
    foreign = (await gateway.app[LOG].store.head(LogId("other"))).epoch
    execute(database_url, "delete from events where seq <= 5; update log_heads set floor = 5 where project_id = 'demo'")
    answers: dict[str, str | None] = {
        f"{epoch}-0": "no_longer_kept",
        f"{epoch}-4": "no_longer_kept",
        f"{epoch}-5": None,
        f"{epoch}-{head}": None,
        f"{epoch}-{head + 1}": "beyond_head",
        f"{foreign}-1": "other_epoch",
        f"{epoch}-{2**63}": "unreadable_cursor",
        "0": "unreadable_cursor",
        "-1": "unreadable_cursor",
        "x" * 8_000: "unreadable_cursor",
        f"{epoch}-1'; drop table events; --": "unreadable_cursor",
        "\u0661-\u0661": "unreadable_cursor",
    }
    for named, reason in answers.items():
        for of_session in (None, session):
            for options in ({"last_event_id": named}, {"query": f"?lastEventId={quote(named)}"}):
                async with base_project.events(of_session, **options) as stream:
                    first = await stream.block()
                    assert first.event == "heartbeat"
                    # A client that gets no further is told again.
                    assert first.id == (None if reason == "unreadable_cursor" else named)
                    if reason is not None:
                        reset = await stream.block()
                        assert (reset.event, reset.id) == ("reset", f"{epoch}-{head}"), named
                        assert data_of(reset) == {"epoch": epoch, "floor": 5, "head": head, "reason": reason}
                    elif named != f"{epoch}-{head}":
                        assert int(((await stream.next()).id or "").split("-")[1]) > 5


async def test_a_replay_from_which_events_are_deleted_is_told_so_where_they_are_missing(
    gateway: Gateway, url: str, database_url: str
) -> None:
    await append(gateway, 3000, size=1000)
    async with Reader.open(f"{url}?from=start", receive_buffer=LITTLE) as stream:
        got = await stream.until("session_update")
        execute(database_url, "delete from events where seq <= 2900; update log_heads set floor = 2900")
        got += await stream.until("reset")
        await append(gateway, 1)
        after = await stream.until("session_update")
    reset = data_of(got.pop())
    assert (reset["reason"], reset["floor"], reset["head"]) == ("no_longer_kept", 2900, 3000)
    numbers = [int((event.id or "").split("-")[1]) for event in got]
    assert numbers == list(range(1, len(got) + 1))
    assert len(got) < 2900
    assert (after[-1].id or "").endswith("-3001")


async def test_a_stream_ends_when_its_project_is_deleted_and_its_connection_serves_on(
    gateway: Gateway, base_project: Project, url: str
) -> None:
    async with gateway.http.get(url) as response:
        connection = response.connection
        assert connection is not None
        transport = connection.transport
        assert (await gateway.call("DELETE", "/api/projects/demo")).status == 204
        assert (await response.read()).endswith(b"}\n\n")
    async with gateway.http.get(url) as response:
        assert response.status == 404
        assert response.connection is None or response.connection.transport is transport


async def test_a_session_that_ends_does_not_end_its_stream(base_project: Project) -> None:
    session = await base_project.create_session()
    async with base_project.events(session) as stream:
        await base_project.call("DELETE", f"/session/{session}")
        await stream.until("session_ended")
        assert (await stream.block()).event == "heartbeat"


async def test_a_client_of_http_1_0_reads_a_stream_that_ends_with_its_connection(gateway: Gateway, url: str) -> None:
    await append(gateway, 300)
    async with Reader.open(f"{url}?from=start", version="1.0", headers="Connection: keep-alive\r\n") as stream:
        assert "transfer-encoding" not in stream.headers
        assert stream.headers.get("connection", "close") == "close"
        got: list[SSEEvent] = []
        while len(got) < 300:
            got += [event for event in await stream.events() if event.event != "heartbeat"]
        await append(gateway, 1)
        got += await stream.until("session_update")
        await gateway.call("DELETE", "/api/projects/demo")
        while await stream.read():
            pass
    assert [data_of(event)["n"] for event in got] == [*range(300), 0]


async def test_slow_and_quick_clients_of_many_sessions_get_theirs_alone(
    gateway: Gateway, base_project: Project
) -> None:
    sessions = [await base_project.create_session() for _ in range(3)]
    async with base_project.events(sessions[0]) as one, base_project.events(sessions[1]) as two:
        for session in sessions:
            await append(gateway, 250, session_id=session)
        for stream, session in ((one, sessions[0]), (two, sessions[1])):
            for n in range(250):
                event = await stream.next()
                assert (data_of(event)["n"], json.loads(event.data)["sessionId"]) == (n, session)


async def test_a_client_that_takes_nothing_is_cut_off_after_a_time_and_can_come_back(
    database_url: str, base_container: FakeContainer
) -> None:
    events = EventsConfig(heartbeat=0.3, stall=1.0)
    async with GatewayProcess(database_url, QUICK).configured(events=events).run() as gateway:
        project = await gateway.register(base_container.url)
        url = f"{gateway.url}{project.acp}/events"
        await append(gateway, 3000, size=1000)
        cursor, got = None, 0
        async with Reader.open(f"{url}?from=start", receive_buffer=LITTLE) as stuck, Reader.open(url) as reading:
            await eventually(lambda: len(gateway.app[STREAMS].streams) == 2)
            await eventually(lambda: len(gateway.app[STREAMS].streams) == 1)
            assert max(gateway.app[STREAMS].streams.buffered()) == 0
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while events_ := await stuck.events():
                    cursor = events_[-1].id
                    got += sum(event.event != "heartbeat" for event in events_)
            assert got < 3000
            # Who reads is not cut off.
            assert (await reading.until("heartbeat"))[-1].event == "heartbeat"
        async with Reader.open(url, last_event_id=cursor) as stream:
            while got < 3000:
                for event in await stream.events():
                    if event.event != "heartbeat":
                        assert data_of(event)["n"] == got
                        got += 1


@pytest.fixture(scope="module")
def postgres(module_directory: Path) -> Iterator[Restartable]:
    """A migrated PostgreSQL of this module's own, to be stopped."""
    server = Restartable(module_directory / "streams")
    migrate(server.url)
    yield server
    with suppress(ProcessLookupError, AssertionError):
        server.stop()


@pytest.fixture
async def mortal(postgres: Restartable) -> AsyncIterator[Gateway]:
    """A gateway on that."""
    async with GatewayProcess(postgres.url, QUICK).run() as running:
        yield running


async def test_streams_outlive_the_database_and_no_client_is_sent_away_for_good(
    mortal: Gateway, postgres: Restartable
) -> None:
    project = await mortal.register("http://127.0.0.1:1")
    url = f"{mortal.url}{project.acp}/events"
    await append(mortal, 3000, size=1000)
    async with (
        Reader.open(url) as live,
        Reader.open(f"{url}?from=start", receive_buffer=LITTLE) as replaying,
    ):
        [first] = await live.events()
        assert (first.id or "").endswith("-3000")
        await asyncio.to_thread(postgres.stop)
        # More than the time for which a project is remembered.
        until = time.monotonic() + 3
        while time.monotonic() < until:
            beat = (await live.until("heartbeat"))[-1]
            assert beat.id == first.id
        for path in ("", "/ses_1"):
            async with Reader.open(url + path, last_event_id="7-7") as refused:
                assert (refused.status, refused.headers["content-type"]) == (200, "text/event-stream")
                assert refused.headers["cache-control"] == "no-store, no-transform"
                body = await refused.read()
                assert re.search(rb"^retry: [0-9]{3,4}$", body, re.MULTILINE)
                assert b"\ndata: {" in body
                # Some clients take a block without an id for the loss of theirs.
                assert body.startswith(b"id: 7-7\n")
        await asyncio.to_thread(postgres.start)
        accepted = time.monotonic()
        other = Log(mortal.app[LOG].store._database)
        await other.append(LogId("demo"), [NewEvent(type="session_update", data=b'{"n":3000}')])
        event = (await live.until("session_update"))[-1]
        assert time.monotonic() - accepted < 2
        assert data_of(event) == {"n": 3000}
        got: list[SSEEvent] = []
        while len(got) < 3001:
            got += [event for event in await replaying.events() if event.event != "heartbeat"]
        assert [data_of(event)["n"] for event in got] == list(range(3001))


async def test_what_is_wrong_with_a_request_for_a_stream_is_told(gateway: Gateway, base_project: Project) -> None:
    for path, status, code in (
        ("/events?from=nowhere", 400, "invalid_parameter"),
        ("/events?lastEventId=1-1&lastEventId=1-2", 400, "invalid_parameter"),
        ("/events?lastEventID=1-1", 400, "invalid_parameter"),
        ("/events/ses_unknown", 404, "session_not_found"),
    ):
        answer = await base_project.call("GET", path)
        assert (answer.status, answer.json["code"]) == (status, code)
    answer = await gateway.call("GET", "/api/projects/unknown/acp/events")
    assert (answer.status, answer.json["code"]) == (404, "project_not_found")
    answer = await base_project.call("GET", "/events", headers={"Host": "evil.example"})
    assert (answer.status, answer.json["code"]) == (403, "forbidden")
