"""Calls that are sent again with their Idempotency-Key: one effect, one answer, on whichever gateway."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from gateway.config.schema import ServerConfig
from tests.db.relay import Relay
from tests.db.things import ask
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.handlers.expected import problem, rows
from tests.world import QUICK, Answer, Gateway, GatewayProcess, Project, data_of

KEY = "Idempotency-Key"


@pytest.fixture
async def other(database_url: str, gateway: Gateway) -> AsyncIterator[Gateway]:
    """Another gateway on the same database."""
    async with GatewayProcess(database_url, QUICK).run() as running:
        yield running


def same(first: Answer, second: Answer) -> bool:
    """Whether two answers are one, but for the requests' own ids and times of transport."""
    names = ("Location", "Content-Type")
    return (first.status, first.body, *map(first.headers.get, names)) == (
        second.status,
        second.body,
        *map(second.headers.get, names),
    )


def keyed(key: str) -> dict[str, Any]:
    return {"headers": {KEY: key}}


async def test_a_session_is_created_once_on_any_gateway(project: Project, other: Gateway, database_url: str) -> None:
    body = {"agentId": "demo", "title": "one"}
    first = await project.call("POST", "/session", body, **keyed("s1"))
    assert (first.status, first.headers["Location"]) == (201, f"{project.acp}/session/{first.json['id']}")
    await project.prompt(first.json["id"], "say hi")
    for gateway in (other, project.gateway):
        assert same(first, await Project(gateway, project.id).call("POST", "/session", body, **keyed("s1")))
    assert rows(database_url)["agent_sessions"] == 1
    assert (await project.call("POST", "/session", body, **keyed("s2"))).json["id"] != first.json["id"]


async def test_a_prompt_is_run_once_on_any_gateway(project: Project, other: Gateway) -> None:
    session = await project.create_session()
    first = await project.call("POST", f"/session/{session}/prompt", {"prompt": "say hi"}, **keyed("p1"))
    assert first.status == 202
    for gateway in (other, project.gateway, other):
        again = await Project(gateway, project.id).call(
            "POST", f"/session/{session}/prompt", {"prompt": "say hi"}, **keyed("p1")
        )
        assert same(first, again)
    waited = {KEY: "p1", "Prefer": "wait=30"}
    done = await project.call("POST", f"/session/{session}/prompt", {"prompt": "say hi"}, headers=waited)
    assert (done.status, done.json["turn"]["state"]) == (200, "completed")
    events = await project.all_events(session)
    assert [event.event for event in events].count("turn_started") == 1
    # The cursor is the place just before the turn's first event, for whoever asks again too.
    async with project.events(session, last_event_id=first.json["cursor"]) as stream:
        begun = await stream.next()
    assert (begun.event, json.loads(begun.data)["turnId"]) == ("turn_started", first.json["turnId"])


async def test_whoever_waits_with_the_same_key_waits_for_the_same_turn(project: Project, other: Gateway) -> None:
    session = await project.create_session()

    async def send(gateway: Gateway) -> Answer:
        headers = {KEY: "p1", "Prefer": "wait=30"}
        return await Project(gateway, project.id).call(
            "POST", f"/session/{session}/prompt", {"prompt": "slow 0.3"}, headers=headers
        )

    answers = await asyncio.gather(*(send(gateway) for gateway in (project.gateway, other) * 3))
    assert {one.status for one in answers} == {200}
    assert len({one.body for one in answers}) == 1
    assert answers[0].json["turn"]["state"] == "completed"
    assert same(answers[0], await send(other))


async def test_of_many_at_once_one_is_done_and_all_are_answered_alike(
    project: Project, other: Gateway, database_url: str
) -> None:
    async def create(gateway: Gateway) -> Answer:
        return await Project(gateway, project.id).call("POST", "/session", {"agentId": "demo"}, **keyed("many"))

    answers = await asyncio.gather(*(create(gateway) for gateway in (project.gateway, other) * 5))
    assert {one.status for one in answers} == {201}
    assert len({one.body for one in answers}) == 1
    assert rows(database_url)["agent_sessions"] == 1


async def test_an_agent_is_spawned_once(base_project: Project, base_container: FakeContainer, other: Gateway) -> None:
    body = {"env": {"SECRET": "canary-1f2e"}}
    path = "/agents/demo/spawn"
    first = await base_project.call("POST", path, body, **keyed("a1"))
    assert first.json["status"] == "running"
    await base_project.call("POST", "/agents/demo/stop")
    assert same(first, await Project(other, base_project.id).call("POST", path, body, **keyed("a1")))
    assert len(base_container.requests_to("POST", path)) == 1
    assert base_container.agents["demo"].status == "stopped"


