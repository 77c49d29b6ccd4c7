"""Projects through the API: made, found, listed, changed, removed."""

import asyncio
import re
from itertools import product
from typing import Any

import pytest

from tests.fakes.container import FakeContainer
from tests.fakes.eventually import eventually
from tests.handlers.expected import problem, rows
from tests.world import Gateway, Project, data_of

ADDRESS = "http://127.0.0.1:4096"
POLICY = {"permissionMode", "permissionRules", "permissionTimeout"}
ADDRESSES = {"containerUrl", "acpUrl"}
MEMBERS = {
    "id",
    "name",
    *ADDRESSES,
    "defaultAgentId",
    "retention",
    *POLICY,
    "recordOpencodeEvents",
    "hasContainerToken",
    "opencodeUsername",
    "hasOpencodePassword",
    "ownerId",
    "role",
    "createdAt",
    "updatedAt",
}
WRONG_ADDRESSES = [
    ("", "http://"),
    ("127.0.0.1:4096", "http://"),
    ("ftp://h", "http://"),
    ("HTTP:/h", "http://"),
    ("http://", "host"),
    ("http://:4096", "host"),
    ("http://h:0", "port"),
    ("http://h:65536", "port"),
    ("http://h:four", "port"),
    ("http://[::1", "host"),
    ("http://user:geheim@h", "user name or password"),
    ("http://h?x=geheim", "query"),
    ("http://h/#top", "fragment"),
    ("http://h/a/../b", "segments"),
    ("http://h a/", "spaces"),
    ("http://h/\u0001", "ASCII"),
    ("http://bücher.test", "ASCII"),
    ("http://h/%zz\r\nX: y", "ASCII"),
]
WRONG_POLICIES: list[tuple[Any, str]] = [
    ({"permissionMode": "auto"}, "$.permissionMode: must be one of ask, accept-edits, full-auto"),
    ({"permissionMode": None}, "$.permissionMode: must be a string, not null"),
    ({"permissionTimeout": 0.5}, "$.permissionTimeout: must be from 1 to 604800"),
    ({"permissionTimeout": 604_801}, "$.permissionTimeout: must be from 1 to 604800"),
    ({"permissionTimeout": "5"}, "$.permissionTimeout: must be a number"),
    ({"permissionRules": {}}, "$.permissionRules: must be a list"),
    ({"permissionRules": [{"kind": "edit"}]}, "$.permissionRules[0].action: missing"),
    ({"permissionRules": [{"kind": "edit", "action": "allow", "path": "/"}]}, "$.permissionRules[0].path: unknown"),
    ({"permissionRules": [{"kind": "write", "action": "allow"}]}, "$.permissionRules[0].kind: must be one of *, read"),
    (
        {"permissionRules": [{"kind": "*", "action": "ask"}, {"kind": "*", "action": "yes"}]},
        "$.permissionRules[1].action: must be one of allow, reject, ask",
    ),
    ({"permissionRules": [{"kind": "*", "action": "ask"}] * 101}, "$.permissionRules: must have at most 100 entries"),
]
WRONG_BODIES: list[tuple[Any, str]] = [
    ({}, "$.containerUrl: missing"),
    ({"containerUrl": None}, "$.containerUrl: must be a string, not null"),
    ({"containerUrl": ADDRESS, "colour": 1}, "$.colour: unknown (known here: id, name, containerUrl"),
    ({"containerUrl": ADDRESS, "container_url": ADDRESS}, "$.container_url: unknown"),
    ({"containerUrl": ADDRESS, "name": ""}, "$.name: must have 1 to 200 characters"),
    ({"containerUrl": ADDRESS, "name": "x" * 201}, "$.name: must have 1 to 200 characters"),
    ({"containerUrl": ADDRESS, "name": 5}, "$.name: must be a string, not a number"),
    ({"containerUrl": ADDRESS, "defaultAgentId": ""}, "$.defaultAgentId: must have 1 to 255 characters"),
    ({"containerUrl": ADDRESS, "ownerId": "me"}, "$.ownerId: unknown"),
    *(({"containerUrl": ADDRESS, **wrong}, says) for wrong, says in WRONG_POLICIES),
]
WRONG_PATCHES: list[tuple[Any, str]] = [
    ({"id": "q"}, "$.id: unknown (known here: name, containerUrl, acpUrl, defaultAgentId, retention, permissionMode"),
    ({"ownerId": "q"}, "$.ownerId: unknown"),
    ({"name": None}, "$.name: must be a string, not null"),
    ({"containerUrl": None}, "$.containerUrl: must be a string, not null"),
    ({"containerUrl": "h"}, "$.containerUrl: the address must begin with http"),
    ({"retention": {"maxAgeDays": 0}}, "$.retention.maxAgeDays: must be from 1 to 36500"),
    ({"retention": {"maxBytes": -1}}, "$.retention.maxBytes: must be from 1 to"),
    ({"retention": {"maxAgeDays": "5"}}, "$.retention.maxAgeDays: must be"),
    ({"retention": {"days": 5}}, "$.retention.days: unknown (known here: maxAgeDays, maxBytes)"),
    ({"retention": 5}, "$.retention: must be"),
    ({"name": "fine", "acpUrl": "h"}, "$.acpUrl: the address must begin with http"),
    *WRONG_POLICIES,
]
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def made(gateway: Gateway, **members: Any) -> dict[str, Any]:
    answer = await gateway.call("POST", "/api/projects", {"containerUrl": ADDRESS, **members})
    assert answer.status == 201, answer.body
    project: dict[str, Any] = answer.json
    return project


