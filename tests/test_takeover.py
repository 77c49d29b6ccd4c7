"""A database from before 0.1.0 is taken over, and all that was in it is there.

``tests/fixtures/before_0_1_0.sql`` is a dump of one with all former migrations, made by the version of then after some
use: two projects, their members, sessions with all kinds of ends, permissions, packed events, recorded events of
OpenCode, credentials, an API token, and what is left of a deleted project. ``before_0_1_0.json`` is what that version
answered to whoever read them.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.config.schema import IdentityConfig, VaultConfig
from gateway.credentials.room import CREDENTIALS
from gateway.db.migrate import MigrationFailed, migrate
from tests.conftest import administer, with_database
from tests.db.things import ask
from tests.fakes.eventually import eventually
from tests.schema import snapshot
from tests.world import QUICK, EventStream, Gateway, GatewayProcess, Project

FIXTURES = Path(__file__).parent / "fixtures"
DUMP = (FIXTURES / "before_0_1_0.sql").read_text("utf-8")
FORMER: Any = json.loads((FIXTURES / "before_0_1_0.json").read_text("utf-8"))
CONFIG = attrs.evolve(
    QUICK,
    identity=IdentityConfig(modes=("tokens", "proxy"), proxy_addresses=("127.0.0.0/8",)),
    vault=VaultConfig(keys=FORMER["key"]),
)


@pytest.fixture
def former_url(server_url: str) -> Iterator[str]:
    """The database of then."""
    name = f"acp_gateway_former_{os.getpid()}"
    administer(server_url, "create database {}", name)
    url = with_database(server_url, name)
    ask(url, DUMP)
    yield url
    administer(server_url, "drop database {} with (force)", name)


@pytest.fixture
async def gateway(former_url: str) -> AsyncIterator[Gateway]:
    """The present version on it."""
    await asyncio.to_thread(migrate, former_url)
    async with GatewayProcess(former_url, CONFIG).run() as running:
        yield running


def asking(gateway: Gateway, user: str) -> Gateway:
    return gateway.sending(Authorization=f"Bearer {FORMER['token']}") if user == "token" else gateway.as_user(user)


def seq_of(event_id: str) -> int:
    return int(event_id.partition("-")[2])


#: An event in an export: in Markdown, sentences that are emphasised; in JSON Lines, a line.
EVENT = re.compile(r'^(?:## [^\n]+\n\n(?:\*[^\n]+\*\n\n)+|\{"id":"\d+","role":"event",[^\n]+\n)', re.MULTILINE)


#: How an export showed a new file with one line that ends, and how it does now.
FORMER_DIFF = ("@@ -0,0 +1,2 @@\n+hello\n+\n", "@@ -0,0 +1 @@\n+hello\n")


def _as_before(body: Any) -> Any:
    """Without what has come since: events among messages, authors, pages of what had none, OpenCode's password,
    agents' modes.
    """
    body = _timeless(body)
    if isinstance(body, dict) and ("credentials" in body or "permissions" in body) and "messages" not in body:
        body = {name: value for name, value in body.items() if name != "next"}
    if isinstance(body, dict) and "messages" in body:
        body = {**body, "messages": [one for one in body["messages"] if one["role"] != "event"]}
        for one in body["messages"]:
            one.pop("author", None)
    for one in _those(body, "project"):
        assert (one.pop("opencodeUsername"), one.pop("hasOpencodePassword")) == (None, False)
    for one in _those(body, "session"):
        assert one.pop("agentMode") is None
        assert one.pop("titledBy") == (None if one["title"] is None else "user")
    return body


def _timeless(body: Any) -> Any:
    """Without the times of sessions' updates: turns count by now."""
    for one in _those(body, "session"):
        one.pop("updatedAt")
    return body


def _those(body: Any, kind: str) -> list[Any]:
    """The projects or sessions in an answer."""
    if not isinstance(body, dict):
        return []
    is_one = {"project": "containerUrl", "session": "credentialUserId"}[kind] in body
    return [body] if is_one else [*body.get(f"{kind}s", ()), *filter(None, [body.get(kind)])]


async def test_all_that_was_stored_is_answered_as_before(gateway: Gateway) -> None:
    for former in FORMER["answers"]:
        answer = await asking(gateway, former["user"]).call("GET", former["path"])
        assert answer.status == former["status"]
        if answer.status == 200:
            is_json = answer.headers["Content-Type"].split(";")[0] == "application/json"
            shown = _as_before(answer.json) if is_json else EVENT.sub("", answer.body.decode())
            assert shown == (_timeless(former["body"]) if is_json else former["body"].replace(*FORMER_DIFF))


async def test_all_events_are_streamed_with_the_ids_that_they_had(gateway: Gateway) -> None:
    for former in FORMER["streams"]:
        events: list[tuple[str, str | None, str]] = []
        async with gateway.http.get(gateway.url + former["path"], headers={"X-Forwarded-User": "ann"}) as response:
            stream = EventStream(response)
            while len(events) < len(former["events"]):
                event = await stream.block()
                # What tells that the stream lives has the id of the event before it.
                if event.id and seq_of(event.id) > (seq_of(events[-1][0]) if events else 0):
                    events.append((event.id, event.event, event.data))
        assert events == [tuple(event) for event in former["events"]]


async def test_what_is_new_follows_what_was_there(gateway: Gateway, agent_host: str) -> None:
    project = Project(gateway.as_user("ann"), "shop")
    moved = await project.gateway.call("PATCH", project.path, {"acpUrl": agent_host})
    assert moved.status == 200, moved.body
    before = (await project.call("GET", "/session")).json["sessions"][0]["cursor"]
    session = await project.create_session()
    assert (await project.prompt(session, "say after"))["turn"]["state"] == "completed"
    epoch, _, seq = before.partition("-")
    async with project.events(last_event_id=before) as stream:
        assert (await stream.next()).id == f"{epoch}-{int(seq) + 1}"


async def test_stored_credentials_open(gateway: Gateway) -> None:
    credentials = gateway.app[CREDENTIALS].store
    for user, agent in (("ann", "demo"), ("bob", "claude")):
        token = await credentials.get_agent_auth_token(user, agent)
        assert token is not None
        assert credentials.open_access_token(token) == f"sk-of-{user}-0123456789abcdef"


async def test_what_is_left_of_a_deleted_project_is_removed(gateway: Gateway, former_url: str) -> None:
    left = "select project_id from deleted_projects union all select project_id from events where project_id ~ '^gone'"
    await eventually(lambda: not ask(former_url, left))


def test_the_audit_keeps_what_it_has(former_url: str) -> None:
    before = ask(former_url, "select * from audit_entries order by id")
    assert before
    migrate(former_url)
    assert ask(former_url, "select * from audit_entries order by id") == before


def test_its_schema_is_that_of_a_new_database(former_url: str, database_url: str) -> None:
    assert migrate(former_url)[-1] == "functions"
    assert snapshot(former_url) == snapshot(database_url)
    noted = "select migration_id from _yoyo_migration order by 1"
    assert ask(former_url, noted) == ask(database_url, noted)


def test_an_older_one_is_refused_with_what_to_start_on_it_first(former_url: str) -> None:
    ask(former_url, "delete from _yoyo_migration where migration_id = '0130_kinds_of_asked_calls'")
    before = snapshot(former_url)
    with pytest.raises(
        MigrationFailed, match=r"newest migration is 0121_browser_sign_ins\. .* commit \w{7} of the source on it first"
    ):
        migrate(former_url)
    assert snapshot(former_url) == before