async def test_what_is_kept_for_a_key_holds_no_secret(project: Project, database_url: str) -> None:
    canary = "canary-7d41"
    servers = [{"name": "m", "command": "true", "args": [], "env": [{"name": "T", "value": canary}]}]
    await project.call("POST", "/session", {"agentId": "demo", "mcpServers": servers}, **keyed("k1"))
    await project.call("POST", "/agents/demo/spawn", {"env": {"T": canary}}, **keyed("k2"))
    kept = ask(database_url, "select row_to_json(k)::text, convert_from(body, 'UTF8') from idempotency_keys k")
    assert len(kept) == 2
    assert canary not in str(kept)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/session", {"agentId": "demo", "title": "two"}),
        ("/session", {}),
        ("/agents/demo/spawn", {}),
        ("/session/SESSION/prompt", {"prompt": "say hi"}),
    ],
)
async def test_a_key_of_another_call_is_refused_and_nothing_is_done(
    base_project: Project, database_url: str, path: str, body: Any, base_container: FakeContainer
) -> None:
    first = await base_project.call("POST", "/session", {"agentId": "demo", "title": "one"}, **keyed("k"))

    def state() -> tuple[int, ...]:
        counts = rows(database_url)
        return counts["agent_sessions"], counts["turns"], counts["idempotency_keys"], len(base_container.requests)

    before = state()
    answer = await base_project.call("POST", path.replace("SESSION", first.json["id"]), body, **keyed("k"))
    problem(answer, 422, "idempotency_key_reused")
    assert state() == before


async def test_a_key_belongs_to_its_project(gateway: Gateway, base_container: FakeContainer) -> None:
    made = []
    for id in ("one", "two"):
        project = await gateway.register(base_container.url, id=id)
        made.append((await project.call("POST", "/session", {"agentId": "demo"}, **keyed("k"))).json["id"])
    assert made[0] != made[1]


async def test_a_failure_that_did_nothing_does_not_hold_the_key(
    base_project: Project, base_container: FakeContainer, database_url: str
) -> None:
    base_container.fail_next("/session")
    problem(await base_project.call("POST", "/session", {"agentId": "demo"}, **keyed("k")), 502)
    problem(await base_project.call("POST", "/session", {"agentId": "nobody"}, **keyed("k")), 404)
    assert rows(database_url)["idempotency_keys"] == 0
    answer = await base_project.call("POST", "/session", {"agentId": "demo", "title": "t"}, **keyed("k"))
    assert answer.status == 201
    assert rows(database_url)["agent_sessions"] == 1


async def test_a_busy_session_does_not_hold_the_key(project: Project) -> None:
    session = await project.create_session()
    await project.prompt(session, "slow 20", wait=None)
    path = f"/session/{session}/prompt"
    problem(await project.call("POST", path, {"prompt": "say x"}, **keyed("k")), 409, "session_busy")
    async with project.events(session) as stream:
        await project.call("POST", f"/session/{session}/cancel")
        await stream.until("turn_ended")
    assert (await project.call("POST", path, {"prompt": "say x"}, **keyed("k"))).status == 202


MALFORMED = [
    '""',
    '"a',
    'a"',
    '"a" "b"',
    "a b",
    "a,b",
    "a;b",
    '"a";p=1',
    "x" * 256,
    f'"{"x" * 256}"',
    '"\\a"',
    "",
    "\xe4",
]


@pytest.mark.parametrize("value", MALFORMED)
async def test_a_malformed_key_is_refused_with_what_is_right(
    base_project: Project, value: str, database_url: str
) -> None:
    answer = await base_project.call("POST", "/session", {"agentId": "demo"}, headers={KEY: value})
    problem(answer, 400, "invalid_parameter", says="best a random UUID in quotes")
    assert rows(database_url)["agent_sessions"] == 0


async def test_a_key_with_and_without_quotes_is_one(base_project: Project) -> None:
    made = [
        (await base_project.call("POST", "/session", {"agentId": "demo"}, **keyed(key))).json["id"]
        for key in ("a-1", '"a-1"', '"' + "x" * 255 + '"', "x" * 255, '"a\\"\\\\ ,;"', '"a\\"\\\\ ,;"')
    ]
    assert made[0] == made[1] != made[2] == made[3] != made[4] == made[5]


