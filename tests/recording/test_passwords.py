"""OpenCode with a password: whatever the gateway asks of it has the project's own, which nobody is shown."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.db.things import ask
from tests.fakes.container import FakeContainer
from tests.fakes.opencode import FakeOpenCode
from tests.world import Gateway, Project

SECRET = "a password: of OpenCode's"


@pytest.fixture
async def opencode() -> AsyncIterator[FakeOpenCode]:
    async with FakeOpenCode(password=SECRET) as running:
        yield running


@pytest.fixture
async def project(gateway: Gateway, opencode: FakeOpenCode, base_container: FakeContainer) -> Project:
    return await gateway.register(base_container.url, containerUrl=opencode.url, opencodePassword=SECRET)


async def shown(project: Project) -> Any:
    return (await project.gateway.call("GET", project.path)).json


async def change(project: Project, **members: Any) -> Any:
    return await project.gateway.call("PATCH", project.path, members)


async def passed(project: Project, **headers: str) -> int:
    return (await project.gateway.call("GET", f"{project.path}/opencode/path", headers=headers)).status


async def test_every_passed_on_request_has_the_password_for_each_user_and_host(project: Project) -> None:
    assert await passed(project) == 200
    # A client's own never gets there.
    assert await passed(project, Authorization="Basic bWluZTptaW5l") == 200
    host = f"{project.id}.localhost:{urlsplit(project.gateway.url).port}"
    assert (await project.gateway.call("GET", "/path", headers={"Host": host})).status == 200
    await change(project, opencodePassword=None)
    assert await passed(project) == 401


async def test_another_user_name_is_sent_where_the_project_has_one(
    gateway: Gateway, base_container: FakeContainer
) -> None:
    async with FakeOpenCode(username="somebody", password=SECRET) as opencode:
        project = await gateway.register(base_container.url, containerUrl=opencode.url, opencodePassword=SECRET)
        assert await passed(project) == 401
        answer = await change(project, opencodeUsername="somebody")
        assert (answer.json["opencodeUsername"], await passed(project)) == ("somebody", 200)


async def test_events_are_recorded(project: Project, opencode: FakeOpenCode) -> None:
    await change(project, recordOpencodeEvents=True)
    async with project.gateway.http.get(f"{project.gateway.url}{project.path}/opencode/event?from=start") as response:
        assert response.status == 200
        while not opencode.listeners:
            await response.content.readline()
        opencode.say(b'{"type":"session.idle","properties":{}}')
        while b"session.idle" not in (line := await response.content.readline()):
            assert line


async def test_the_password_is_never_shown_and_not_readable_in_the_database(
    project: Project, database_url: str
) -> None:
    for method, body in (
        ("GET", None),
        ("PATCH", {"name": "x"}),
        ("PATCH", {"opencodePassword": SECRET}),
        ("PATCH", {"opencodePassword": SECRET, "name": ""}),
        ("PATCH", {"opencodePassword": [SECRET]}),
    ):
        assert SECRET.encode() not in (await project.gateway.call(method, project.path, body)).body
    assert (await shown(project))["hasOpencodePassword"] is True
    assert "opencodePassword" not in await shown(project)
    [(row,)] = ask(database_url, "select encode(sealed_opencode_password, 'escape') || p::text from projects p")
    assert SECRET not in row
    log = ask(database_url, "select string_agg(encode(payload, 'escape'), '') from events")
    assert SECRET not in str(log)


async def test_a_password_does_not_go_with_its_project_to_another_address(project: Project) -> None:
    answer = await change(project, containerUrl="http://127.0.0.1:5999")
    assert answer.status == 400
    assert answer.json["detail"].startswith("$.opencodePassword: ")
    assert await passed(project) == 200
    async with FakeOpenCode(password="another") as other:
        assert (await change(project, containerUrl=other.url, opencodePassword="another")).status == 200
        assert await passed(project) == 200
        # What does not change where it goes may change alone.
        assert (await change(project, containerUrl=other.url, name="x")).status == 200


async def test_a_password_that_was_moved_in_the_database_does_not_open(project: Project, database_url: str) -> None:
    ask(database_url, "update projects set container_url = 'http://127.0.0.1:1'")
    await change(project, name="looked up anew")
    answer = await project.gateway.call("GET", f"{project.path}/opencode/path")
    assert (answer.status, answer.json["code"]) == (503, "secret_unreadable")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        *(("opencodePassword", value) for value in ("", "line\nbreak", "\u00fcmlaut", "x" * 4097, 7)),
        *(("opencodeUsername", value) for value in ("", "a:b", "line\nbreak", "x" * 201, 7)),
    ],
)
async def test_what_basic_authentication_cannot_carry_is_refused(project: Project, member: str, value: Any) -> None:
    answer = await change(project, **{member: value})
    assert (answer.status, answer.json["code"]) == (400, "invalid_body")
    assert f"$.{member}: " in answer.json["detail"]
