"""Sessions, prompts and history, against an agent host and against a container of the base contract alike."""

import asyncio
from typing import Any

import pytest

from gateway.container.values import ContainerFacts
from gateway.db.pool import Database
from gateway.log.store import StaleFence
from gateway.turns.room import TURNS
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import until
from tests.fakes.relay import Relay
from tests.handlers.expected import problem
from tests.world import Gateway, Project, data_of, text_of


async def test_a_prompt_is_answered_streamed_and_kept(project: Project) -> None:
    session = await project.create_session(title="first")
    done = await project.prompt(session, "think hm\nstream 5")
    assert done["turn"]["state"] == "completed"

    events = await project.all_events(session)
    kinds = [event.event for event in events]
    assert kinds[:2] == ["session_created", "turn_started"]
    assert kinds[-1] == "turn_ended"
    assert text_of(events) == "tok0 tok1 tok2 tok3 tok4 "
    messages = await project.messages(session)
    assert [message["role"] for message in messages] == ["user", "thought", "assistant"]
    assert messages[2]["content"] == [{"type": "text", "text": text_of(events)}]


async def test_two_thousand_chunks_come_in_order_and_the_message_is_their_sum(project: Project) -> None:
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "stream 2000", wait=None)
        events = await stream.until("turn_ended")
    expected = "".join(f"tok{n} " for n in range(2000))
    assert text_of(events) == expected
    assert [int(event.id.split("-")[1]) for event in events] == list(
        range(int(events[0].id.split("-")[1]), int(events[-1].id.split("-")[1]) + 1)
    )
    assert (await project.messages(session, "?order=desc&limit=1"))[0]["content"][0]["text"] == expected


