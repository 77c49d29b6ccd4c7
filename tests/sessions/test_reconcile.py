"""What a container without ids can still tell after its stream broke."""

import json
from typing import Any

from gateway.wire.sse import SSEEvent
from tests.fakes.container import FakeContainer
from tests.world import Gateway, Project, data_of


async def told(project: Project, until: str, **members: Any) -> list[SSEEvent]:
    """All that the log has, up to the first event of this type with these members of ``data``."""
    events: list[SSEEvent] = []
    async with project.events(query="?from=start") as stream:
        while not (events and events[-1].event == until and members.items() <= data_of(events[-1]).items()):
            events.append(await stream.next())
    return events


async def test_an_agent_that_stopped_during_a_break_is_told(gateway: Gateway, base_container: FakeContainer) -> None:
    project = await gateway.register(base_container.url)
    await project.create_session()
    await project.call("GET", "/agents")
    base_container.agents["demo"].status = "stopped"
    base_container.drop_streams()
    events = await told(project, "agent_status", status="stopped")
    assert data_of(events[-1]) == {"agentId": "demo", "status": "stopped", "reconciled": True}
    assert "gap" in [event.event for event in events]
    listed = (await project.call("GET", "/agents")).json["agents"]
    assert [agent["status"] for agent in listed if agent["id"] == "demo"] == ["stopped"]


async def test_a_turn_of_a_session_that_was_lost_during_a_break_ends_truly_and_the_session_goes_on(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url)
    session, other = await project.create_session(), await project.create_session()
    lost = next(iter(base_container.sessions))
    turn = await project.prompt(session, "slow 60", wait=None)
    going_on = await project.prompt(other, "say on\nslow 60", wait=None)
    await told(project, "session_update")
    base_container.forget(lost)
    base_container.drop_streams()
    events = await told(project, "turn_ended")
    assert json.loads(events[-1].data)["turnId"] == turn["turnId"]
    assert (data_of(events[-1])["outcome"], data_of(events[-1])["failure"]) == ("failed", "session_lost")
    (said,) = [event for event in events if event.event == "container_event"]
    assert data_of(said) == {"event": "session_lost", "data": {"containerSessionId": lost}}
    assert json.loads(said.data)["sessionId"] == session
    assert (await project.prompt(session, "say back"))["turn"]["state"] == "completed"
    running = await project.call("GET", f"/session/{other}/turns/{going_on['turnId']}")
    assert running.json["state"] == "running"
    await project.call("POST", f"/session/{other}/cancel")


async def test_nothing_is_told_twice_however_often_the_stream_breaks(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url)
    session = await project.create_session()
    await project.call("GET", "/agents")
    base_container.forget(next(iter(base_container.sessions)))
    base_container.agents["demo"].status = "stopped"
    for _ in range(3):
        base_container.drop_streams()
        await base_container.wait_for_streams()
    assert (await project.prompt(session, "say back"))["turn"]["state"] == "completed"
    events = await told(project, "turn_ended")
    marked = [event for event in events if event.event == "agent_status" and data_of(event).get("reconciled")]
    assert len(marked) == 1
    assert [data_of(event)["event"] for event in events if event.event == "container_event"] == ["session_lost"]


async def test_a_container_that_tells_nothing_of_itself_is_followed_all_the_same(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url)
    session = await project.create_session()
    for path in ("/agents", "/sessions"):
        base_container.fail_next(path)
    base_container.drop_streams()
    await base_container.wait_for_streams()
    assert (await project.prompt(session, "say on"))["turn"]["state"] == "completed"


async def test_an_agent_that_stopped_and_started_again_is_told_both_times(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url)
    await project.create_session()
    base_container.agents["demo"].status = "stopped"
    base_container.drop_streams()
    await told(project, "agent_status", status="stopped")
    await base_container.wait_for_streams()
    await project.call("POST", "/agents/demo/spawn", {})
    async with project.events(query="?from=start") as stream:
        statuses: list[str] = []
        while statuses[-2:] != ["stopped", "running"]:
            statuses.append(data_of((await stream.until("agent_status"))[-1])["status"])
    assert statuses == ["running", "stopped", "running"]
