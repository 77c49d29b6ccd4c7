"""Folding: each turn's messages are written once, and a fold that never ran is made up for."""

import json
import random
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from gateway.db.pool import Database
from gateway.log import folding as folding_module
from gateway.log import transcript as transcript_module
from gateway.log.folding import Folding
from gateway.log.ids import LogId
from gateway.log.store import Effect, Log, NewEvent
from gateway.log.transcript import Transcript
from gateway.projects.store import NewProject, Projects
from gateway.upkeep.packing import Packing
from gateway.wire.events import Event, SessionCleared
from gateway.wire.messages import Message
from tests.db.things import ask
from tests.fixtures.folding import CASES, event_of
from tests.log.turns import chunks, ended, event, started

PROJECT = "p"


@pytest.fixture
async def log(database: Database, database_url: str) -> Log:
    await Projects(database).create("local", NewProject(id=PROJECT, container_url="http://127.0.0.1:4096"))
    ask(
        database_url,
        "insert into agent_sessions (project_id, id, user_id, agent_id, status) values ('p', 's', 'u', 'a', 'active')",
    )
    return Log(database)


async def append(log: Log, events: Sequence[NewEvent]) -> None:
    for start in range(0, len(events), 500):
        await log.append(LogId(PROJECT), events[start : start + 500])


def count_writes(url: str) -> None:
    """Count each row of messages that is written, in a table of the test's own."""
    ask(url, "create table writes (first_seq bigint)")
    ask(
        url,
        "create function note() returns trigger language plpgsql as"
        " $$ begin insert into writes values (new.first_seq); return new; end $$",
    )
    ask(
        url, "create trigger note after insert or update on agent_session_messages for each row execute function note()"
    )


@pytest.mark.parametrize("packed", [False, True])
async def test_each_message_of_a_turn_is_written_once_however_many_chunks_it_has(
    log: Log, database: Database, database_url: str, packed: bool
) -> None:
    count_writes(database_url)
    folding = Folding(database, log)
    transcript = Transcript(database, log, folding)
    await append(log, [started("a"), *chunks("a", 3000)])
    await folding.fold(PROJECT, "s")
    if packed:
        await Packing(database, 0).pack(LogId(PROJECT))
    running = await transcript.page(PROJECT, "s", after=None, limit=10, newest_first=False)
    assert len(running.messages) == 2
    assert ask(database_url, "select count(*) from writes") == [(0,)]
    await append(log, [ended("a"), started("b"), *chunks("b", 100), ended("b"), *chunks(None, 3)])
    for _ in range(3):
        await folding.fold(PROJECT, "s")
    assert ask(database_url, "select count(*), count(distinct first_seq) from writes") == [(4, 4)]
    page = await transcript.page(PROJECT, "s", after=None, limit=10, newest_first=False)
    assert page.messages[:2] == (running.messages[0], running.messages[1])
    assert [json.loads(message.body)["content"][0]["text"].count("word") for message in page.messages] == [
        0,
        3000,
        0,
        100,
        3,
    ]


def tool(kind: str, number: int, **members: Any) -> NewEvent:
    update = {"sessionUpdate": kind, "toolCallId": f"call {number}", **members}
    return event("session_update", {"update": update}, "a")


async def test_a_long_turn_is_written_in_parts_and_its_messages_are_the_same(
    log: Log, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding_module, "PART_BYTES", 40_000)
    folding = Folding(database, log)
    transcript = Transcript(database, log, folding)
    calls = [tool("tool_call", number, title="t") for number in range(20)]
    updates = [tool("tool_call_update", number, rawOutput="o" * 2_000) for number in range(20)]
    await append(log, [started("a"), *chunks("a", 500), *calls, *chunks("a", 500), *updates, *chunks("a", 500)])

    def shown(messages: Iterable[Message]) -> tuple[str, dict[str, Any]]:
        found = [(message.role, json.loads(message.body)) for message in messages]
        texts = [block["text"] for role, body in found if role == "assistant" for block in body["content"]]
        return "".join(texts), {
            body["toolCall"]["toolCallId"]: body["toolCall"] for role, body in found if role == "tool"
        }

    whole = (
        "word " * 1500,
        {f"call {n}": {"toolCallId": f"call {n}", "title": "t", "rawOutput": "o" * 2_000} for n in range(20)},
    )
    page = await transcript.page(PROJECT, "s", after=None, limit=200, newest_first=False)
    # Whoever read it has had what was too much for one reading written.
    assert ask(database_url, "select folded_to > 0 from agent_sessions") == [(True,)]
    assert shown(page.messages) == whole
    assert shown([message async for message in transcript.all(PROJECT, "s")]) == whole
    await append(log, [*chunks("a", 500), ended("a")])
    await folding.fold(PROJECT, "s")
    page = await transcript.page(PROJECT, "s", after=None, limit=200, newest_first=True)
    assert shown(page.messages[::-1]) == ("word " * 2000, whole[1])
    assert len(page.messages) < 40


