"""Changes of state are events: open pages show them at once, and later readers find them in the history."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.program import run_to_end
from tests.story.conftest import Session
from tests.world import EventStream, Project, data_of

SECRET = "a-secret-of-the-container"


@asynccontextmanager
async def watching(session: Session) -> AsyncIterator[tuple[EventStream, EventStream]]:
    """The project's stream, and the session's, from here on."""
    cursor = (await session.project.call("GET", f"/session/{session.id}")).json["cursor"]
    async with (
        session.project.events(last_event_id=cursor) as whole,
        session.project.events(session.id, last_event_id=cursor) as own,
    ):
        yield whole, own


async def rename(session: Session, title: str | None) -> Any:
    answer = await session.project.call("PATCH", f"/session/{session.id}", {"title": title})
    assert answer.status == 200, answer.body
    return answer.json


async def change(project: Project, **members: Any) -> Any:
    answer = await project.gateway.call("PATCH", project.path, members)
    assert answer.status == 200, answer.body
    return answer.json


async def export(session: Session, form: str) -> str:
    answer = await session.project.call("GET", f"/session/{session.id}/export?format={form}")
    return answer.body.decode()


async def test_a_new_title_is_told_to_every_stream_and_stands_in_every_history(session: Session) -> None:
    await session.events_of(["say", "before", 1])
    async with watching(session) as streams:
        shown = await rename(session, "Mend the parser")
        assert shown["title"] == "Mend the parser"
        data = {"title": "Mend the parser", "formerTitle": None, "renamedBy": "local"}
        for stream in streams:
            assert data_of((await stream.until("session_renamed"))[-1]) == data
    await session.events_of(["say", "after", 1])
    messages = await session.project.messages(session.id)
    assert [one["role"] for one in messages] == ["user", "assistant", "event", "user", "assistant"]
    assert (messages[2]["event"], messages[2]["data"]) == ("session_renamed", data)
    assert (await session.project.call("GET", f"/session/{session.id}/snapshot")).json["messages"] == messages
    assert [json.loads(line) for line in (await export(session, "jsonl")).splitlines()] == messages
    assert "*local calls the session “Mend the parser”.*" in await export(session, "markdown")


async def test_titles_that_are_given_at_once_are_told_in_an_order_that_ends_with_the_one_that_stays(
    session: Session,
) -> None:
    titles = [f"title {number}" for number in range(8)]
    await asyncio.gather(*(rename(session, title) for title in titles))
    await rename(session, (await rename(session, "last"))["title"])
    told = [data_of(one) for one in await session.project.all_events(session.id) if one.event == "session_renamed"]
    assert sorted(one["title"] for one in told) == sorted([*titles, "last"])
    assert [one["formerTitle"] for one in told] == [None, *(one["title"] for one in told[:-1])]
    assert told[-1]["title"] == "last"


async def test_who_cleared_a_history_is_told_and_stands_where_it_begins(session: Session) -> None:
    await session.events_of(["say", "before", 1])
    async with watching(session) as streams:
        await session.project.call("DELETE", f"/session/{session.id}/messages")
        for stream in streams:
            assert data_of((await stream.until("session_cleared"))[-1]) == {"clearedBy": "local"}
    await session.events_of(["say", "after", 1])
    messages = await session.project.messages(session.id)
    assert [one["role"] for one in messages] == ["event", "user", "assistant"]
    assert messages[0]["event"] == "session_cleared"
    text = await export(session, "markdown")
    assert "*local cleared the history before this.*" in text
    assert "before\n" not in text


@pytest.mark.parametrize(
    "changes",
    [
        {"permissionMode": "full-auto"},
        {"permissionRules": [{"kind": "read", "action": "allow"}], "permissionTimeout": 60.0},
        {"defaultAgentId": "demo"},
        {"name": "The shop", "retention": {"maxAgeDays": 5, "maxBytes": None}},
    ],
)
async def test_a_change_of_a_project_is_told_with_what_was_before(session: Session, changes: dict[str, Any]) -> None:
    former = (await session.project.gateway.call("GET", session.project.path)).json
    async with watching(session) as (whole, own):
        await change(session.project, **changes)
        event = (await whole.until("project_changed"))[-1]
        assert (await own.until("project_changed"))[-1] == event
    assert event in await session.project.all_events(session.id)
    told = data_of(event)
    assert sorted(told["changed"]) == sorted(changes)
    assert told["settings"] == changes
    assert told["former"] == {name: former[name] for name in changes}
    assert told["changedBy"] == "local"


async def test_a_change_that_changes_nothing_is_not_told(session: Session) -> None:
    async with watching(session) as (whole, _):
        shown = await change(session.project, name="demo", permissionMode="ask")
        await change(session.project, name=shown["name"])
        await change(session.project, name="another")
        assert data_of((await whole.until("project_changed"))[0])["settings"] == {"name": "another"}


async def test_of_addresses_and_secrets_no_more_is_told_than_that_they_have_changed(session: Session) -> None:
    async with watching(session) as (whole, _):
        await change(session.project, acpUrl="http://127.0.0.1:5999", containerToken=SECRET)
        event = (await whole.until("project_changed"))[-1]
    told = data_of(event)
    assert (told["changed"], told["settings"], told["former"]) == (["acpUrl", "containerToken"], {}, {})
    assert SECRET not in event.data
    assert "5999" not in event.data


async def test_members_come_go_and_are_given_roles_as_events(session: Session) -> None:
    path = f"{session.project.path}/members/olga"
    call = session.project.gateway.call
    async with watching(session) as (whole, _):
        for role in ("viewer", "operator", "operator"):
            assert (await call("PUT", path, {"role": role})).status in (200, 201)
        assert (await call("DELETE", path)).status == 204
        told = [(event.event, data_of(event)) for event in await whole.until("member_removed")]
    assert told == [
        ("member_added", {"userId": "olga", "role": "viewer", "addedBy": "local"}),
        (
            "member_role_changed",
            {"userId": "olga", "role": "operator", "formerRole": "viewer", "changedBy": "local"},
        ),
        ("member_removed", {"userId": "olga", "role": "operator", "removedBy": "local"}),
    ]


async def test_what_a_restored_backup_has_lost_is_a_gap_in_every_history(
    session: Session, database_url: str, tmp_path: Path
) -> None:
    await session.events_of(["say", "before", 1])
    environ = {"ACP_GATEWAY_DATABASE_URL": database_url}
    restored = await asyncio.to_thread(run_to_end, "migrate", "--restored", directory=tmp_path, environ=environ)
    assert restored.status == 0, restored.stderr
    await session.events_of(["say", "after", 1])
    messages = await session.project.messages(session.id)
    assert [one["role"] for one in messages] == ["user", "assistant", "event", "user", "assistant"]
    assert (messages[2]["event"], messages[2]["data"]["reason"]) == ("gap", "restored_from_backup")
    assert "restored from a backup" in await export(session, "markdown")


def called(title: str | None) -> list[Any]:
    return ["update", {"sessionUpdate": "session_info_update", "title": title}]


async def test_an_agent_titles_a_session_that_nobody_else_has(session: Session) -> None:
    async def title() -> tuple[str | None, str | None]:
        shown = (await session.project.call("GET", f"/session/{session.id}")).json
        [listed] = (await session.project.call("GET", "/session")).json["sessions"]
        snapshot = (await session.project.call("GET", f"/session/{session.id}/snapshot")).json["session"]
        for one in (listed, snapshot):
            assert (one["title"], one["titledBy"]) == (shown["title"], shown["titledBy"])
        return shown["title"], shown["titledBy"]

    assert await title() == (None, None)
    await session.events_of(["say", "first", 1], called("Mend\n the parser\x00"))
    assert await title() == ("Mend the parser\ufffd", "agent")
    await session.events_of(called("x" * 1000))
    assert await title() == ("x" * 500, "agent")
    for kept in ({"sessionUpdate": "session_info_update"}, {"sessionUpdate": "session_info_update", "title": ["no"]}):
        await session.events_of(["update", kept])
        assert await title() == ("x" * 500, "agent")
    await session.events_of(called(None))
    assert await title() == (None, None)
    await session.events_of(called("Mend the lexer"))
    assert (await rename(session, "Ours"))["titledBy"] == "user"
    await session.events_of(called("Something else"), called(None))
    assert await title() == ("Ours", "user")
    await rename(session, None)
    await session.events_of(called("Mend the lexer"))
    assert await title() == ("Mend the lexer", "agent")
    for title_of_ours in ("Mend the lexer", "Ours", "Mend the lexer"):
        assert (await rename(session, title_of_ours))["titledBy"] == "user"
        await session.events_of(called("Something else"))
        assert await title() == (title_of_ours, "user")
