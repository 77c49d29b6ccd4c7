"""Snapshots and exports of a session's history, over HTTP."""

import asyncio
import itertools
import json
import os
import re
from typing import Any, ClassVar

import aiohttp
import pytest

from gateway.log.ids import LogId
from gateway.log.room import LOG
from gateway.upkeep.packing import Packing
from gateway.web.keys import DATABASE
from gateway.wire.sse import SSEEvent
from tests.db.things import ask
from tests.fakes.container import FakeContainer
from tests.handlers.expected import problem
from tests.handlers.history import turn_of
from tests.world import Gateway, Project, data_of


class Reader:
    """A client that has taken a snapshot and folds what comes after it, as docs/api.md says."""

    ROLES: ClassVar = {"agent_message_chunk": "assistant", "agent_thought_chunk": "thought"}

    def __init__(self, snapshot: Any) -> None:
        self.messages: list[Any] = snapshot["messages"]

    def take(self, event: SSEEvent) -> None:
        envelope = json.loads(event.data)
        turn = envelope.get("turnId")
        if event.event == "turn_started":
            started = data_of(event)
            self._begin(event, "user", turn, author=started["startedBy"], content=started["prompt"])
        elif event.event == "session_update":
            self._update(event, turn, data_of(event)["update"])

    def _update(self, event: SSEEvent, turn: str, update: Any) -> None:
        kind = update["sessionUpdate"]
        if role := self.ROLES.get(kind):
            last = self.messages[-1] if self.messages else None
            if last is None or (last["role"], last["turnId"]) != (role, turn):
                last = self._begin(event, role, turn, content=[{"type": "text", "text": ""}])
            last["content"][-1]["text"] += update["content"]["text"]
        elif kind == "plan":
            known = [one for one in self.messages if one["role"] == "plan" and one["turnId"] == turn]
            (known[-1] if known else self._begin(event, "plan", turn))["entries"] = update["entries"]
        else:
            call = update["toolCallId"]
            known = [one for one in self.messages if one["role"] == "tool" and one["toolCall"]["toolCallId"] == call]
            if not known:
                known = [self._begin(event, "tool", turn, toolCall={})]
            del update["sessionUpdate"]
            known[-1]["toolCall"].update(update)

    def _begin(self, event: SSEEvent, role: str, turn: str, **members: Any) -> Any:
        self.messages.append({"id": event.id.split("-")[1], "role": role, "turnId": turn, **members})
        return self.messages[-1]


def without_times(messages: list[Any]) -> list[Any]:
    return [{name: value for name, value in one.items() if name not in ("at", "updatedAt")} for one in messages]


async def snapshot_of(project: Project, session: str, query: str = "") -> Any:
    answer = await project.call("GET", f"/session/{session}/snapshot{query}")
    assert answer.status == 200, answer.body
    return answer.json


async def test_a_snapshot_and_the_events_after_it_are_the_messages_later(base_project: Project) -> None:
    """Nothing is missed and nothing seen twice, whenever it is taken of a session that is being written to."""
    session = await base_project.create_session()
    log = base_project.gateway.app[LOG].store
    packing = Packing(base_project.gateway.app[DATABASE], 0)
    readers: list[tuple[Reader, str]] = []
    written = asyncio.Event()

    async def write() -> None:
        for number in range(8):
            events = turn_of(session, f"t{number}", number)
            while batch := list(itertools.islice(events, 3)):
                await log.append(LogId(base_project.id), batch)
        written.set()

    async def take() -> None:
        while not written.is_set():
            snapshot = await snapshot_of(base_project, session, "?limit=200")
            readers.append((Reader(snapshot), snapshot["cursor"]))
            await packing.pack(LogId(base_project.id))

    await asyncio.gather(write(), take(), take())
    head = (await snapshot_of(base_project, session))["cursor"]
    later = without_times(await base_project.messages(session, "?limit=200"))
    assert len(later) == 8 * 6 + 2
    for reader, cursor in readers:
        async with base_project.events(session, last_event_id=cursor) as stream:
            last = cursor
            while int(last.split("-")[1]) < int(head.split("-")[1]):
                event = await stream.next()
                last = event.id or last
                reader.take(event)
        assert without_times(reader.messages) == later, cursor
    assert len({cursor for _, cursor in readers}) > 3


async def test_a_snapshot_tells_what_runs_and_what_waits(host_project: Project) -> None:
    session = await host_project.create_session()
    empty = await snapshot_of(host_project, session)
    assert (empty["turn"], empty["permissions"], empty["messages"], empty["next"]) == (None, [], [], None)
    async with host_project.events(session) as stream:
        started = await host_project.prompt(session, "permission", wait=None)
        await stream.until("permission_request")
    taken = await snapshot_of(host_project, session)
    assert taken["turn"]["id"] == started["turnId"]
    assert taken["session"]["status"] == "running"
    assert taken["session"]["cursor"] == taken["cursor"]
    listed = (await host_project.call("GET", "/permission")).json["permissions"]
    assert taken["permissions"] == listed
    assert taken["messages"][0]["role"] == "user"