async def test_a_call_that_came_first_and_takes_too_long_is_told_of(
    base_project: Project, base_container: FakeContainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.sessions.idempotency.WAIT_SECONDS", 0.3)
    await base_project.create_session()
    base_container.freeze()
    first = asyncio.create_task(base_project.call("POST", "/session", {"agentId": "demo"}, **keyed("k")))
    path, before = ("GET", "/agents"), len(base_container.requests)
    await eventually(lambda: len(base_container.requests) > before, within=5)
    assert base_container.requests[-1].path == path[1]
    answer = await base_project.call("POST", "/session", {"agentId": "demo"}, **keyed("k"))
    problem(answer, 409, "idempotency_key_in_use")
    assert answer.headers["Retry-After"] == "1"
    base_container.thaw()
    assert same(await first, await base_project.call("POST", "/session", {"agentId": "demo"}, **keyed("k")))


async def test_a_key_is_free_again_after_its_time(database_url: str, base_container: FakeContainer) -> None:
    server = ServerConfig(idempotency_hours=1)
    async with GatewayProcess(database_url, attrs.evolve(QUICK, server=server)).run() as gateway:
        project = await gateway.register(base_container.url)
        first = await project.call("POST", "/session", {"agentId": "demo"}, **keyed("k"))
        ask(database_url, "update idempotency_keys set created_at = now() - interval '59 min'")
        assert same(first, await project.call("POST", "/session", {"agentId": "demo"}, **keyed("k")))
        ask(database_url, "update idempotency_keys set created_at = now() - interval '61 min'")
        second = await project.call("POST", "/session", {"title": "other", "agentId": "demo"}, **keyed("k"))
        assert second.status == 201
        assert second.json["id"] != first.json["id"]


async def test_old_keys_are_deleted(database_url: str, base_container: FakeContainer) -> None:
    async with GatewayProcess(database_url, QUICK).run() as gateway:
        project = await gateway.register(base_container.url)
        for key in ("old", "new"):
            await project.call("POST", "/agents/demo/spawn", **keyed(key))
        ask(database_url, "update idempotency_keys set created_at = now() - interval '25 h' where key = 'old'")
    async with GatewayProcess(database_url, QUICK).run():
        await eventually(lambda: ask(database_url, "select key from idempotency_keys") == [("new",)])


@pytest.mark.parametrize("marker", [b"update idempotency_keys set status", b"insert into idempotency_keys"])
async def test_a_database_that_goes_away_in_the_middle_makes_nothing_twice(
    database_url: str, base_container: FakeContainer, marker: bytes
) -> None:
    async with Relay(database_url) as relay, GatewayProcess(relay.url, QUICK).run() as gateway:
        project = await gateway.register(base_container.url)
        session = await project.create_session()
        path, body = f"/session/{session}/prompt", {"prompt": "say once"}
        relay.cut_after(marker)
        first = await project.call("POST", path, body, **keyed("k"))
        assert first.status in (202, 503)
        headers = {KEY: "k", "Prefer": "wait=30"}
        again = await project.call("POST", path, body, headers=headers)
        assert again.status == 200
        assert first.status == 503 or again.json["turnId"] == first.json["turnId"]
    assert len(base_container.requests_to("POST", f"/session/{next(iter(base_container.sessions))}/prompt")) == 1


async def test_a_prompt_that_waits_for_another_turn_waits_once(project: Project, other: Gateway) -> None:
    session = await project.create_session()
    await project.prompt(session, "slow 20", wait=None)
    path, body = f"/session/{session}/prompt", {"prompt": "say later", "queue": True}
    first = await project.call("POST", path, body, **keyed("k"))
    assert (first.status, first.json["state"]) == (202, "queued")
    assert same(first, await Project(other, project.id).call("POST", path, body, **keyed("k")))
    assert (await project.call("GET", f"/session/{session}")).json["queue"] == [first.json["turnId"]]
    await project.call("POST", f"/session/{session}/cancel")
    waited = await project.call("POST", path, body, headers={KEY: "k", "Prefer": "wait=30"})
    assert (waited.json["turnId"], waited.json["turn"]["state"]) == (first.json["turnId"], "completed")


async def test_a_permission_is_answered_once_and_told_alike(host_project: Project, other: Gateway) -> None:
    session = await host_project.create_session()
    async with host_project.events(session) as stream:
        await host_project.prompt(session, "permission", wait=None)
        request = data_of((await stream.until("permission_request"))[-1])
        path = f"/permission/{request['permissionId']}"
        first = await host_project.call("POST", path, {"granted": False}, **keyed("k"))
        assert (first.status, first.json["state"]) == (200, "selected")
        assert same(first, await Project(other, host_project.id).call("POST", path, {"granted": False}, **keyed("k")))
        problem(await host_project.call("POST", path, {"granted": True}, **keyed("k")), 422, "idempotency_key_reused")
        problem(await host_project.call("POST", path, {"granted": False}, **keyed("l")), 409, "permission_settled")
        await stream.until("turn_ended")