async def test_a_page_ends_where_its_messages_are_large(
    log: Log, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcript_module, "PAGE_BYTES", 10_000)
    folding = Folding(database, log)
    transcript = Transcript(database, log, folding)
    large = [tool("tool_call", number, title=random.randbytes(2_000).hex()) for number in range(10)]
    await append(log, [started("a"), *large[:5], ended("a"), started("b"), *large[5:]])
    await folding.fold(PROJECT, "s")
    for newest_first in (False, True):
        pages, after = [], None
        while after is not None or not pages:
            page = await transcript.page(PROJECT, "s", after=after, limit=200, newest_first=newest_first)
            pages.append(page.messages)
            after = None if page.next is None else int(page.next)
        assert max(map(len, pages)) < 5
        seqs = [message.first_seq for page in pages for message in page]
        assert seqs == sorted(seqs, reverse=newest_first)
        assert len(seqs) == 12


async def test_settling_leaves_but_the_running_turn(log: Log, database: Database, database_url: str) -> None:
    folding = Folding(database, log)
    await append(log, [*chunks(None, 3), started("a"), *chunks("a", 5), ended("a"), *chunks(None, 2), started("b")])
    await append(log, chunks("b", 4))
    assert await folding.settle(PROJECT, "s") == 13
    assert ask(database_url, "select folded_to from agent_sessions") == [(12,)]
    assert ask(database_url, "select count(*) from agent_session_messages") == [(4,)]
    await append(log, [ended("b"), *chunks(None, 1)])
    assert await folding.settle(PROJECT, "s") is None
    assert ask(database_url, "select folded_to from agent_sessions") == [(19,)]
    assert ask(database_url, "select count(*) from agent_session_messages") == [(7,)]


async def test_a_fold_whose_gateway_died_is_made_up_for(log: Log, database: Database, database_url: str) -> None:
    await append(log, [started("a"), *chunks("a", 5), ended("a")])
    turn = (
        "insert into turns (project_id, id, session_id, user_id, state, started_at, ended_at)"
        " values ('p', 'a', 's', 'u', 'completed', now(), now() - interval '%s seconds')"
    )
    ask(database_url, turn % 1)
    folding = Folding(database, log)
    await folding.review()  # Whoever ended it may be about to.
    assert ask(database_url, "select count(*) from agent_session_messages") == [(0,)]
    ask(database_url, "update turns set ended_at = now() - interval '1 minute'")
    await folding.review()
    assert ask(database_url, "select count(*) from agent_session_messages") == [(2,)]
    assert ask(database_url, "select folded from turns") == [(True,)]


async def test_a_history_that_is_read_while_a_turn_ends_has_no_message_cut_short(log: Log, database: Database) -> None:
    folding = Folding(database, log)
    transcript = Transcript(database, log, folding)
    await append(log, [started("a"), *chunks("a", 2), ended("a"), started("b"), *chunks("b", 2)])
    await folding.fold(PROJECT, "s")
    reading = transcript.all(PROJECT, "s")
    read = [await anext(reading)]
    await append(log, [*chunks("b", 5), ended("b"), started("c"), *chunks("c", 1), ended("c")])
    await folding.fold(PROJECT, "s")
    read += [message async for message in reading]
    texts = [json.loads(message.body)["content"][0]["text"] for message in read]
    assert texts == ["prompt of a", "word " * 2, "prompt of b", "word " * 7, "prompt of c", "word "]


@pytest.mark.parametrize("is_folded", [False, True])
async def test_a_history_that_is_read_while_a_turn_says_much_leaves_out_no_middle(
    log: Log, database: Database, monkeypatch: pytest.MonkeyPatch, is_folded: bool
) -> None:
    """Whoever reads it, here or elsewhere, has a part of the turn written behind what has been told."""
    monkeypatch.setattr(folding_module, "PART_BYTES", 40_000)
    folding = Folding(database, log)
    await append(log, [started("a"), *chunks("a", 2), ended("a"), started("b")])
    await folding.fold(PROJECT, "s")
    told: list[Message] = []
    async for message in Transcript(database, log, folding).all(PROJECT, "s"):
        told.append(message)
        if len(told) <= 6:
            numbers = range(10 * (len(told) - 1), 10 * len(told))
            await append(log, [tool("tool_call", number, rawOutput="o" * 5_000) for number in numbers])
            if is_folded:
                await folding.shorten(PROJECT, "s")
    assert [message.role for message in told[:3]] == ["user", "assistant", "user"]
    calls = [message.tool_call_id for message in told[3:]]
    assert calls == [f"call {number}" for number in range(60 if is_folded else len(calls))]


