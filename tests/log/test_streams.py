"""Each client gets exactly the log from its start, in order: whoever appends, however it reads, whenever it leaves."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import closing, suppress
from uuid import uuid4

import attrs
import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.schema import EventsConfig
from gateway.db.pool import Database
from gateway.log.ids import LogId
from gateway.log.room import LOG
from gateway.log.store import Log, NewEvent
from gateway.projects.room import PROJECTS
from gateway.projects.store import NewProject
from gateway.stream.room import STREAMS
from gateway.wire.events import FOR_EVERY_SESSION, Cursor, Event
from tests.fakes.reader import Reader
from tests.world import QUICK, Gateway, GatewayProcess

#: The smallest that can be set: some ten of the events below.
TINY_TAIL = EventsConfig(heartbeat=0.2, tail_bytes=65_536)
SESSIONS = ("s0", "s1")
SLOW = 4096


@attrs.frozen
class Said:
    """An event as a client sees it."""

    seq: int
    type: str
    data: str


@attrs.define(eq=False)
class Client:
    """Reads a stream, keeps what it got, and comes back with its cursor."""

    url: str
    is_slow: bool
    cursor: str
    got: list[Said] = attrs.field(factory=list)
    reads: asyncio.Event = attrs.field(factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    def come(self) -> None:
        self._task = asyncio.create_task(self._follow())

    async def leave(self) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def reached(self, seq: int) -> None:
        assert self._task is not None
        while int(self.cursor.partition("-")[2]) < seq:
            assert not self._task.done(), self._task.result()
            await asyncio.sleep(0.005)

    async def _follow(self) -> None:
        buffer = SLOW if self.is_slow else None
        async with Reader.open(self.url, last_event_id=self.cursor, receive_buffer=buffer) as stream:
            assert stream.status == 200
            while True:
                await self.reads.wait()
                for event in await stream.events():
                    assert event.id is not None
                    self.cursor = event.id
                    if event.event != "heartbeat":
                        self.got.append(Said(int(event.id.partition("-")[2]), event.event, event.data))


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    """A gateway whose tails hold little."""
    async with GatewayProcess(database_url, QUICK).configured(events=TINY_TAIL).run() as running:
        yield running


def make_session(database_url: str, project_id: str, id: str) -> None:
    """One that has ended: its stream stays open, and nobody follows a container for it."""
    with closing(psycopg2.connect(database_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "insert into agent_sessions (project_id, id, user_id, agent_id, status)"
            " values (%s, %s, 'local', 'a', 'ended')",
            (project_id, id),
        )
        cursor.execute("insert into session_activity values (%s, %s, 0, now())", (project_id, id))


def payload(number: int, size: int) -> bytes:
    return json.dumps({"n": number, "x": "x" * size}).encode()


COMMON = sorted(FOR_EVERY_SESSION)
STEPS = st.one_of(
    st.tuples(st.just("append"), st.booleans(), st.integers(1, 8), st.sampled_from([10, 3000, 20_000])),
    st.tuples(st.just("burst"), st.booleans(), st.just(40), st.just(10_000)),
    st.tuples(st.just("common"), st.booleans(), st.just(1), st.integers(0, 1)),
    st.tuples(st.just("wake"), st.booleans(), st.just(0), st.just(0)),
    st.tuples(st.just("come"), st.booleans(), st.integers(0, 2), st.integers(0, 100)),
    st.tuples(st.just("leave"), st.booleans(), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("pause"), st.booleans(), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("let it run"), st.booleans(), st.just(0), st.just(0)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=3, max_size=25))
async def test_each_client_gets_the_log_from_its_start_in_order_whatever_happens(
    gateway: Gateway, database: Database, database_url: str, steps: Sequence[tuple[str, bool, int, int]]
) -> None:
    project = f"p-{uuid4()}"
    await gateway.app[PROJECTS].store.create("local", NewProject(id=project, container_url="http://127.0.0.1:1"))
    here, elsewhere = gateway.app[LOG].store, Log(database)
    epoch = (await here.head(LogId(project))).epoch
    base = f"{gateway.url}/api/projects/{project}/acp/events"
    clients: list[tuple[Client, str | None, int]] = []
    for session_id in SESSIONS:
        make_session(database_url, project, session_id)

    async with asyncio.timeout(60):
        for kind, flag, count, size in steps:
            log = here if flag else elsewhere
            match kind:
                case "append" | "burst":
                    new = [
                        NewEvent(type="session_update", data=payload(n, size), session_id=SESSIONS[n % 2])
                        for n in range(count)
                    ]
                    await log.append(LogId(project), new)
                case "common":
                    await log.append(LogId(project), [NewEvent(type=COMMON[size], data=b"{}")])
                case "wake":
                    gateway.app[STREAMS].tails.move(LogId(project), (await elsewhere.head(LogId(project))).cursor)
                case "come":
                    session = (None, *SESSIONS)[count]
                    start = min(size, (await here.head(LogId(project))).head)
                    url = base if session is None else f"{base}/{session}"
                    client = Client(url, flag, f"{epoch}-{start}")
                    clients.append((client, session, start))
                    client.reads.set()
                    client.come()
                case "leave" if clients:
                    client = clients[count % len(clients)][0]
                    await client.leave()
                    client.come()
                case "pause" if clients:
                    client = clients[count % len(clients)][0]
                    if flag:
                        client.reads.clear()
                    else:
                        client.reads.set()
                case "let it run":
                    await asyncio.sleep(0.02)
        events = await whole(elsewhere, project, epoch)
        for client, session, start in clients:
            client.reads.set()
            await client.reached(len(events))
            await client.leave()
            wanted = [
                Said(event.seq, event.type, event.envelope().decode())
                for event in events[start:]
                if session in (None, event.session_id) or (event.session_id is None and event.type in COMMON)
            ]
            assert client.got == wanted


async def whole(log: Log, project: str, epoch: int) -> list[Event]:
    events: list[Event] = []
    while batch := await log.read(LogId(project), Cursor(epoch, len(events))):
        events += batch
    return events