async def test_a_snapshot_has_the_newest_messages_and_where_the_older_ones_are(base_project: Project) -> None:
    session = await base_project.create_session()
    log = base_project.gateway.app[LOG].store
    for number in range(3):
        await log.append(LogId(base_project.id), list(turn_of(session, f"t{number}", number)))
    every = await base_project.messages(session)
    taken = await snapshot_of(base_project, session, "?limit=4")
    assert without_times(taken["messages"]) == without_times(every[-4:])
    older = await base_project.messages(session, f"?order=desc&limit=200&after={taken['next']}")
    assert older[::-1] + taken["messages"] == every
    problem(await base_project.call("GET", "/session/nope/snapshot"), 404, "session_not_found")


async def test_an_export_is_the_messages_one_a_line(base_project: Project) -> None:
    session = await base_project.create_session(title="Über")
    for number in range(2):
        events = list(turn_of(session, f"t{number}", number))
        await base_project.gateway.app[LOG].store.append(LogId(base_project.id), events[: -1 if number else None])
    answer = await base_project.call("GET", f"/session/{session}/export")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/jsonl; charset=utf-8"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{session}.jsonl"'
    assert [json.loads(line) for line in answer.body.splitlines()] == await base_project.messages(session)
    assert answer.body.endswith(b"\n")
    head = await base_project.call("HEAD", f"/session/{session}/export?format=markdown")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Type"] == "text/markdown; charset=utf-8"


async def test_an_export_is_markdown_where_that_is_asked_for(base_project: Project) -> None:
    session = await base_project.create_session(title="A *title*\nof two lines")
    await base_project.gateway.app[LOG].store.append(LogId(base_project.id), list(turn_of(session, "t", 1)))
    by_name = await base_project.call("GET", f"/session/{session}/export?format=markdown")
    by_accept = await base_project.call("GET", f"/session/{session}/export", headers={"Accept": "text/markdown"})
    assert by_name.body == by_accept.body
    assert by_name.headers["Content-Disposition"] == f'attachment; filename="{session}.md"'
    text = by_name.body.decode()
    assert text.startswith("# A \\*title\\* of two lines\n")
    sections = re.findall(r"^## (.*) · ", text, re.MULTILINE)
    tools = ["Tool: Read (completed)", "Assistant", "Tool: late 1"]
    assert sections == ["User local", "Thought", "Plan", "Assistant", *tools, "Assistant"]


def fill(database_url: str, session: str, number: int, size: int) -> None:
    """Messages as turns long ago left them."""
    ask(
        database_url,
        "insert into agent_session_messages"
        " (project_id, session_id, first_seq, last_seq, role, at, updated_at, body)"
        " select 'demo', %(session)s, n, n, 'assistant', now(), now(), convert_to(json_build_object('content',"
        " json_build_array(json_build_object('type', 'text', 'text', n || repeat('x', %(size)s))))::text, 'UTF8')"
        " from generate_series(1, %(number)s) n",
        session=session,
        number=number,
        size=size,
    )
    ask(database_url, "update log_heads set head = 10000000")
    ask(database_url, "update agent_sessions set folded_to = 10000000")


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("form", ["jsonl", "markdown"])
async def test_a_long_export_needs_no_more_memory_than_a_short_one(
    base_project: Project, database_url: str, form: str
) -> None:
    most = {}
    for number in (5_000, 25_000):
        session = await base_project.create_session()
        fill(database_url, session, number, 1200)
        lines, most[number] = 0, 0
        address = f"{base_project.gateway.url}{base_project.acp}/session/{session}/export?format={form}"
        async with base_project.gateway.http.get(address) as response:
            async for piece in response.content.iter_any():
                lines += piece.count(b'"role"') + piece.count(b"## Assistant")
                most[number] = max(most[number], resident())
        assert lines >= number * 0.97  # A mark that stands at the edge of two pieces is not counted.
    assert most[25_000] - most[5_000] < 12_000_000


async def test_an_export_that_cannot_be_finished_is_a_broken_transfer(base_project: Project, database_url: str) -> None:
    session = await base_project.create_session()
    fill(database_url, session, 20_000, 2000)
    gateway = base_project.gateway
    async with gateway.http.get(f"{gateway.url}{base_project.acp}/session/{session}/export") as response:
        await response.content.readany()
        assert (await gateway.call("DELETE", "/api/projects/demo")).status == 204
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_a_history_begins_with_its_session(gateway: Gateway, base_container: FakeContainer) -> None:
    project = await gateway.register(base_container.url, defaultAgentId="demo")
    former = await project.create_session()
    async with project.events(former) as stream:
        base_container.drop_streams()
        await stream.until("gap")
    session = await project.create_session()
    await project.prompt(session, "say here")
    for path in (f"/session/{session}/messages", f"/session/{session}/snapshot"):
        messages = (await project.call("GET", path)).json["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant"]
    assert [message.get("event") for message in await project.messages(former)] == ["gap"]