async def test_a_long_text_is_not_written_again_with_each_part_of_it(
    log: Log, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding_module, "AHEAD_BYTES", 10_000)
    folding = Folding(database, log)
    ask(database_url, "create table written (bytes integer)")
    ask(
        database_url,
        "create function note() returns trigger language plpgsql as"
        " $$ begin insert into written values (octet_length(new.body)); return new; end $$",
    )
    ask(
        database_url,
        "create trigger note after insert or update on agent_session_messages for each row execute function note()",
    )
    ask(
        database_url,
        "insert into turns (project_id, id, session_id, user_id, state, started_at)"
        " values ('p', 'a', 's', 'u', 'running', now())",
    )
    await append(log, [started("a")])
    for number in range(40):
        said = {"type": "text", "text": random.Random(number).randbytes(5_000).hex()}
        update = {"sessionUpdate": "agent_message_chunk", "content": said}
        await append(log, [event("session_update", {"update": update}, "a")])
        await folding.write_ahead(PROJECT)
    writes, written, longest = ask(database_url, "select count(*), sum(bytes), max(bytes) from written")[0]
    assert writes > 2
    assert written < 4 * longest


async def test_what_comes_outside_turns_is_not_written_ahead(
    log: Log, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folding_module, "AHEAD_BYTES", 10_000)
    count_writes(database_url)
    await append(log, chunks(None, 300))
    await Folding(database, log).write_ahead(PROJECT)
    assert ask(database_url, "select count(*) from writes") == [(0,)]


async def test_a_turn_of_many_messages_holds_its_session_for_a_few_statements(
    log: Log, database: Database, database_url: str
) -> None:
    """Whoever appends something with a change of the session waits meanwhile, with the head of the log in hand."""
    tools = [{"sessionUpdate": "tool_call", "toolCallId": f'"{n}\\', "title": "\u00e4" * (n % 3)} for n in range(2_000)]
    await append(log, [started("a"), *(event("session_update", {"update": tool}, "a") for tool in tools), ended("a")])
    ask(database_url, "create table statements (n integer)")
    ask(
        database_url,
        "create function count_statement() returns trigger language plpgsql as"
        " $$ begin insert into statements values (1); return null; end $$",
    )
    ask(
        database_url,
        "create trigger count_statement after insert on agent_session_messages execute function count_statement()",
    )
    folding = Folding(database, log)
    await folding.fold(PROJECT, "s")
    assert ask(database_url, "select count(*) from statements") == [(5,)]
    read = [message async for message in Transcript(database, log, folding).all(PROJECT, "s")]
    assert [message.tool_call_id for message in read[1:]] == [tool["toolCallId"] for tool in tools]
    assert [json.loads(message.body)["toolCall"]["title"] for message in read[1:]] == [tool["title"] for tool in tools]


@pytest.mark.parametrize("at_once", [1, 1000])
async def test_the_messages_are_those_of_the_fixture_wherever_a_fold_ran(
    database: Database, database_url: str, at_once: int
) -> None:
    log = Log(database)
    folding = Folding(database, log)
    projects = Projects(database)
    for number, case in enumerate(CASES):
        project = f"p{number}"
        await projects.create("local", NewProject(id=project, container_url="http://127.0.0.1:4096"))
        ask(
            database_url,
            "insert into agent_sessions (project_id, id, user_id, agent_id, status)"
            f" values ('{project}', 'ses_1', 'u', 'a', 'active')",
        )
        # No log has a heartbeat.
        events = [event_of(event) for event in case.events if event["type"] != "heartbeat"]
        # With what clears a history nothing else is appended.
        cuts = [place for place, event in enumerate(events) if event.type == SessionCleared.type]
        starts = sorted({*range(0, len(events), at_once), *cuts, *(place + 1 for place in cuts)})
        for start, end in pairwise([*starts, len(events)]):
            await log.append(LogId(project), [new(event, project) for event in events[start:end]])
            await folding.fold(project, "ses_1")
        await folding.settle(project, "ses_1")
        transcript = Transcript(database, log, folding)
        read = [json.loads(b"".join(one.to_json())) async for one in transcript.all(project, "ses_1")]
        numbers = {str(event.seq): str(place) for place, event in enumerate(events, start=1)}
        assert read == [{**message, "id": numbers[message["id"]]} for message in case.messages], case.name


def new(event: Event, project: str) -> NewEvent:
    members = {"session_id": event.session_id, "turn_id": event.turn_id, "at": event.at}
    which = {"project_id": project, "session_id": event.session_id}
    effects = (Effect("set_cleared", which), Effect("delete_messages", which))
    effects = effects if event.type == SessionCleared.type else ()
    return NewEvent(type=event.type, data=event.data, effects=effects, **members)
