"""Following containers: what they say is stored once, in order, and what is missing is said."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.agenthost.app import AgentHostConfig
from gateway.agenthost.app import build_app as build_agent_host
from gateway.config.schema import EventsConfig
from gateway.credentials.known import KnownSecrets
from gateway.ingest.mask import LARGE_EVENT
from gateway.server.run import bind, serving
from tests.db.things import ask
from tests.fakes.container import FakeContainer
from tests.fakes.relay import Relay
from tests.world import QUICK, Gateway, GatewayProcess, Project, data_of, text_of


@asynccontextmanager
async def agent_host_on(port: int, workspace: Path) -> AsyncIterator[int]:
    app = build_agent_host(AgentHostConfig(workspace=workspace, environment=dict(os.environ)))
    sock = bind("127.0.0.1", port, purpose="the test's agent host", option="")
    async with serving(app, sock, shutdown_timeout=1):
        yield sock.getsockname()[1]


async def test_a_turn_is_recorded_with_nobody_watching(project: Project) -> None:
    session = await project.create_session()
    await project.prompt(session, "stream 100")
    assert text_of(await project.all_events(session)) == "".join(f"tok{n} " for n in range(100))


async def test_a_stream_cut_in_the_middle_of_a_turn_is_resumed_exactly(gateway: Gateway, agent_host: str) -> None:
    async with Relay(agent_host) as relay:
        project = await gateway.register(relay.url)
        session = await project.create_session()
        async with project.events(session) as stream:
            await project.prompt(session, "stream 400\nslow 0.3\nstream 400\nslow 0.3\nstream 400", wait=None)
            for _ in range(6):
                await stream.until("session_update")
                relay.cut_streams()
            await stream.until("turn_ended")
        events = await project.all_events(session)
    tokens = [f"tok{n}" for n in range(400)]
    assert text_of(events).split() == [*tokens, "done", *tokens, "done", *tokens]
    assert [event for event in events if event.event == "gap"] == []


async def test_a_gateway_that_comes_later_records_what_the_agent_host_still_has(
    database_url: str, agent_host: str
) -> None:
    gateways = GatewayProcess(database_url, QUICK)
    async with gateways.run() as first:
        project = await first.register(agent_host)
        session = await project.create_session()
        await project.prompt(session, "stream 5\nslow 1\nstream 5", wait=None)
    async with gateways.run() as second:
        project = Project(second, "demo")
        async with project.events(session, query="?from=start") as stream:
            events = await stream.until("turn_ended")
    tokens = [f"tok{n}" for n in range(5)]
    assert text_of(events).split() == [*tokens, "done", *tokens]
    assert data_of(events[-1])["outcome"] == "completed"


async def test_one_of_two_gateways_follows_and_the_other_takes_over_at_once(database_url: str, agent_host: str) -> None:
    gateways = GatewayProcess(database_url, attrs.evolve(QUICK, events=EventsConfig(lease=30)))
    async with gateways.run() as second:
        async with gateways.run() as first:
            project = await first.register(agent_host)
            session = await project.create_session()
            await project.prompt(session, "stream 10")
        project = Project(second, "demo")
        # The lease had half a minute to go: it was given up, not run out.
        async with asyncio.timeout(10):
            await project.prompt(session, "stream 10")
    async with gateways.run() as third:
        events = await Project(third, "demo").all_events(session)
    assert text_of(events) == "".join(f"tok{n} " for n in range(10)) * 2


async def test_an_agent_host_that_restarts_ends_the_turn_and_the_session_goes_on(
    gateway: Gateway, tmp_path: Path
) -> None:
    async with agent_host_on(0, tmp_path) as port:
        project = await gateway.register(f"http://127.0.0.1:{port}")
        session = await project.create_session()
        async with project.events(session) as stream:
            started = await project.prompt(session, "stream 3\nslow 60", wait=None)
            await stream.until("session_update")
    async with agent_host_on(port, tmp_path):
        async with project.events(session, last_event_id=started["cursor"]) as stream:
            ended = (await stream.until("turn_ended"))[-1]
        assert data_of(ended)["outcome"] == "failed"
        assert (await project.prompt(session, "say here again"))["turn"]["state"] == "completed"
        events = await project.all_events(session)
    gaps = [data_of(event) for event in events if event.event == "gap"]
    assert [gap["reason"] for gap in gaps] == ["container_restarted"]
    assert "session_restored" in [event.event for event in events]
    assert text_of(events).endswith("here again")


async def test_a_break_of_a_stream_without_ids_is_a_gap(gateway: Gateway, base_container: FakeContainer) -> None:
    project = await gateway.register(base_container.url)
    session = await project.create_session()
    await project.prompt(session, "say before")
    base_container.drop_streams()
    await base_container.wait_for_streams()
    await project.prompt(session, "say after")
    events = await project.all_events(session)
    kinds = [event.event for event in events]
    assert kinds.count("gap") == 1
    assert kinds.index("turn_ended") < kinds.index("gap") < kinds.index("turn_started", kinds.index("gap"))
    assert text_of(events) == "beforeafter"


async def test_a_project_that_is_told_the_address_it_has_goes_on_being_followed(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url)
    session = await project.create_session()
    same = {"acpUrl": base_container.url, "containerUrl": "http://127.0.0.1:4096"}
    assert (await gateway.call("PATCH", "/api/projects/demo", same)).status == 200
    await project.prompt(session, "say on")
    assert "gap" not in [event.event for event in await project.all_events(session)]
    async with FakeContainer() as other:
        assert (await gateway.call("PATCH", "/api/projects/demo", {"acpUrl": other.url})).status == 200
        await other.wait_for_streams()


async def test_a_stream_that_ends_whenever_it_is_opened_does_not_fill_the_log_with_gaps(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url)
    session = await project.create_session()
    for _ in range(150):
        base_container.drop_streams()
        await asyncio.sleep(0.02)
    kinds = [event.event for event in await project.all_events(session)]
    assert 2 <= kinds.count("gap") < 10


async def test_a_container_with_a_turn_under_way_is_asked_again_soon_though_nobody_watches(
    gateway: Gateway, base_container: FakeContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.follow.follower.MIN_BACKOFF_SECONDS", 200.0)
    monkeypatch.setattr("gateway.follow.follower.PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr("gateway.follow.followers.ASKED_BACKOFF_SECONDS", 0.2)
    monkeypatch.setattr("gateway.follow.followers.THOROUGH_SECONDS", 0.2)
    project = await gateway.register(base_container.url)
    session = await project.create_session()
    await project.prompt(session, "say before\nslow 60", wait=None)
    await base_container.wait_for_streams()
    # What its caller is waiting for is over; the turn is not.
    await asyncio.sleep(1)
    base_container.drop_streams()
    await base_container.wait_for_streams()


async def test_real_traffic_of_a_base_container_is_recorded_whole(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url)
    await project.create_session()
    async with project.events() as stream:
        base_container.replay_opencode_traffic(next(iter(base_container.sessions)))
        updates = []
        while len(updates) < 37:
            updates += [event for event in await stream.until("session_update") if event.event == "session_update"]
    assert text_of(updates).endswith("tok18 tok19 ")


async def test_what_no_one_can_read_is_kept_or_counted_and_the_stream_lives(
    database_url: str, base_container: FakeContainer
) -> None:
    config = attrs.evolve(QUICK, events=attrs.evolve(QUICK.events, max_event_bytes=50_000))
    async with GatewayProcess(database_url, config).run() as gateway:
        project = await gateway.register(base_container.url)
        session = await project.create_session()
        async with project.events() as stream:
            base_container.emit_bytes(b"event: session_update\ndata: {not json\n\n")
            kept = (await stream.until("container_event"))[-1]
            assert data_of(kept) == {"event": "session_update", "data": "{not json"}
            base_container.emit_bytes(b"event: brand_new\ndata: [1,2]\n\n")
            assert data_of((await stream.until("container_event"))[-1])["data"] == "[1,2]"
            base_container.emit_bytes(b"event: session_update\ndata: " + b"x" * 200_000 + b"\n\n")
            assert data_of((await stream.until("gap"))[-1])["reason"] == "oversized"
            base_container.emit_bytes(b'event: error\ndata: {"type":"error","data":{"m":"\xff\x00"}}\n\n')
            await stream.until("container_event")
        assert (await project.prompt(session, "say alive"))["turn"]["state"] == "completed"


MEMBERS = st.sampled_from(
    [
        "sessionId",
        "agentId",
        "data",
        "update",
        "sessionUpdate",
        "content",
        "toolCallId",
        "requestId",
        "turnId",
        "stopReason",
        "error",
        "options",
        "toolCall",
        "outcome",
        "optionId",
        "status",
        "timestamp",
        "prompt",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["\ud800", "\0", "cancelled"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4),
    max_leaves=12,
)
KINDS = [
    "session_update",
    "session_end_turn",
    "permission_request",
    "permission_resolved",
    "agent_status",
    "error",
    "a_b",
    "",
    "ä\0",
]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(st.tuples(st.sampled_from(KINDS), JSON, st.booleans()), min_size=1, max_size=30))
async def test_whatever_a_container_says_its_stream_lives(
    database_url: str, base_container: FakeContainer, events: list[tuple[str, object, bool]]
) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(base_container.url, id=f"p-{uuid4()}")
        session = await project.create_session()
        own = list(base_container.sessions)[-1]
        async with project.events() as stream:
            for kind, value, whole in events:
                envelope = {"type": kind, "sessionId": own, "agentId": "demo", "data": value} if whole else value
                line = json.dumps(envelope, ensure_ascii=True)
                base_container.emit_bytes(f"event: {kind}\ndata: {line}\n\n".encode("utf-8", "replace"))
            # All of it is recorded before the turn begins: none of it is the turn's end.
            base_container.emit("that_was_all", None)
            while data_of((await stream.until("container_event"))[-1])["event"] != "that_was_all":
                pass
        assert (await project.prompt(session, "say alive"))["turn"]["state"] == "completed"
        assert (await project.messages(session))[-1]["content"][-1]["text"].endswith("alive")


class BrokenMasker:
    def masking(self, raw: bytes) -> NoReturn:
        raise RecursionError("a fault of ours")


async def test_an_event_whose_secrets_cannot_be_taken_out_is_a_gap(
    gateway: Gateway, base_container: FakeContainer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = await gateway.register(base_container.url)
    session = await project.create_session()
    async with project.events() as stream:
        monkeypatch.setattr(KnownSecrets, "masker", lambda *_: BrokenMasker())
        for padding in ("", "x" * LARGE_EVENT):
            base_container.emit_bytes(b'event: new\ndata: {"key":"not-for-the-log","p":"%b"}\n\n' % padding.encode())
            assert data_of((await stream.until("gap"))[-1])["reason"] == "not_storable"
        monkeypatch.undo()
        assert (await project.prompt(session, "say alive"))["turn"]["state"] == "completed"
    assert ask(database_url, "select count(*) from events where position('not-for' in payload) > 0") == [(0,)]
