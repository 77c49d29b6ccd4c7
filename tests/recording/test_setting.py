"""``recordOpencodeEvents``: switched on and off, who may see what is recorded, what stays secret, and what goes."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from gateway.follow.room import FOLLOWERS
from gateway.log.ids import LogId
from gateway.log.room import LOG
from gateway.projects.room import PROJECTS
from gateway.web.keys import DATABASE
from gateway.wire.events import Cursor
from gateway.wire.opencode import EVENT, EVENT_STREAMS, EventStream
from tests.db.relay import Relay
from tests.db.things import ask
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually, until
from tests.fakes.opencode import FakeOpenCode, event
from tests.identity.conftest import OPERATOR, OWNER, VIEWER
from tests.recording.listening import content_of, data_of, listening, type_of, value_of
from tests.recording.projects import RECORDED, has_recorded, register
from tests.sessions.injecting import ANNS as SECRET
from tests.sessions.injecting import session_of, store
from tests.world import PROXIED, QUICK, Gateway, GatewayProcess, Project

PATH = "/api/projects/demo/opencode/event"


@pytest.fixture
async def shared(database_url: str) -> AsyncIterator[Gateway]:
    """A gateway of several users."""
    async with GatewayProcess(database_url, PROXIED).run() as running:
        yield running


async def test_the_setting_is_off_unless_asked_for_and_shown_as_it_is(gateway: Gateway) -> None:
    await gateway.register("http://127.0.0.1:1")
    path = "/api/projects/demo"
    assert (await gateway.call("GET", path)).json["recordOpencodeEvents"] is False
    for value in (True, True, False, True):
        assert (await gateway.call("PATCH", path, {"recordOpencodeEvents": value})).json[
            "recordOpencodeEvents"
        ] is value
    assert (await gateway.call("PATCH", path, {"name": "x"})).json["recordOpencodeEvents"] is True
    for wrong in (None, "true", 1, {}):
        answer = await gateway.call("PATCH", path, {"recordOpencodeEvents": wrong})
        assert answer.status == 400
        assert answer.json["detail"].startswith("$.recordOpencodeEvents: must be true or false")


async def test_without_the_setting_the_stream_passes_as_it_comes_and_nothing_is_followed_or_asked(
    gateway: Gateway,
    opencode: FakeOpenCode,
    base_container: FakeContainer,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await gateway.register(base_container.url, containerUrl=opencode.url)
    asked: list[str] = []
    fetch_one = gateway.app[DATABASE].fetch_one

    async def noting(query: str, **params: Any) -> Any:
        asked.append(query)
        return await fetch_one(query, **params)

    monkeypatch.setattr(gateway.app[DATABASE], "fetch_one", noting)
    assert (await gateway.call("GET", PATH.replace("event", "path"))).status == 200
    for_another_path = set(asked)
    gateway.app[PROJECTS].store.forget()
    asked.clear()
    async with listening(gateway, query="?directory=/home/agent/work%20space&unknown=1") as client:
        opencode.tell(2)
        assert data_of([await client.next(), await client.next()]) == opencode.said
    assert {block.id for block in client.blocks} == {None}
    assert opencode.asked[-1][1] == "directory=/home/agent/work%20space&unknown=1"
    assert set(asked) <= for_another_path == {"get_project"}
    assert ask(database_url, "select project_id, log from log_heads") == [("demo", "acp")]
    assert len(opencode.asked) == 1


async def test_switched_on_it_records_and_switched_off_it_passes_through_again_and_keeps_what_there_is(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    await gateway.register(base_container.url, containerUrl=opencode.url)
    await gateway.call("PATCH", "/api/projects/demo", RECORDED)
    async with listening(gateway) as client:
        opencode.tell(3)
        await client.until(opencode.said[-1])
        await gateway.call("PATCH", "/api/projects/demo", {"recordOpencodeEvents": False})
        # Broken off, so that whoever comes back has it passed through.
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.until(b"nothing that is said")
    await eventually(lambda: opencode.listeners == 0)
    async with listening(gateway, last_event_id=client.blocks[-1].id) as client:
        assert client.blocks[0].id is None
        opencode.tell(2, 3)
        await client.until(opencode.said[-1])
    assert (await gateway.app[LOG].store.head(LogId("demo", EVENT.name))).head == 3
    await gateway.call("PATCH", "/api/projects/demo", RECORDED)
    async with listening(gateway):
        opencode.tell(1, 5)
        async with listening(gateway, query="?from=start") as client:
            found = await client.until(opencode.said[-1])
    # Nobody recorded what came in between, and that is said.
    assert [type_of(block) for block in found[:4]] == [*["message.part.updated"] * 3, "gateway.gap"]
    assert data_of([*found[:3], found[-1]]) == [*opencode.said[:3], opencode.said[-1]]


async def test_another_address_is_another_opencode_and_a_gap(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    await register(gateway, opencode, base_container)
    async with FakeOpenCode() as other, listening(gateway) as client:
        opencode.tell(2)
        await client.until(opencode.said[-1])
        await gateway.call("PATCH", "/api/projects/demo", {"containerUrl": other.url})
        assert type_of(await client.next()) == "gateway.gap"
        other.tell(1)
        assert data_of(await client.until(other.said[-1])) == other.said
        assert opencode.listeners == 0


async def test_a_viewer_may_see_what_is_recorded_and_nothing_that_is_passed_through(
    shared: Gateway, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    owner = shared.as_user(OWNER)
    await owner.register(base_container.url, containerUrl=opencode.url)
    for user, role in ((VIEWER, "viewer"), (OPERATOR, "operator")):
        await owner.call("PUT", f"/api/projects/demo/members/{user}", {"role": role})
    victor = shared.as_user(VIEWER)
    ticket = ("POST", "/api/projects/demo/acp/events/ticket", {"path": "/opencode/event"})
    for refused in (await victor.call("GET", PATH), await victor.call(*ticket)):
        assert (refused.status, refused.json["code"], refused.json["needed"]) == (403, "insufficient_role", "operator")
    await owner.call("PATCH", "/api/projects/demo", RECORDED)
    async with listening(victor) as client:
        opencode.tell(1)
        assert data_of([await client.next()]) == opencode.said
    refused = await victor.call("GET", f"{PATH}?directory=/elsewhere")
    assert (refused.status, refused.json["code"]) == (403, "insufficient_role")
    # A browser opens it by a ticket, and comes back by the cookie.
    url = (await victor.call(*ticket)).json["url"]
    accept = {"Accept": "text/event-stream"}
    async with shared.http.get(shared.url + url, headers=accept) as response:
        assert response.status == 200
        cookie = response.headers["Set-Cookie"].partition(";")[0]
    async with shared.http.get(shared.url + PATH, headers={**accept, "Cookie": cookie}) as response:
        assert response.status == 200
    stranger = await shared.as_user("somebody").call("GET", PATH)
    assert (stranger.status, stranger.json["code"]) == (404, "project_not_found")
    await owner.call("DELETE", f"/api/projects/demo/members/{VIEWER}")
    assert (await victor.call("GET", PATH)).status == 404


async def test_a_deleted_projects_events_go_with_it_and_its_streams_end(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer, database_url: str
) -> None:
    await register(gateway, opencode, base_container)
    async with listening(gateway) as client:
        opencode.tell(20)
        await client.until(opencode.said[-1])
        assert (await gateway.call("DELETE", "/api/projects/demo")).status == 204
        with pytest.raises(EOFError):
            await client.until(b"nothing that is said")
    await eventually(lambda: opencode.listeners == 0)
    for table in ("events", "event_packs", "log_heads", "log_storage", "log_sources", "deleted_projects"):
        assert ask(database_url, f"select count(*) from {table}") == [(0,)]
    last = client.blocks[-1].id
    await register(gateway, opencode, base_container)
    async with listening(gateway, last_event_id=last) as client:
        assert value_of(await client.next())["properties"]["reason"] == "other_epoch"


async def test_retention_holds_for_it_by_itself(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer, database_url: str
) -> None:
    project = await gateway.register(
        base_container.url,
        containerUrl=opencode.url,
        defaultAgentId="demo",
        **RECORDED,
        retention={"maxAgeDays": None, "maxBytes": 20_000},
    )
    session = await project.create_session()
    await project.prompt(session, "say kept")
    async with listening(gateway) as client:
        opencode.tell(500)
        ids = [block.id for block in await client.until(opencode.said[-1])]
    ask(database_url, "update log_storage set looked_at = now() - interval '1 hour'")

    async def is_cut() -> bool:
        return (await gateway.app[LOG].store.head(LogId("demo", EVENT.name))).floor > 0

    await until(is_cut)
    async with listening(gateway, last_event_id=ids[0]) as client:
        reset = value_of(await client.next())
        assert (reset["type"], reset["properties"]["reason"]) == ("gateway.reset", "no_longer_kept")
    assert (await gateway.app[LOG].store.head(LogId("demo"))).floor == 0
    assert len(await project.messages(session)) == 2


@pytest.mark.parametrize("stream", EVENT_STREAMS.values(), ids=EVENT_STREAMS)
async def test_secrets_that_the_container_was_given_are_masked_before_anything_is_stored(
    gateways: GatewayProcess, opencode: FakeOpenCode, base_container: FakeContainer, stream: EventStream
) -> None:
    async with gateways.run() as shared:
        await masked(shared, opencode, base_container, stream)


async def masked(shared: Gateway, opencode: FakeOpenCode, base_container: FakeContainer, stream: EventStream) -> None:
    ann = shared.as_user("ann")
    project = await ann.register(base_container.url, containerUrl=opencode.url, **RECORDED)
    await store(shared, "ann", SECRET, "demo")
    await session_of(project, "ann", "demo")
    async with listening(ann, path=stream.path) as client:
        plain = event("message.part.delta", sessionID="s", partID="p", field="text", delta="nothing secret \u00e9")
        opencode.say(plain)
        opencode.say(event("message.part.updated", part={"text": f"key={SECRET}\n"}))
        for piece in (SECRET[:3], SECRET[3:12], SECRET[12:] + " and on"):
            opencode.say(event("message.part.delta", sessionID="s", partID="p", field="text", delta=piece))
            opencode.say(event("session.next.text.delta", sessionID="s", textID="t", delta=piece))
        output = f"key={SECRET}\n"
        for length in range(1, len(output) + 1):
            state = {"status": "running", "metadata": {"output": output[:length]}}
            opencode.say(event("message.part.updated", part={"id": "tool", "type": "tool", "state": state}))
        for length in range(3, len(output) + 3, 3):
            text = {"id": "text", "type": "text", "text": output[:length]}
            opencode.say(event("message.part.updated", part=text, delta=output[length - 3 : length]))
        opencode.tell(1)
        found = await client.until(opencode.told(stream.path)[-1])
    assert data_of(found[:1]) == opencode.told(stream.path)[:1]
    assert content_of(found[1])["part"]["text"] == "key=***\n"
    for type in ("message.part.delta", "session.next.text.delta"):
        told = "".join(content_of(block)["delta"] for block in found if type_of(block) == type)
        assert told.removeprefix("nothing secret \u00e9") == f"{SECRET[:8]}*** and on"
    grown = [content_of(block) for block in found if type_of(block) == "message.part.updated"]
    outputs = [one["part"]["state"]["metadata"]["output"] for one in grown if "state" in one["part"]]
    assert outputs[-len(SECRET) :][:1] + outputs[-3:] == ["key=sk", f"key={SECRET[:8]}***", "key=***", "key=***\n"]
    assert "".join(one["delta"] for one in grown if "delta" in one).startswith(f"key={SECRET[:8]}***")
    log, log_id = shared.app[LOG].store, LogId("demo", stream.name)
    events = await log.read(log_id, Cursor((await log.head(log_id)).epoch, 0))
    assert SECRET[:9] not in "".join(stored.data.decode() for stored in events)


async def test_while_postgresql_is_away_what_opencode_says_is_kept(
    database_url: str, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    async with Relay(database_url) as relay, GatewayProcess(relay.url, QUICK).run() as gateway:
        await register(gateway, opencode, base_container)
        async with listening(gateway) as client:
            opencode.tell(5)
            await client.until(opencode.said[-1])
            await relay.go_away()
            for begin in range(5, 505, 100):
                opencode.tell(100, begin)
                await asyncio.sleep(0.05)
            await relay.come_back()
            await client.until(opencode.said[-1])
        assert client.told() == opencode.said
        assert "gateway.gap" not in [type_of(block) for block in client.blocks]


async def test_an_agents_own_stream_goes_on_beside_it(
    gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer
) -> None:
    project: Project = await gateway.register(
        base_container.url, containerUrl=opencode.url, defaultAgentId="demo", **RECORDED
    )
    session = await project.create_session()
    for begin in range(0, 300, 100):
        opencode.tell(100, begin)
        assert (await project.prompt(session, "stream 20"))["turn"]["state"] == "completed"
    await until(lambda: has_recorded(gateway, 300))
    assert gateway.app[FOLLOWERS].counts() == (2, 2)
    # Its other port away, OpenCode is recorded all the same.
    base_container.drop_streams()
    opencode.tell(10, 300)
    await until(lambda: has_recorded(gateway, 310))
    assert json.loads(opencode.said[-1])["properties"]["part"]["n"] == 309
