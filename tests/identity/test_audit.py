"""The audit: who did what to which project, with what outcome; written before the answer, and never changed."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import attrs
import psycopg2
import pytest
from aiohttp import web

from gateway.config.schema import IdentityConfig
from gateway.identity import audit
from gateway.identity.room import IDENTITY
from tests.identity.conftest import ADMIN, OPERATOR, OWNER, STRANGER, VIEWER
from tests.identity.tokens import alter
from tests.middleware.conftest import ask_raw
from tests.proxy.peers import serve
from tests.world import PROXIED, QUICK, Gateway, GatewayProcess, Project


async def entries(project: Project, query: str = "") -> list[Any]:
    """Newest first."""
    answer = await project.gateway.call("GET", f"{project.path}/audit{query}")
    assert answer.status == 200, answer.body
    found: list[Any] = answer.json["entries"]
    return found


def told(entry: Any) -> tuple[str, str, str, int]:
    return entry["userId"], f"{entry['method']} {entry['path']}", entry["outcome"], entry["status"]


async def test_what_changes_a_project_is_noted_with_who_did_it_by_the_time_it_is_answered(project: Project) -> None:
    await project.gateway.call("PATCH", project.path, {"name": "ours"})
    answer = await project.as_user(OPERATOR).call("POST", "/session", {})
    [made, changed, *before] = await entries(project)
    assert told(changed) == (OWNER, f"PATCH {project.path}", "done", 200)
    assert told(made) == (OPERATOR, f"POST {project.acp}/session", "done", 201)
    assert made["requestId"] == answer.headers["X-Request-Id"]
    assert (made["mode"], made["tokenId"], made["address"]) == ("proxy", None, "127.0.0.1")
    assert [told(entry)[1] for entry in before][-1] == "POST /api/projects"


async def test_what_is_passed_through_is_noted_too(project: Project) -> None:
    await project.as_user(OPERATOR).gateway.call("POST", f"{project.path}/opencode/session?secret=1", {})
    [passed] = await entries(project, "?limit=1")
    assert passed["path"] == f"{project.path}/opencode/session"


async def test_a_websocket_is_noted_before_it_is_open_on_each_host(project: Project) -> None:
    async def shell(request: web.Request) -> web.WebSocketResponse:
        sock = web.WebSocketResponse()
        await sock.prepare(request)
        async for message in sock:
            await sock.send_str(message.data)
        return sock

    gateway = project.as_user(OPERATOR).gateway
    async with serve(shell) as upstream:
        address = str(upstream)
        await project.gateway.call("PATCH", project.path, {"containerUrl": address, "acpUrl": address})
        [before, *_] = await entries(project)
        for path, host in (
            (f"{project.path}/opencode/pty/1/connect?secret=1", "localhost"),
            (f"{project.path}/acp/pty", "localhost"),
            ("/pty/1", "demo.localhost"),
        ):
            headers = {**gateway.headers, "Host": host}
            async with gateway.http.ws_connect(gateway.url + path, headers=headers):
                [opened, last] = await entries(project, "?limit=2")
                assert told(opened) == (OPERATOR, f"GET {path.partition('?')[0]}", "done", 101)
                assert last["id"] == before["id"]
            before = opened
        # What is not switched is read, and what is refused is noted as ever.
        handshake = {"Upgrade": "websocket", "Connection": "Upgrade"}
        assert (await gateway.call("GET", f"{project.path}/opencode/pty", headers=handshake)).status == 400
        refused = await gateway.call(
            "GET", f"{project.path}/opencode/pty", headers=handshake | {"Origin": "https://evil.example"}
        )
        assert refused.status == 403
        [last] = await entries(project, "?limit=1")
        assert last["id"] == before["id"]


async def test_what_is_done_on_a_projects_own_host_is_noted(project: Project) -> None:
    gateway = project.as_user(OPERATOR).gateway
    await gateway.call("POST", "/session/x/abort", {}, headers={"Host": "demo.localhost"})
    [passed] = await entries(project, "?limit=1")
    assert told(passed)[:3] == (OPERATOR, "POST /session/x/abort", "done" if passed["status"] < 400 else "refused")


async def test_an_entry_that_cannot_be_stored_costs_no_other(gateway: Gateway, project: Project) -> None:
    [before, *_] = await entries(project)
    notes, whole = gateway.app[IDENTITY].audit, attrs.fields(audit.Entry)
    known = {field.name: None for field in whole} | {"project_id": project.id, "method": "PUT", "repeats": 0}
    new = [
        audit.Entry(**known | {"path": path, "outcome": "done", "request_id": path, "address": address})
        for path, address in (("/first", None), ("/second", "\udcff"), ("/third", None))
    ]
    await asyncio.gather(*(notes.note(entry) for entry in new))
    assert [entry["path"] for entry in await entries(project, "?limit=3")] == ["/third", "/first", before["path"]]


async def test_an_address_that_is_none_costs_no_entry(project: Project) -> None:
    fields = (f"X-Forwarded-User: {OWNER}", "X-Forwarded-For: \udcff\udcfe", "Content-Type: application/json")
    answer = await ask_raw(project.gateway, f"PATCH {project.path}", *fields, body=b'{"name": "new"}')
    assert answer.status == 200
    [changed] = await entries(project, "?limit=1")
    assert (told(changed), changed["address"]) == ((OWNER, f"PATCH {project.path}", "done", 200), "127.0.0.1")


async def test_reading_is_not_noted_and_writes_nothing(project: Project, database_url: str) -> None:
    count = "select count(*) from audit_entries"
    before = alter(database_url, count)
    for path in ("", "/members", "/acp/session", "/acp/agents", "/opencode/x"):
        await project.gateway.call("GET", project.path + path)
    assert alter(database_url, count) == before


async def test_refusals_are_noted_reading_ones_too(project: Project) -> None:
    for user_id, method, path, status in (
        (VIEWER, "POST", f"{project.acp}/session", 403),
        (VIEWER, "GET", f"{project.path}/audit", 403),
        (STRANGER, "GET", project.path, 404),
        (OWNER, "DELETE", f"{project.path}/members/nobody", 404),
    ):
        assert (await project.gateway.as_user(user_id).call(method, path)).status == status
        async with asyncio.timeout(5):
            while told(newest := (await entries(project, "?limit=1"))[0])[1] != f"{method} {path}":
                assert newest
        assert told(newest) == (user_id, f"{method} {path}", "refused", status)
        assert newest["code"]


async def test_the_same_refusal_again_and_again_is_one_entry_that_counts(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = project.gateway.as_user(STRANGER)
    for _ in range(20):
        await stranger.call("GET", project.path)
    await project.gateway.call("PATCH", project.path, {"name": "marker"})
    of_hers = [entry for entry in await entries(project) if entry["userId"] == STRANGER]
    assert [entry["repeats"] for entry in of_hers] == [0]
    monkeypatch.setattr(audit, "REPEAT_SECONDS", 0.0)
    await stranger.call("GET", project.path)
    await project.gateway.call("PATCH", project.path, {"name": "marker"})
    of_hers = [entry for entry in await entries(project) if entry["userId"] == STRANGER]
    assert [entry["repeats"] for entry in of_hers] == [19, 0]


async def test_only_admins_read_it(project: Project) -> None:
    for user_id, status in ((OWNER, 200), (ADMIN, 200), (OPERATOR, 403), (VIEWER, 403), (STRANGER, 404)):
        answer = await project.gateway.as_user(user_id).call("GET", f"{project.path}/audit")
        assert answer.status == status


async def test_pages_go_from_the_newest_back_to_the_first(project: Project) -> None:
    for number in range(7):
        await project.gateway.call("PATCH", project.path, {"name": f"name {number}"})
    whole = await entries(project)
    seen: list[Any] = []
    query = "?limit=3"
    while query:
        page = (await project.gateway.call("GET", f"{project.path}/audit{query}")).json
        seen += page["entries"]
        query = f"?limit=3&after={page['next']}" if page["next"] else ""
    assert [entry["id"] for entry in seen] == [entry["id"] for entry in whole]
    assert len(seen) >= 8
    numbers = [int(entry["id"]) for entry in seen]
    assert numbers == sorted(numbers, reverse=True)


async def test_a_deletion_is_noted_and_another_project_of_the_same_id_does_not_show_it(
    gateway: Gateway, project: Project, database_url: str
) -> None:
    assert (await project.gateway.call("DELETE", project.path)).status == 204
    deletion = "select user_id, outcome from audit_entries where project_id = 'demo' and method = 'DELETE'"
    assert alter(database_url, deletion) == [(OWNER, "done")]
    again = await gateway.as_user(STRANGER).register("http://127.0.0.1:1", id=project.id)
    assert [told(entry)[1] for entry in await entries(again)] == ["POST /api/projects"]


@pytest.mark.parametrize(
    "statement",
    [
        "update audit_entries set user_id = 'somebody else'",
        "update audit_entries set id = default",
        "delete from audit_entries",
        "truncate audit_entries",
    ],
)
async def test_an_entry_cannot_be_changed_or_taken_away(project: Project, database_url: str, statement: str) -> None:
    before = await entries(project)
    assert before
    with pytest.raises(psycopg2.Error, match="audit entries are not changed"):
        alter(database_url, statement)
    assert await entries(project) == before


async def test_entries_are_kept_for_as_long_as_is_configured(
    database_url: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = (
        "insert into audit_entries (project_id, at, method, path, outcome, request_id)"
        " select 'demo', now() - days * interval '1 day', 'PUT', '/' || days, 'done', 'r'"
        " from unnest(array[5, 9, 20, 400]) days"
    )
    alter(database_url, insert)
    identity = attrs.evolve(PROXIED.identity, audit_days=10)
    async with GatewayProcess(database_url, attrs.evolve(PROXIED, identity=identity)).run() as gateway:
        # It sweeps after it has written, the first time at once.
        await gateway.as_user(OWNER).call("PATCH", project.path, {"name": "x"})
        kept = "select path from audit_entries where method = 'PUT' and path not like '/api%' order by path"
        async with asyncio.timeout(5):
            while len(rows := alter(database_url, kept)) > 2:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.05)
    assert rows == [("/5",), ("/9",)]


async def test_a_project_that_does_not_exist_has_no_audit_for_strangers_to_fill(
    gateway: Gateway, database_url: str
) -> None:
    for number in range(5):
        assert (await gateway.as_user(STRANGER).call("DELETE", f"/api/projects/made-up-{number}")).status == 404
    made = await gateway.as_user(STRANGER).register("http://127.0.0.1:1")
    await made.gateway.call("PATCH", made.path, {"name": "x"})
    assert alter(database_url, "select count(*) from audit_entries where project_id like 'made-up%'") == [(0,)]


@pytest.fixture
async def with_tokens(database_url: str) -> AsyncIterator[Gateway]:
    identity = IdentityConfig(modes=("tokens",))
    async with GatewayProcess(database_url, attrs.evolve(QUICK, identity=identity)).run() as running:
        yield running


async def test_a_failed_sign_in_is_noted_without_what_was_shown(
    with_tokens: Gateway, database_url: str, commands: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for headers in ({"Authorization": "Bearer acpgw_canary"}, {}):
        assert (await with_tokens.call("GET", "/api/projects?q=canary", headers=headers)).status == 401
    made = commands.json("create", "--user", "alice")
    alice = with_tokens.sending(Authorization=f"Bearer {made['token']}")
    await alice.register("http://127.0.0.1:1")
    rows = alter(database_url, "select to_jsonb(e) from audit_entries e order by id")
    [failed, registered] = [row[0] for row in rows]
    assert (failed["user_id"], failed["outcome"], failed["code"]) == (None, "refused", "unauthenticated")
    assert (registered["user_id"], registered["token_id"]) == ("alice", made["id"])
    assert "canary" not in str(rows) + caplog.text
    assert made["token"] not in str(rows) + caplog.text