async def test_a_project_is_made_under_the_id_that_is_chosen_and_found_where_location_says(gateway: Gateway) -> None:
    body = {"id": "web-1", "name": "The web", "containerUrl": ADDRESS, "acpUrl": "http://h:1", "defaultAgentId": "demo"}
    answer = await gateway.call("POST", "/api/projects", body)
    assert (answer.status, answer.headers["Location"]) == (201, "/api/projects/web-1")
    project = answer.json
    assert set(project) == MEMBERS
    assert {name: project[name] for name in body} == body
    assert project["ownerId"] == "local"
    assert INSTANT.fullmatch(project["createdAt"])
    assert project["updatedAt"] == project["createdAt"]
    found = await gateway.call("GET", answer.headers["Location"])
    assert (found.status, found.json) == (200, project)


async def test_an_id_is_made_where_none_is_chosen_and_the_name_is_the_id(gateway: Gateway) -> None:
    first, second = await made(gateway), await made(gateway, id=None, name=None, acpUrl=None, defaultAgentId=None)
    assert first["id"] != second["id"]
    for project in (first, second):
        assert re.fullmatch(r"[a-z0-9-]{1,64}", project["id"])
        assert (project["name"], project["acpUrl"], project["defaultAgentId"]) == (project["id"], None, None)


async def test_ids_of_every_allowed_shape(gateway: Gateway) -> None:
    for id in ("a", "-", "0", "a" * 64):
        assert (await made(gateway, id=id))["id"] == id
        assert (await gateway.call("GET", f"/api/projects/{id}")).json["id"] == id


async def test_an_id_of_another_shape_is_refused_by_name(gateway: Gateway) -> None:
    for id in ("", "A", "a" * 65, "a b", "a_b", "a/b", "a.b", "..", "ä", "a\n", "١", "%61", "' or 1=1 --"):
        answer = await gateway.call("POST", "/api/projects", {"id": id, "containerUrl": ADDRESS})
        problem(answer, 400, "invalid_body", says="$.id: must be 1 to 64 of a-z, 0-9 and -")


async def test_an_id_can_be_had_once(gateway: Gateway) -> None:
    first = await made(gateway, id="taken", name="first")
    answer = await gateway.call("POST", "/api/projects", {"id": "taken", "containerUrl": ADDRESS})
    problem(answer, 409, "project_exists", says="taken")
    assert (await gateway.call("GET", "/api/projects/taken")).json == first


async def test_a_wrong_address_is_refused_with_its_place_and_what_is_wrong(gateway: Gateway) -> None:
    for member, (address, says) in product(("containerUrl", "acpUrl"), WRONG_ADDRESSES):
        answer = await gateway.call("POST", "/api/projects", {"id": "p", "containerUrl": ADDRESS, member: address})
        detail = problem(answer, 400, "invalid_body", says=says)["detail"]
        assert detail.startswith(f"$.{member}: ")
        assert "geheim" not in detail
    problem(await gateway.call("GET", "/api/projects/p"), 404, "project_not_found")


