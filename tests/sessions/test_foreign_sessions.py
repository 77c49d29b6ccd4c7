"""A container that several projects have: each log has what its own sessions say, and nothing of the others'."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import attrs
import pytest

from gateway.log.ids import LogId
from gateway.log.room import LOG
from tests.agenthost.hosts import chunk
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually, until
from tests.fakes.numbered import NumberedContainer
from tests.log.recording import until_recorded, updates
from tests.sessions.injecting import ANNS, BOBS, Hosts, create, run, session_of, store, ways
from tests.world import PROXIED, Gateway, GatewayProcess, Project

SHARED = attrs.evolve(PROXIED, containers=attrs.evolve(PROXIED.containers, shared=True))


@pytest.fixture
async def gateway(database_url: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with GatewayProcess(database_url, SHARED).configured(credentials=ways(tmp_path)).run() as running:
        yield running


@pytest.fixture(params=["agent-host", "base-contract"])
async def both(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path, base_container: FakeContainer
) -> AsyncIterator[tuple[Project, Project]]:
    """Ann's project and Bob's in front of one container."""
    async with GatewayProcess(database_url, SHARED).run() as gateway, Hosts(tmp_path).run() as host:
        url = host if request.param == "agent-host" else base_container.url
        hers = await gateway.as_user("ann").register(url, "hers")
        yield hers, await gateway.as_user("bob").register(url, "his")


async def everything(project: Project, last: str) -> str:
    """All that the project's log holds, up to the end of this session's turn."""
    async with project.events(query="?from=start") as stream:
        events = await stream.until("turn_ended")
        while json.loads(events[-1].data)["sessionId"] != last:
            events += await stream.until("turn_ended")
    return "\n".join(event.data for event in events)


async def test_each_log_has_its_own_sessions_and_no_others(both: tuple[Project, Project]) -> None:
    hers, his = both
    agent = "free" if (await hers.call("GET", "/agents/free/status")).status == 200 else "demo"
    one, other = [await session_of(project, user, agent) for project, user in ((hers, "ann"), (his, "bob"))]
    said = {hers: "anns-words", his: "bobs-words"}
    for project, session in ((hers, one), (his, other), (hers, one)):
        prompt = json.dumps([chunk(said[project])]) if agent == "free" else f"say {said[project]}"
        assert (await project.prompt(session, prompt))["turn"]["state"] == "completed"
    for project, session, foreign in ((hers, one, his), (his, other, hers)):
        log = await everything(project, session)
        assert said[project] in log
        assert said[foreign] not in log
        assert "container_event" not in log
        assert '"gap"' not in log
        listed = (await project.call("GET", "/sessions")).json["data"]["sessions"]
        assert len(listed) == 1


async def test_the_containers_list_of_sessions_is_read_in_one_spelling_alone(both: tuple[Project, Project]) -> None:
    hers, _ = both
    for method, path in (
        ("POST", "/sessions"),
        ("GET", "/sessions/"),
        ("GET", "/Sessions"),
        ("GET", "//sessions"),
        ("GET", "/Se%73sions"),
        ("GET", "/x/../sessions"),
        ("GET", "/sessions/anything"),
    ):
        refused = await hers.call(method, path)
        assert (refused.status, refused.json["code"]) == (403, "forbidden"), path


async def test_what_is_asked_in_a_foreign_session_waits_for_nobody_here(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.as_user("ann").register(base_container.url, defaultAgentId="demo")
    session = await project.create_session()
    [own] = base_container.sessions
    foreign = ("of-somebody-else", 5, ["x"], {"id": own}, "a\0b", "\ud800", "x" * 5000)
    for session_id in foreign:
        for type, data in (
            ("session_update", {"update": {"sessionUpdate": "agent_message_chunk", "content": {"text": "canary"}}}),
            ("permission_request", {"requestId": "r", "toolCall": {"title": "canary"}, "options": []}),
            ("permission_resolved", {"requestId": "r", "outcome": {"optionId": "canary"}}),
            ("session_end_turn", {"stopReason": "canary"}),
            ("session_restored", {"how": "canary", "acpSessionId": "canary"}),
            ("something_new", {"what": "canary"}),
        ):
            # A container may have no text there, and any text as its agent's id.
            for agent_id in ("demo", "a\0b"):
                base_container.emit(type, data, session_id=cast("str", session_id), agent_id=agent_id)
    base_container.emit("something_new", {"what": "of no session"})
    assert (await project.prompt(session, "say hello"))["turn"]["state"] == "completed"
    log = await everything(project, session)
    assert "canary" not in log
    # What is of no session at all is the container's own.
    assert "of no session" in log
    assert (await project.call("GET", "/permission")).json["permissions"] == []


async def test_a_refused_credential_is_told_where_it_was_used(gateway: Gateway, tmp_path: Path) -> None:
    async with Hosts(tmp_path).run() as url:
        hers = await gateway.as_user("ann").register(url, "hers")
        his = await gateway.as_user("bob").register(url, "his")
        await store(gateway, "ann", ANNS)
        await store(gateway, "bob", BOBS)
        session = await session_of(hers, "ann")
        await create(his, "bob")
        refuse = json.dumps([{"error": {"code": -32000, "message": "Authentication required"}}])
        await hers.call("POST", f"/session/{session}/prompt", {"prompt": refuse}, headers={"Prefer": "wait=10"})
        assert (await run(his, "bob", await session_of(his, "bob"), chunk("x")))["state"] == "completed"
        seen = [await all_types(project) for project in (hers, his)]
    assert "auth_required" not in seen[1]


async def all_types(project: Project) -> list[str]:
    async with project.events(query="?from=start") as stream:
        await project.create_session(agentId="free")
        return [event.event for event in await stream.until("session_created") + await stream.until("session_created")]


async def test_what_numbered_foreign_events_take_up_is_neither_stored_nor_missing(
    database_url: str,
) -> None:
    async with NumberedContainer() as container:
        async with GatewayProcess(database_url, SHARED).run() as gateway:
            project = await gateway.as_user("ann").register(container.url, defaultAgentId="demo")
            await project.create_session()
            ours = container.session
            for _ in range(3):
                container.session = ours
                container.emit(2)
                container.session = "foreign"
                container.emit(5)
            container.skip(4)
            container.emit(1)
            container.session = ours
            container.emit(1)
            events = await until_recorded(gateway, 7)
            assert updates(events) == [container.truth[number] for number in (1, 2, 8, 9, 15, 16, 27)]
            # A gap that lies before a foreign event is one all the same.
            [gap] = [json.loads(event.data) for event in events if event.type == "gap"]
            assert (gap["from"], gap["to"], gap["reason"]) == (22, 25, "skipped")
            container.session = "foreign"
            container.emit(50)
            log = gateway.app[LOG].store

            async def is_counted() -> bool:
                return await log.mark(LogId("demo"), container.boot) == container.number

            await until(is_counted)
        # Whoever follows next begins behind all of it.
        async with GatewayProcess(database_url, SHARED).run() as gateway:
            asked = len(container.asked)
            await eventually(lambda: len(container.asked) > asked)
            assert container.asked[-1] == f"{container.boot}-{container.number}"
