"""Appends whose connections die at any instant, and fences: each event is stored once, with what comes true with it."""

import asyncio
import json
import random
from uuid import uuid4

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.db.pool import Database
from gateway.errors import GatewayError
from gateway.follow.lease import Leases
from gateway.log.ids import LogId
from gateway.log.store import Effect, Log, NewEvent, StaleFence
from gateway.wire.events import Cursor, Event
from tests.db.things import ask
from tests.log.appending import make_project, said, whole

KILL = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and query ~* '^(commit|begin|select \\* from append)'
"""


async def persistently(log: Log, project: str, batch: list[NewEvent], **options: object) -> None:
    while True:
        try:
            await log.append(LogId(project), batch, **options)  # type: ignore[arg-type]  # as append takes them
            return
        except StaleFence:
            raise
        except GatewayError:
            await asyncio.sleep(0.01)


async def test_backends_killed_at_any_instant_leave_each_event_and_its_effect_once(
    database_url: str, database: Database
) -> None:
    """The effect cannot come true twice: the second session of an id is refused, and the append with it."""
    await make_project(database)
    log = Log(database)
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201
    chance = random.Random(seed)
    done = asyncio.Event()

    async def kill() -> None:
        while not done.is_set():
            await asyncio.sleep(chance.uniform(0.0, 0.03))
            await asyncio.to_thread(ask, database_url, KILL)

    def with_effect(writer: int, number: int) -> NewEvent:
        event = said(f"{writer}-{number}", number)
        return msgspec.structs.replace(event, effects=(make_session(f"{writer}-{number}"),))

    async def write(writer: int) -> None:
        for first in range(1, 61, 3):
            batch = [with_effect(writer, number) for number in range(first, first + 3)]
            await persistently(log, "p", batch, source=f"boot-{writer}")

    killing = asyncio.create_task(kill())
    async with asyncio.timeout(60):
        await asyncio.gather(*(write(writer) for writer in range(4)))
    done.set()
    await killing
    events = await whole(log, "p")
    assert [event.seq for event in events] == list(range(1, 4 * 60 + 1)), f"seed {seed}"
    for writer in range(4):
        own = [event.data for event in events if event.data.startswith(b'"%d-' % writer)]
        assert own == [b'"%d-%d"' % (writer, number) for number in range(1, 61)], f"seed {seed}"
    [(stored,)] = ask(database_url, "select count(*) from agent_sessions")
    assert stored == 4 * 60, f"seed {seed}"


def make_session(id: str) -> Effect:
    session = {
        "project_id": "p",
        "id": id,
        "user_id": "local",
        "agent_id": "demo",
        "title": None,
        "credential_user_id": None,
    }
    return Effect("insert_session", session | {"working_directory": None, "has_mcp_servers": False})


STEP = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 2), st.integers(1, 6), st.booleans()),
    st.tuples(st.just("skip"), st.integers(0, 2), st.integers(1, 40), st.booleans()),
    st.tuples(st.just("take over"), st.integers(0, 2), st.just(0), st.booleans()),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, min_size=1, max_size=14))
async def test_whoever_writes_under_whichever_fence_the_log_is_whole_and_a_stale_fence_writes_nothing(
    database: Database, steps: list[tuple[str, int, int, bool]]
) -> None:
    """Three gateways follow one numbered container in turns; each resumes at the mark, some repeat what was stored."""
    project = f"p-{uuid4()}"
    await make_project(database, project)
    log = Log(database)
    leases = [Leases(database, holder=f"g{n}", seconds=-1) for n in range(3)]
    fences = [0, 0, 0]
    [lease] = await leases[0].acquire([project])
    fences[0] = lease.fence
    top = 0
    skipped: set[int] = set()
    payloads: dict[int, bytes] = {}
    for kind, gateway, count, repeats in steps:
        if kind == "take over":
            [lease] = await leases[gateway].acquire([project])
            fences[gateway] = lease.fence
            continue
        if kind == "skip":
            skipped.update(range(top + 1, top + count + 1))
            top += count
            count = 1
        for number in range(top + 1, top + count + 1):
            payloads[number] = json.dumps({"n": number, "x": "\0\ud800" * (number % 3)}).encode()
        begin = max(1, top - 2) if repeats else top + 1
        numbers = [number for number in range(begin, top + count + 1) if number not in skipped]
        batch = [NewEvent(type="session_update", data=payloads[number], number=number) for number in numbers]
        before = await log.head(LogId(project))
        try:
            for _ in range(2 if repeats else 1):
                await log.append(LogId(project), batch, source="boot", fence=fences[gateway])
        except StaleFence:
            assert fences[gateway] != max(fences)
            assert await log.head(LogId(project)) == before
            skipped.update(range(top + 1, top + count + 1))
        else:
            assert fences[gateway] == max(fences)
        top += count
    events = await whole_of(log, project)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    covered: list[int] = []
    for event in events:
        value = json.loads(event.data)
        if event.type == "gap":
            assert value["count"] == value["to"] - value["from"] + 1
            covered += range(value["from"], value["to"] + 1)
        else:
            assert event.data == payloads[value["n"]]
            covered.append(value["n"])
    assert covered == list(range(1, await log.mark(LogId(project), "boot") + 1))


async def whole_of(log: Log, project: str) -> list[Event]:
    epoch = (await log.head(LogId(project))).epoch
    events: list[Event] = []
    while batch := await log.read(LogId(project), Cursor(epoch, events[-1].seq if events else 0)):
        events += batch
    return events