async def test_a_wrong_member_is_named_with_its_place(gateway: Gateway) -> None:
    for body, says in WRONG_BODIES:
        problem(await gateway.call("POST", "/api/projects", body), 400, "invalid_body", says=says)


async def test_projects_are_listed_oldest_first_page_by_page(gateway: Gateway) -> None:
    ids = [(await made(gateway, id=f"p{number}"))["id"] for number in (3, 1, 4, 5, 9, 2, 6)]
    for limit in (1, 2, 3, 7, 200):
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            page = (
                await gateway.call("GET", f"/api/projects?limit={limit}" + (f"&after={after}" if after else ""))
            ).json
            assert len(page["projects"]) <= limit
            seen += [project["id"] for project in page["projects"]]
            after = page["next"]
        assert seen == ids


async def test_no_projects_are_an_empty_list(gateway: Gateway) -> None:
    answer = await gateway.call("GET", "/api/projects")
    assert (answer.status, answer.json) == (200, {"projects": [], "next": None})


async def test_a_page_after_something_unknown_is_refused_and_not_empty(gateway: Gateway) -> None:
    await made(gateway, id="p1")
    for after in ("nobody", "%00", "", "%ff", "a" * 3000):
        problem(await gateway.call("GET", f"/api/projects?after={after}"), 400, "invalid_parameter", says="after")


async def test_what_a_patch_leaves_out_stays_and_null_takes_away(gateway: Gateway) -> None:
    before = await made(gateway, id="p", name="old", acpUrl="http://h:1", defaultAgentId="demo")
    renamed = await gateway.call("PATCH", "/api/projects/p", {"name": "new"})
    assert renamed.status == 200
    assert renamed.json == before | {"name": "new", "updatedAt": renamed.json["updatedAt"]}
    assert renamed.json["updatedAt"] > before["updatedAt"]
    cleared = await gateway.call("PATCH", "/api/projects/p", {"acpUrl": None, "defaultAgentId": None})
    assert cleared.json == renamed.json | {
        "acpUrl": None,
        "defaultAgentId": None,
        "updatedAt": cleared.json["updatedAt"],
    }
    moved = await gateway.call("PATCH", "/api/projects/p", {"containerUrl": "https://[::1]:5/x"})
    assert (moved.json["containerUrl"], moved.json["name"]) == ("https://[::1]:5/x", "new")
    assert (await gateway.call("GET", "/api/projects/p")).json == moved.json


async def test_a_patch_that_changes_nothing_changes_nothing(gateway: Gateway) -> None:
    before = await made(gateway, id="p")
    answer = await gateway.call("PATCH", "/api/projects/p", {})
    assert (answer.status, answer.json) == (200, before)


async def test_a_wrong_patch_changes_nothing(gateway: Gateway) -> None:
    before = await made(gateway, id="p")
    for body, says in WRONG_PATCHES:
        problem(await gateway.call("PATCH", "/api/projects/p", body), 400, "invalid_body", says=says)
    assert (await gateway.call("GET", "/api/projects/p")).json == before


async def test_an_unknown_project_is_404(gateway: Gateway) -> None:
    for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
        problem(await gateway.call(method, "/api/projects/nobody", body), 404, "project_not_found", says="'nobody'")


async def test_an_id_may_be_percent_encoded_in_the_path(gateway: Gateway, base_container: FakeContainer) -> None:
    await gateway.register(base_container.url, id="web-1")
    assert (await gateway.call("GET", "/api/projects/w%65b%2D1")).json["id"] == "web-1"
    assert (await gateway.call("GET", "/api/projects/w%65b%2D1/acp/health")).json["success"] is True


