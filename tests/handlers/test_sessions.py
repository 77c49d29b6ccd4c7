"""Sessions through the API: made, listed, named, ended; their history; and clients that leave half-way."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.wire.sse import encode_event
from tests.db.things import ask
from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.handlers.expected import problem, rows
from tests.world import Gateway, Project, data_of, text_of

MEMBERS = {
    "id",
    "projectId",
    "agentId",
    "title",
    "titledBy",
    "permissions",
    "workingDirectory",
    "status",
    "turn",
    "agentMode",
    "queue",
    "cursor",
    "createdBy",
    "credentialUserId",
    "createdAt",
    "updatedAt",
    "endedAt",
}


async def pages(project: Project, path: str, name: str, query: str = "") -> list[Any]:
    """All entries, page by page."""
    found: list[Any] = []
    after: str | None = ""
    while after is not None:
        answer = await project.call("GET", f"{path}?{query}" + (f"&after={after}" if after else ""))
        assert answer.status == 200, answer.body
        found += answer.json[name]
        after = answer.json["next"]
    return found


async def test_a_history_is_readable_whatever_the_agent_has_said(
    base_project: Project, base_container: FakeContainer
) -> None:
    session = await base_project.create_session()
    [known] = base_container.sessions
    async with base_project.events(session) as stream:
        for update in (
            {"sessionUpdate": []},
            {"sessionUpdate": {"a": 1}, "toolCallId": "\0"},
            {"sessionUpdate": "tool_call", "toolCallId": "a\0b", "title": "\0"},
            {"sessionUpdate": "tool_call_update", "toolCallId": "a\0b", "status": "completed"},
            {"sessionUpdate": "tool_call_update", "toolCallId": "x" * 5000, "status": "\ud800"},
            5,
        ):
            base_container.emit("session_update", {"sessionId": "x", "update": update}, session_id=known)
        for _ in range(6):
            await stream.until("session_update")
    told = [("tool", "a\0b"), ("tool", "x" * 5000)]
    assert [(one["role"], one["toolCall"]["toolCallId"]) for one in await base_project.messages(session)] == told
    await base_project.prompt(session, "say hi")
    folded = await base_project.messages(session)
    assert [one["role"] for one in folded] == ["tool", "tool", "user", "assistant"]


async def test_an_event_of_an_impossible_time_is_shown(base_project: Project, base_container: FakeContainer) -> None:
    session = await base_project.create_session()
    [known] = base_container.sessions
    async with base_project.events(session) as stream:
        for at in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
            envelope = {"sessionId": known, "data": {"update": {}}, "timestamp": at}
            frame = encode_event(event="session_update", data=json.dumps(envelope))
            base_container.emit_bytes(frame)
            shown = (await stream.until("session_update"))[-1]
            assert json.loads(shown.data)["at"].startswith("20")


async def test_a_session_is_made_with_what_was_asked_and_found_where_location_says(project: Project) -> None:
    answer = await project.call("POST", "/session", {"agentId": "demo", "title": "Grüße", "workingDirectory": "."})
    assert answer.status == 201
    session = answer.json
    assert set(session) == MEMBERS
    assert answer.headers["Location"] == f"{project.acp}/session/{session['id']}"
    found = await project.gateway.call("GET", answer.headers["Location"])
    assert (found.status, found.json) == (200, session | {"cursor": found.json["cursor"]})
    assert (session["title"], session["workingDirectory"], session["agentId"]) == ("Grüße", ".", "demo")
    assert (session["status"], session["turn"], session["endedAt"], session["createdBy"]) == (
        "idle",
        None,
        None,
        "local",
    )


async def test_the_default_agent_is_asked_where_none_is_named(project: Project) -> None:
    answer = await project.call("POST", "/session")
    assert (answer.status, answer.json["agentId"]) == (201, "demo")


async def test_without_a_default_an_agent_must_be_named(gateway: Gateway, base_container: FakeContainer) -> None:
    project = await gateway.register(base_container.url)
    problem(await project.call("POST", "/session", {}), 409, "no_default_agent", says="defaultAgentId")
    assert not base_container.requests_to("POST", "/session")


async def test_an_unknown_agent_makes_no_session_anywhere(project: Project, database_url: str) -> None:
    problem(await project.call("POST", "/session", {"agentId": "nobody"}), 404, "agent_not_found", says="'nobody'")
    await project.gateway.call("PATCH", "/api/projects/demo", {"defaultAgentId": "nobody"})
    problem(await project.call("POST", "/session"), 404, "agent_not_found")
    assert rows(database_url)["agent_sessions"] == 0
    assert (await project.gateway.call("GET", f"{project.acp}/sessions")).json["data"]["sessions"] == []


async def test_a_container_that_is_away_makes_no_session(
    base_project: Project, base_container: FakeContainer, database_url: str
) -> None:
    await base_container.refuse()
    problem(await base_project.call("POST", "/session", {}), 503, "upstream_refused")
    assert rows(database_url)["agent_sessions"] == rows(database_url)["events"] == 0


async def test_a_container_that_fails_makes_no_session(
    base_project: Project, base_container: FakeContainer, database_url: str
) -> None:
    base_container.fail_next("/session", "no room left")
    problem(await base_project.call("POST", "/session", {}), 502, "upstream_failed", says="no room left")
    assert rows(database_url)["agent_sessions"] == 0
    assert not [event for event in await all_types(base_project) if event.startswith("session_")]


async def all_types(project: Project) -> list[str]:
    async with project.events(last_event_id="nonsense") as stream:
        head = data_of(await stream.next())["head"]
    async with project.events(query="?from=start") as stream:
        return [(await stream.next()).event for _ in range(head)]


async def listed(project: Project, query: str = "") -> list[str]:
    answer = await project.call("GET", f"/session{query}")
    assert answer.status == 200, answer.body
    return [session["id"] for session in answer.json["sessions"]]


async def test_sessions_are_listed_page_by_page(base_project: Project) -> None:
    made = []
    for _ in range(12):
        made += await asyncio.gather(*(base_project.create_session() for _ in range(10)))
    whole = await pages(base_project, "/session", "sessions", "limit=200")
    assert sorted(session["id"] for session in whole) == sorted(made)
    times = [session["updatedAt"] for session in whole]
    assert times == sorted(times, reverse=True)
    for limit in ("limit=7", "limit=50", "limit=120", ""):
        assert await pages(base_project, "/session", "sessions", limit) == whole
    assert len((await base_project.call("GET", "/session")).json["sessions"]) == 50


async def test_ended_sessions_are_listed_where_asked_for(base_project: Project) -> None:
    ended, alive = await base_project.create_session(), await base_project.create_session()
    await base_project.call("DELETE", f"/session/{ended}")
    for query, expected in (
        ("", [alive]),
        ("?includeEnded=false", [alive]),
        ("?includeEnded", [ended, alive]),
        ("?includeEnded=true", [ended, alive]),
    ):
        assert await listed(base_project, query) == expected


async def test_a_session_is_given_a_title_and_loses_it(base_project: Project) -> None:
    session = await base_project.create_session(title="old")
    for title in ("new", "x" * 500, "", None):
        answer = await base_project.call("PATCH", f"/session/{session}", {"title": title})
        assert (answer.status, answer.json["title"]) == (200, title)
        assert (await base_project.call("GET", f"/session/{session}")).json["title"] == title
    too_long = await base_project.call("PATCH", f"/session/{session}", {"title": "x" * 501})
    problem(too_long, 400, "invalid_body", says="$.title: must have at most 500 characters")
    problem(await base_project.call("PATCH", f"/session/{session}", {}), 400, "invalid_body", says="$.title: missing")


async def test_a_session_tells_of_its_running_turn_and_the_newest_cursor(project: Project) -> None:
    session = await project.create_session()
    started = await project.prompt(session, "slow 60", wait=None)
    running = (await project.call("GET", f"/session/{session}")).json
    assert (running["status"], running["turn"]["id"]) == ("running", started["turnId"])
    [listed] = (await project.call("GET", "/session")).json["sessions"]
    assert listed["turn"] == running["turn"]
    async with project.events(session, last_event_id=running["cursor"]) as stream:
        await project.call("POST", f"/session/{session}/cancel")
        events = await stream.until("turn_ended")
    assert "turn_started" not in [event.event for event in events]
    idle = (await project.call("GET", f"/session/{session}")).json
    assert (idle["status"], idle["turn"]) == ("idle", None)


async def test_a_stream_from_the_cursor_of_a_prompt_has_the_whole_turn(project: Project) -> None:
    session = await project.create_session()
    started = await project.prompt(session, "stream 20")
    async with project.events(session, last_event_id=started["cursor"]) as stream:
        events = await stream.until("turn_ended")
    assert events[0].event == "turn_started"
    assert text_of(events) == "".join(f"tok{number} " for number in range(20))


async def test_an_ended_session_keeps_its_history_and_takes_no_prompt(project: Project) -> None:
    session = await project.create_session()
    await project.prompt(session, "say kept")
    for _ in range(2):
        ended = await project.call("DELETE", f"/session/{session}")
        assert (ended.status, ended.json["status"]) == (200, "ended")
        assert ended.json["endedAt"] is not None
    problem(await project.call("POST", f"/session/{session}/prompt", {"prompt": "say no"}), 409, "session_ended")
    assert (await project.call("POST", f"/session/{session}/cancel")).json == {"turnId": None}
    told = [message.get("event", message["role"]) for message in await project.messages(session)]
    assert told == ["user", "assistant", "session_ended"]
    types = [event.event for event in await project.all_events(session)]
    assert types.count("session_ended") == 1


async def test_a_session_ends_while_its_container_is_away(base_project: Project, base_container: FakeContainer) -> None:
    session = await base_project.create_session()
    await base_container.refuse()
    ended = await base_project.call("DELETE", f"/session/{session}")
    assert (ended.status, ended.json["status"]) == (200, "ended")


async def test_a_session_that_ends_mid_turn_cancels_the_turn_once(project: Project) -> None:
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "say on\nslow 60", wait=None)
        await stream.until("session_update")
        assert (await project.call("DELETE", f"/session/{session}")).json["status"] == "ended"
        events = await stream.until("session_ended")
    assert [data_of(event)["outcome"] for event in events if event.event == "turn_ended"] == ["cancelled"]
    assert [event.event for event in await project.all_events(session)].count("turn_ended") == 1


async def test_a_prompt_waits_no_longer_than_it_was_told(project: Project) -> None:
    session = await project.create_session()
    answer = await project.call(
        "POST", f"/session/{session}/prompt", {"prompt": "slow 60"}, headers={"Prefer": "wait=1"}
    )
    assert (answer.status, answer.json["turn"]["state"]) == (202, "running")
    assert answer.headers["Preference-Applied"] == "wait=1"
    await project.call("POST", f"/session/{session}/cancel")


@pytest.mark.parametrize("preference", ["wait=abc", "wait=", "wait", "wait=-1", "wait=1.5", "respond-async, wait=x"])
async def test_a_time_to_wait_that_is_none_is_refused_and_nothing_is_sent(
    base_project: Project, base_container: FakeContainer, preference: str
) -> None:
    session = await base_project.create_session()
    answer = await base_project.call(
        "POST", f"/session/{session}/prompt", {"prompt": "say hi"}, headers={"Prefer": preference}
    )
    problem(answer, 400, "invalid_parameter", says="wait=30")
    assert not [call for call in base_container.requests if call.path.endswith("/prompt")]


MCP_SERVERS: list[tuple[Any, str]] = [
    (5, "$.mcpServers[0]: must be an object"),
    ({}, "$.mcpServers[0].name: must be a string"),
    ({"name": "files"}, "$.mcpServers[0].command: must be a string"),
    ({"name": "files", "command": "x", "args": "y"}, "$.mcpServers[0].args: must be a list"),
    ({"name": "files", "command": "x", "args": [1]}, "$.mcpServers[0].args[0]: must be a string"),
    ({"name": "files", "command": "x", "env": {"A": "b"}}, "$.mcpServers[0].env: must be a list"),
    ({"name": "files", "command": "x", "env": [{"name": "A"}]}, "$.mcpServers[0].env[0].value: must be a string"),
    ({"name": "web", "type": "http"}, "$.mcpServers[0].url: must be a string"),
    ({"name": "web", "type": "ftp", "url": "http://h"}, "$.mcpServers[0].type: must be one of stdio, http, sse"),
]


@pytest.mark.parametrize(("server", "says"), MCP_SERVERS)
async def test_an_mcp_server_that_is_none_is_named_with_its_place(
    base_project: Project, server: Any, says: str
) -> None:
    answer = await base_project.call("POST", "/session", {"agentId": "demo", "mcpServers": [server]})
    problem(answer, 400, "invalid_body", says=says)


async def test_mcp_servers_of_each_kind_reach_the_container(
    base_project: Project, base_container: FakeContainer
) -> None:
    servers = [
        {"name": "files", "command": "mcp-files", "args": ["-v"], "env": [{"name": "A", "value": "b"}], "_meta": {}},
        {"type": "http", "name": "web", "url": "http://h", "headers": []},
        {"type": "sse", "name": "old", "url": "http://h", "headers": [{"name": "X", "value": "y"}]},
    ]
    await base_project.create_session(mcpServers=servers)
    [made] = [call for call in base_container.requests if call.method == "POST" and call.path == "/session"]
    assert json.loads(made.body)["mcpServers"] == servers


async def test_other_preferences_are_no_matter(base_project: Project) -> None:
    session = await base_project.create_session()
    for preferences in ("respond-async", "waiting=1", "", "handling=lenient; wait"):
        answer = await base_project.call(
            "POST", f"/session/{session}/prompt", {"prompt": "slow 60"}, headers={"Prefer": preferences}
        )
        assert (answer.status, set(answer.json)) == (202, {"turnId", "cursor"}), preferences
        async with base_project.events(session, last_event_id=answer.json["cursor"]) as stream:
            await base_project.call("POST", f"/session/{session}/cancel")
            await stream.until("turn_ended")


async def test_a_prompt_may_hold_any_text(project: Project) -> None:
    session = await project.create_session()
    text = "say \0 \xa0 \U0001f600 \\ ' </script> \x7f \ufffe"
    assert (await project.prompt(session, text))["turn"]["state"] == "completed"
    messages = await project.messages(session)
    assert messages[0]["content"] == [{"type": "text", "text": text}]
    assert text.removeprefix("say ").strip() in messages[-1]["content"][0]["text"]


async def test_history_pages_have_every_message_once_whatever_their_size(project: Project) -> None:
    session = await project.create_session()
    for number in range(6):
        await project.prompt(session, f"think {number}\nsay a{number}\nplan b; c\ntool\nsay d{number}")
    async with project.events(session) as stream:
        # The end of the history stands in no row yet.
        await project.prompt(session, "think x\nsay y\nslow 60", wait=None)
        await stream.until("session_update")
        while "y" not in (await stream.until("session_update"))[-1].data:
            pass
    whole = await project.messages(session, "?limit=200")
    ids = [int(message["id"]) for message in whole]
    assert ids == sorted(set(ids))
    assert [message["role"] for message in whole].count("user") == 7
    # An agent host tells of the file that the tool writes, too.
    assert {message["role"] for message in whole} - {"event"} == {"user", "assistant", "thought", "tool", "plan"}
    for limit in (1, 2, 3, 7, 50):
        assert await pages(project, f"/session/{session}/messages", "messages", f"limit={limit}") == whole
        newest = await pages(project, f"/session/{session}/messages", "messages", f"order=desc&limit={limit}")
        assert newest == whole[::-1]
    await project.call("POST", f"/session/{session}/cancel")


async def test_a_message_says_what_it_is_and_when(project: Project) -> None:
    session = await project.create_session()
    done = await project.prompt(session, "think first\nplan b; c\nsay text")
    messages = await project.messages(session)
    for message in messages:
        assert set(message) >= {"id", "role", "turnId", "at", "updatedAt"}
        assert message["turnId"] == done["turnId"]
        assert message["updatedAt"] >= message["at"]
    by_role = {message["role"]: message for message in messages}
    assert by_role["thought"]["content"][0]["text"].strip() == "first"
    assert [entry["status"] for entry in by_role["plan"]["entries"]] == ["completed", "completed"]
    assert by_role["assistant"]["content"][-1]["text"].strip().endswith("text")


async def test_a_cleared_history_begins_anew_with_who_cleared_it(project: Project) -> None:
    session = await project.create_session()
    await project.prompt(session, "say old")
    events = await project.all_events(session)
    answer = await project.call("DELETE", f"/session/{session}/messages")
    assert (answer.status, answer.body) == (204, b"")
    [cleared] = await project.messages(session)
    assert (cleared["role"], cleared["event"], cleared["data"]) == ("event", "session_cleared", {"clearedBy": "local"})
    await project.prompt(session, "say new")
    assert [message["role"] for message in await project.messages(session)] == ["event", "user", "assistant"]
    assert "old" not in json.dumps(await project.messages(session))
    # Streams still resume from the log.
    assert [event.id for event in await project.all_events(session)][: len(events)] == [event.id for event in events]


async def test_a_history_cleared_mid_turn_goes_on_with_what_comes(project: Project) -> None:
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "say old\nslow 1\nsay new", wait=None)
        await stream.until("session_update")
        await project.call("DELETE", f"/session/{session}/messages")
        await stream.until("turn_ended")
    text = json.dumps(await project.messages(session))
    assert "new" in text
    assert "old" not in text


async def leave_once(condition: Any, project: Project, path: str, body: Any, headers: dict[str, str]) -> None:
    """Send a request from a client that goes away as soon as ``condition`` is true."""
    async with aiohttp.ClientSession() as http:
        url = project.gateway.url + project.acp + path
        request = asyncio.create_task(_post(http, url, body, headers))
        await eventually(condition)
        request.cancel()
        with suppress(asyncio.CancelledError):
            await request


async def _post(http: aiohttp.ClientSession, url: str, body: Any, headers: dict[str, str]) -> None:
    async with http.post(url, json=body, headers=headers) as response:
        await response.read()


async def test_a_client_that_leaves_while_its_session_is_made_leaves_a_whole_session(
    base_project: Project, base_container: FakeContainer, database_url: str
) -> None:
    await base_project.create_session()
    base_container.freeze()
    asked = len(base_container.requests)
    await leave_once(lambda: len(base_container.requests) > asked, base_project, "/session", {}, {})
    base_container.thaw()
    created = "select count(*) from events where type = 'session_created'"
    await eventually(lambda: ask(database_url, created) == [(2,)])
    sessions = (await base_project.call("GET", "/session")).json["sessions"]
    assert len(sessions) == 2
    for session in sessions:
        assert (await base_project.prompt(session["id"], "say here"))["turn"]["state"] == "completed"


@pytest.mark.parametrize("headers", [{}, {"Prefer": "wait=60"}], ids=["at once", "waiting"])
async def test_a_turn_goes_on_and_is_recorded_when_its_client_leaves(
    project: Project, database_url: str, headers: dict[str, str]
) -> None:
    session = await project.create_session()
    path = f"/session/{session}/prompt"
    body = {"prompt": "say before\nslow 1\nsay after"}
    await leave_once(lambda: rows(database_url)["turns"] == 1, project, path, body, headers)
    async with project.events(session, query="?from=start") as stream:
        events = await stream.until("turn_ended")
    assert data_of(events[-1])["outcome"] == "completed"
    messages = await project.messages(session)
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert "after" in json.dumps(messages[1])


class RepeatingContainer(FakeContainer):
    """Gives each session the same id."""

    async def create_session(self, request: web.Request) -> Any:
        made = await super().create_session(request)
        session = self.sessions.pop(made["id"])
        session.id = "1"
        self.sessions.setdefault("1", session)
        return {**made, "id": "1"}


async def test_an_id_that_a_container_gives_twice_is_its_mistake_and_ends_no_session(gateway: Gateway) -> None:
    async with RepeatingContainer() as container:
        project = await gateway.register(container.url)
        session = await project.create_session()
        refused = await project.call("POST", "/session", {"agentId": "demo"})
        problem(refused, 502, "upstream_failed", says="another session of this project")
        assert (await project.prompt(session, "say on"))["turn"]["state"] == "completed"
        assert not container.requests_to("DELETE", "/session/1")