async def test_a_stream_resumes_exactly_after_its_last_event(project: Project) -> None:
    session = await project.create_session()
    await project.prompt(session, "stream 50")
    events = await project.all_events(session)
    for cut in (0, 1, len(events) // 2, len(events) - 2):
        async with project.events(session, last_event_id=events[cut].id) as stream:
            rest = [await stream.next() for _ in events[cut + 1 :]]
        assert [(event.id, event.data) for event in rest] == [(event.id, event.data) for event in events[cut + 1 :]]


async def test_a_second_prompt_is_refused_while_a_turn_runs(project: Project) -> None:
    session = await project.create_session()
    first = await project.prompt(session, "slow 20", wait=None)
    second = await project.call("POST", f"/session/{session}/prompt", {"prompt": "say no"})
    assert (second.status, second.json["code"]) == (409, "session_busy")
    assert second.json["turnId"] == first["turnId"]
    await project.call("POST", f"/session/{session}/cancel")


async def test_only_one_of_many_prompts_at_once_begins(project: Project) -> None:
    session = await project.create_session()
    body = {"prompt": "slow 20"}
    answers = await asyncio.gather(*(project.call("POST", f"/session/{session}/prompt", body) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [202] + [409] * 7
    await project.call("POST", f"/session/{session}/cancel")


async def test_a_cancelled_turn_ends_as_cancelled(project: Project) -> None:
    session = await project.create_session()
    async with project.events(session) as stream:
        started = await project.prompt(session, "stream 3\nslow 30", wait=None)
        await stream.until("session_update")
        cancel = await project.call("POST", f"/session/{session}/cancel")
        assert (cancel.status, cancel.json) == (202, {"turnId": started["turnId"]})
        ended = (await stream.until("turn_ended"))[-1]
    assert data_of(ended)["outcome"] == "cancelled"
    assert (await project.prompt(session, "say again"))["turn"]["state"] == "completed"


async def test_a_failing_turn_ends_as_failed_and_the_next_one_works(project: Project) -> None:
    session = await project.create_session()
    failed = (await project.prompt(session, "fail out of luck"))["turn"]
    assert failed["state"] == "failed"
    assert "out of luck" in failed["message"]
    assert (await project.prompt(session, "say better"))["turn"]["state"] == "completed"


async def test_an_agent_that_dies_mid_turn_fails_the_turn_and_the_next_prompt_works(project: Project) -> None:
    session = await project.create_session()
    assert (await project.prompt(session, "stream 3\ncrash"))["turn"]["state"] == "failed"
    again = await project.prompt(session, "say back")
    assert again["turn"]["state"] == "completed"


async def test_of_two_prompts_for_a_lost_session_one_makes_the_new_one(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url)
    session = await project.create_session()
    for known in list(base_container.sessions):
        base_container.forget(known)
    body, headers = {"prompt": "stream 3"}, {"Prefer": "wait=20"}
    path = f"/session/{session}/prompt"
    answers = await asyncio.gather(*(project.call("POST", path, body, headers=headers) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
    events = await project.all_events(session)
    assert [event.event for event in events].count("session_restored") == 1
    assert text_of(events) == "tok0 tok1 tok2 "
    assert len(base_container.sessions) == 1


async def test_a_session_that_ends_while_a_prompt_comes_in_is_left_with_no_turn(project: Project) -> None:
    for _ in range(5):
        session = await project.create_session()
        prompt = project.call("POST", f"/session/{session}/prompt", {"prompt": "slow 30"})
        sent, ended = await asyncio.gather(prompt, project.call("DELETE", f"/session/{session}"))
        assert sent.status in (202, 409)
        assert ended.json["status"] == "ended"
        shown = (await project.call("GET", f"/session/{session}")).json
        assert (shown["status"], shown["turn"]) == ("ended", None)
        kinds = [event.event for event in await project.all_events(session)]
        assert kinds.count("turn_started") == kinds.count("turn_ended") == (sent.status == 202)
        assert kinds[-1] == "session_ended"


async def test_after_a_change_of_address_the_new_container_is_followed(gateway: Gateway, agent_host: str) -> None:
    async with FakeContainer() as old:
        project = await gateway.register(old.url)
        session = await project.create_session()
        await project.prompt(session, "say old")
        changed = await gateway.call("PATCH", "/api/projects/demo", {"acpUrl": agent_host})
        assert changed.status == 200
        async with asyncio.timeout(15):
            assert (await project.prompt(session, "say new"))["turn"]["state"] == "completed"
    assert text_of(await project.all_events(session)) == "oldnew"


async def test_a_prompt_whose_answer_is_lost_is_run_once_and_its_turn_ends_truly(
    gateway: Gateway, agent_host: str
) -> None:
    async with Relay(agent_host) as relay:
        project = await gateway.register(relay.url)
        session = await project.create_session()
        relay.lose_answer_to = b"/prompt HTTP/1.1"
        done = await project.prompt(session, "stream 3")
        assert relay.lose_answer_to is None
    assert (done["turn"]["state"], done["turn"]["stopReason"]) == ("completed", "end_turn")
    assert text_of(await project.all_events(session)) == "tok0 tok1 tok2 "


async def test_how_a_turn_goes_and_ended_can_be_asked_whenever_one_likes(project: Project) -> None:
    session = await project.create_session()
    async with project.events(session) as stream:
        turn = (await project.prompt(session, "slow 30", wait=None))["turnId"]
        running = await project.call("GET", f"/session/{session}/turns/{turn}")
        assert (running.status, running.json["state"], running.json["endedAt"]) == (200, "running", None)
        await project.call("POST", f"/session/{session}/cancel")
        await stream.until("turn_ended")
    ended = (await project.call("GET", f"/session/{session}/turns/{turn}")).json
    assert (ended["id"], ended["state"], ended["startedAt"]) == (turn, "cancelled", running.json["startedAt"])
    waited = (await project.prompt(session, "say on"))["turn"]
    assert (await project.call("GET", f"/session/{session}/turns/{waited['id']}")).json == waited


async def test_a_turn_of_another_session_is_404(base_project: Project) -> None:
    mine, other = await base_project.create_session(), await base_project.create_session()
    turn = (await base_project.prompt(other, "say mine"))["turnId"]
    problem(await base_project.call("GET", f"/session/{mine}/turns/{turn}"), 404, "turn_not_found", says=turn)


async def test_a_turn_remembers_which_boot_of_its_container_was_given_it(project: Project, database: Database) -> None:
    session = await project.create_session()
    turn = (await project.prompt(session, "say hello"))["turnId"]
    boot_id = (await project.call("GET", "/info")).json["data"].get("bootId")
    row = await database.fetch_one("get_turn", project_id=project.id, id=turn)
    assert row is not None
    assert row["container_boot_id"] == boot_id
    assert row["gateway_id"].startswith("gateway-")


async def test_a_gateway_that_follows_no_more_ends_no_turn_by_the_boot_that_it_knew(
    project: Project, database: Database
) -> None:
    session = await project.create_session()
    turn = (await project.prompt(session, "slow 30", wait=None))["turnId"]
    turns = project.gateway.app[TURNS]

    async def is_brought() -> bool:
        row = await database.fetch_one("get_turn", project_id=project.id, id=turn)
        assert row is not None
        # A container without boots answers at the turn's end alone.
        return row["delivered_at"] is not None or row["container_boot_id"] is None

    await until(is_brought)
    with pytest.raises(StaleFence):
        await turns.reconcile(project.id, ContainerFacts(boot_id="older", capabilities=frozenset()), 0)
    assert (await project.call("GET", f"/session/{session}/turns/{turn}")).json["state"] == "running"


async def test_a_turn_of_another_boot_ends_as_soon_as_the_new_one_is_followed(
    gateway: Gateway, agent_host: str, base_container: FakeContainer
) -> None:
    project = await gateway.register(base_container.url, defaultAgentId="demo")
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "say here\nslow 60", wait=None)
        await stream.until("session_update")
        await gateway.call("PATCH", "/api/projects/demo", {"acpUrl": agent_host})
        ended = data_of((await stream.until("turn_ended"))[-1])
    assert (ended["outcome"], ended["failure"]) == ("failed", "container_restarted")


async def test_who_waits_for_a_turn_that_says_much_asks_the_database_now_and_then(
    base_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    fetch_one = Database.fetch_one

    async def counted(database: Database, query: str, **params: Any) -> Any:
        if query == "get_turn":
            asked.append(asyncio.get_running_loop().time())
        return await fetch_one(database, query, **params)

    monkeypatch.setattr(Database, "fetch_one", counted)
    session = await base_project.create_session()
    done = await base_project.prompt(session, "\n".join(["stream 5", "slow 0.01"] * 100))
    assert done["turn"]["state"] == "completed"
    # Some more at its beginning and its end.
    assert len(asked) < 15 + 10 * (asked[-1] - asked[0])
