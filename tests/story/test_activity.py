"""Sessions are listed by their last activity, and ``updatedAt`` is its time."""

import json
from typing import Any

from tests.agenthost.hosts import OPTIONS
from tests.story.conftest import Session
from tests.world import Project, data_of

ASKS = [
    ["call", "session/request_permission", {"toolCall": {"toolCallId": "c", "title": "Go on?"}, "options": OPTIONS}]
]


async def sessions(project: Project, number: int) -> list[Session]:
    return [Session(project, await project.create_session(agentId="scripted")) for _ in range(number)]


async def page(project: Project, query: str = "") -> Any:
    answer = await project.call("GET", f"/session{query}")
    assert answer.status == 200, answer.body
    return answer.json


async def listed(project: Project) -> list[str]:
    return [one["id"] for one in (await page(project))["sessions"]]


async def test_whatever_happens_in_a_session_makes_it_the_first(project: Project) -> None:
    first, second, third = await sessions(project, 3)
    assert await listed(project) == [third.id, second.id, first.id]
    await first.events_of(["say", "hello", 1])
    assert await listed(project) == [first.id, third.id, second.id]
    await project.call("PATCH", f"/session/{second.id}", {"title": "renamed"})
    assert await listed(project) == [second.id, first.id, third.id]
    async with project.events(third.id) as stream:
        await project.prompt(third.id, json.dumps(ASKS), wait=None)
        request = data_of((await stream.until("permission_request"))[-1])["permissionId"]
        await first.events_of(["say", "hello", 1])
        assert await listed(project) == [first.id, third.id, second.id]
        await project.call("POST", f"/permission/{request}", {"optionId": "yes"})
        await stream.until("turn_ended")
    assert await listed(project) == [third.id, first.id, second.id]


async def test_the_time_of_an_update_is_that_of_the_last_event(session: Session) -> None:
    before = (await session.project.call("GET", f"/session/{session.id}")).json
    events = await session.events_of(["say", "hello", 1])
    after = (await session.project.call("GET", f"/session/{session.id}")).json
    assert before["createdAt"] <= before["updatedAt"] < json.loads(events[-1].data)["at"] <= after["updatedAt"]
    # To read is no activity.
    await session.project.messages(session.id)
    assert (await session.project.call("GET", f"/session/{session.id}")).json == after


async def test_while_sessions_become_active_no_other_is_shown_twice_or_left_out(project: Project) -> None:
    made = [one.id for one in await sessions(project, 7)][::-1]
    begun = await page(project, "?limit=2")
    seen = [one["id"] for one in begun["sessions"]]
    # The last one of the page before, by whose place the next page begins, and one that is still to come.
    for moved in (made[1], made[5]):
        await project.call("PATCH", f"/session/{moved}", {"title": "active"})
    while begun["next"] is not None:
        begun = await page(project, f"?limit=2&after={begun['next']}")
        seen += [one["id"] for one in begun["sessions"]]
    assert seen == [one for one in made if one != made[5]]
    assert (await listed(project))[:2] == [made[5], made[1]]