async def test_a_deleted_project_leaves_no_row_and_ends_its_streams(
    gateway: Gateway, base_container: FakeContainer, database_url: str
) -> None:
    other = await gateway.register(base_container.url, id="other", defaultAgentId="demo")
    await other.prompt(await other.create_session(), "say hi")
    project = await gateway.register(base_container.url, defaultAgentId="demo")
    session = await project.create_session()
    await project.prompt(session, "think a\ntool\nsay b")
    await project.call("GET", "/agents")
    assert all(rows(database_url, of_project="demo")[table] for table in ("events", "agent_sessions", "turns"))
    async with project.events() as stream, project.events(session) as second:
        answer = await gateway.call("DELETE", "/api/projects/demo")
        assert (answer.status, answer.body) == (204, b"")
        for open_stream in (stream, second):
            with pytest.raises(EOFError):
                await open_stream.next()
    problem(await gateway.call("DELETE", "/api/projects/demo"), 404, "project_not_found")
    await eventually(lambda: not any(rows(database_url, of_project="demo").values()))
    assert (await gateway.call("GET", "/api/projects")).json["projects"][0]["id"] == "other"
    assert len(await other.all_events()) > 0


async def test_a_deleted_projects_id_begins_anew(gateway: Gateway, base_container: FakeContainer) -> None:
    project = await gateway.register(base_container.url)
    await project.prompt(await project.create_session(), "say old")
    await gateway.call("DELETE", "/api/projects/demo")
    project = await gateway.register(base_container.url)
    assert (await project.call("GET", "/session?includeEnded")).json["sessions"] == []
    session = await project.create_session()
    await project.prompt(session, "say new")
    assert next(event.event for event in await project.all_events(session)) == "session_created"
    assert [message["role"] for message in await project.messages(session)] == ["user", "assistant"]


async def test_a_project_deleted_while_a_turn_runs_stays_deleted(
    gateway: Gateway, base_container: FakeContainer, database_url: str
) -> None:
    project = await gateway.register(base_container.url)
    session = await project.create_session()
    async with project.events(session) as stream:
        await project.prompt(session, "say on\nslow 60", wait=None)
        await stream.until("session_update")
        assert (await gateway.call("DELETE", "/api/projects/demo")).status == 204
    base_container.emit("session_update", {"update": {}}, session_id=next(iter(base_container.sessions)))
    await eventually(lambda: not base_container.streams)
    assert not any(rows(database_url, of_project="demo").values())


async def test_a_cursor_of_a_deleted_project_is_none_of_the_new_ones(base_project: Project, gateway: Gateway) -> None:
    session = await base_project.create_session()
    await base_project.prompt(session, "say old")
    old = (await base_project.all_events(session))[1].id
    container_url = (await gateway.call("GET", "/api/projects/demo")).json["acpUrl"]
    await gateway.call("DELETE", "/api/projects/demo")
    project = await gateway.register(container_url, defaultAgentId="demo")
    await project.prompt(await project.create_session(), "say new")
    async with project.events(last_event_id=old) as stream:
        reset = await stream.next()
    assert (reset.event, data_of(reset)["reason"]) == ("reset", "other_epoch")


async def test_a_project_deleted_while_a_session_is_made_is_404(
    base_project: Project, gateway: Gateway, base_container: FakeContainer, database_url: str
) -> None:
    await base_project.create_session()
    base_container.freeze()
    asked = len(base_container.requests)
    making = asyncio.create_task(base_project.call("POST", "/session", {}))
    await eventually(lambda: len(base_container.requests) > asked)
    await gateway.call("DELETE", "/api/projects/demo")
    base_container.thaw()
    problem(await making, 404, "project_not_found")
    assert not any(rows(database_url, of_project="demo").values())


async def test_a_project_says_how_much_of_its_log_is_kept(gateway: Gateway) -> None:
    assert (await made(gateway, id="p"))["retention"] is None
    kept = (await made(gateway, id="q", retention={"maxAgeDays": 30}))["retention"]
    assert kept == {"maxAgeDays": 30, "maxBytes": None}
    for rule in ({"maxAgeDays": None, "maxBytes": 1}, {"maxAgeDays": 1, "maxBytes": 2**60}, None):
        changed = await gateway.call("PATCH", "/api/projects/q", {"retention": rule})
        assert changed.json["retention"] == rule
        assert (await gateway.call("PATCH", "/api/projects/q", {"name": "n"})).json["retention"] == rule
