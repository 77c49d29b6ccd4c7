"""Generated from the route table: each route, tried as nobody, as a stranger, in each role, and with others' ids.

A new route is tried by itself. What the test cannot know of it, it asks for: a path parameter that is new, a body
without which the call is refused before anything is looked up, or that it is to answer anybody.
"""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.identity.roles import Role
from gateway.web.destination import ENDPOINT_OF
from gateway.web.routes import ENDPOINTS
from tests.fakes.container import Agent, FakeContainer
from tests.fakes.opencode import FakeOpenCode
from tests.identity.calls import (
    OF_OTHERS,
    OTHERS,
    WITH_PROJECT,
    call,
    code,
    described,
    path_of,
    tries,
)
from tests.identity.conftest import MEMBERS, OPERATOR, OWNER, STRANGER, VIEWER
from tests.identity.tokens import alter
from tests.world import Gateway, Project

#: What answers anybody, and why it may.
PUBLIC = {
    "/healthz": "probes have no account",
    "/readyz": "probes have no account",
    "/metrics": "is limited by address and token, see gateway/web/handlers/operations.py",
    "/api/sign-in": "is opened by the link that it is sent",
    "/openapi.json": "tells of the API what its documentation tells",
    "/docs": "a page that is the same for everybody, and shows what /openapi.json tells",
    "/docs/{name}": "files that are the same for everybody",
    "/": "leads to the console",
    "/console": "a page that is the same for everybody, and asks the API for what it shows",
    "/console/{path:.*}": "files that are the same for everybody",
    "/api/projects/{project_id}/acp/agents/{agent_id}/auth/callback": "a browser that a provider sends has but a state",
    "/api/oauth/callback/{provider_id}": "a browser that a provider sends has but a state",
    "/api/oauth/login/{ticket}": "is opened by the ticket in its path",
    "/api/oauth/problem/{code}": "a page that is the same for everybody",
}


def test_what_answers_anybody_is_named_here_with_its_reason() -> None:
    public = {endpoint.path for endpoint in ENDPOINTS if endpoint.is_public}
    assert public <= set(PUBLIC), "a route that asks nobody who they are must say here why it may"


def test_each_route_of_a_project_wants_a_role() -> None:
    assert [described(one) for one in WITH_PROJECT if one.role is None] == []


async def test_the_router_has_no_route_that_is_not_in_the_table(gateway: Gateway) -> None:
    assert set(gateway.app.router.routes()) == set(gateway.app[ENDPOINT_OF])
    assert all(endpoint in ENDPOINTS for endpoint in gateway.app[ENDPOINT_OF].values())


async def test_nobody_is_let_in_without_saying_who_they_are(gateway: Gateway, project: Project) -> None:
    for endpoint, method in tries(WITH_PROJECT + OTHERS):
        answer = await call(gateway, endpoint, method, path_of(endpoint, project_id=project.id))
        assert answer.status == 401, f"{method} {endpoint.path}"
        assert answer.headers["WWW-Authenticate"]
    # On the project's own host as well.
    assert (await gateway.call("GET", "/", headers={"Host": f"{project.id}.localhost"})).status == 401


async def test_a_stranger_finds_nothing_by_any_route(project: Project, base_container: FakeContainer) -> None:
    stranger = project.as_user(STRANGER).gateway
    asked = len(base_container.requests)
    for endpoint, method in tries(WITH_PROJECT):
        answer = await call(stranger, endpoint, method, path_of(endpoint, project_id=project.id))
        assert (answer.status, code(answer)) in ((404, "project_not_found"), (404, None)), f"{method} {endpoint.path}"
        assert answer.body == b"" or code(answer) == "project_not_found"
    host = await stranger.call("GET", "/", headers={"Host": f"{project.id}.localhost"})
    assert (host.status, code(host)) == (404, "project_not_found")
    assert len(base_container.requests) == asked


@pytest.mark.parametrize("user_id", [OWNER, *MEMBERS])
async def test_a_role_may_what_the_table_says_and_no_more(
    project: Project, user_id: str, opencode: FakeOpenCode
) -> None:
    # Where OpenCode is not recorded its stream is passed through, which is for operators as all that is.
    changes = {"recordOpencodeEvents": True, "containerUrl": opencode.url}
    assert (await project.as_user(OWNER).gateway.call("PATCH", project.path, changes)).status == 200
    role = Role.named(MEMBERS.get(user_id, "admin"))
    gateway = project.as_user(user_id).gateway
    for endpoint, method in tries(WITH_PROJECT):
        answer = await call(gateway, endpoint, method, path_of(endpoint, project_id=project.id))
        place = f"{method} {endpoint.path}: {answer.status} {answer.body[:200]!r}"
        assert endpoint.role is not None
        least = OF_OTHERS.get(described(endpoint), endpoint.role)
        if role < least:
            assert answer.status == 403, place
            assert method == "HEAD" or code(answer) == "insufficient_role", place
        else:
            assert answer.status != 401, place
            assert code(answer) not in ("insufficient_role", "project_not_found", "unauthenticated"), place
            assert answer.status < 500 or answer.status in (501, 502, 503), place


@pytest.fixture
async def opencode() -> AsyncIterator[FakeOpenCode]:
    async with FakeOpenCode() as server:
        yield server


@pytest.fixture
async def hers(gateway: Gateway) -> AsyncIterator[Project]:
    """A project of the stranger's own, in which she is admin."""
    async with FakeContainer() as container:
        yield await gateway.as_user(STRANGER).register(
            container.url, id="hers", containerUrl=container.url, defaultAgentId="demo"
        )


#: What each id is that belongs to somebody else's project, as ``others`` makes it.
async def others(project: Project, container: FakeContainer, database_url: str) -> dict[str, str]:
    container.agents["private"] = Agent(id="private", name="Private")
    session_id = await project.create_session()
    turn = await project.prompt(session_id, "say hello")
    alter(
        database_url,
        "insert into permissions (project_id, id, container_request_id, request_key, session_id, tool_call, options,"
        f" state) values ('{project.id}', 'prm_private', 'r', 'k', '{session_id}', '{{}}', '[]', 'waiting')",
    )
    return {
        "session_id": session_id,
        "turn_id": turn["turnId"],
        "permission_id": "prm_private",
        "agent_id": "private",
        "user_id": VIEWER,
    }


async def test_somebody_elses_ids_are_nowhere_in_ones_own_project(
    project: Project, hers: Project, base_container: FakeContainer, database_url: str
) -> None:
    theirs = await others(project, base_container, database_url)
    own = {"session_id": await hers.create_session()}
    before = _all_of(database_url, project.id)
    for endpoint, method in tries(WITH_PROJECT):
        names = set(re.findall(r"\{(\w+)", endpoint.path)) - {"project_id", "tail"}
        if endpoint.path.endswith("{tail:(?s:.*)}") or not names:
            continue
        for ids in ({**theirs}, {**theirs, **own}) if len(names) > 1 else (theirs,):
            if (method, "user_id") == ("PUT", *names):
                # Anybody may be made a member, whoever knows them.
                continue
            answer = await call(hers.gateway, endpoint, method, path_of(endpoint, project_id=hers.id, **ids))
            if "{agent_id}/auth" in endpoint.path:
                # An account is its user's own, for an agent by whatever name: the same as for one that is nowhere.
                nowhere = await call(hers.gateway, endpoint, method, path_of(endpoint, project_id=hers.id))
                assert answer.status == nowhere.status, described(endpoint)
                assert answer.body.replace(b"private", b"nowhere")[:60] == nowhere.body[:60]
                continue
            place = f"{method} {endpoint.path} with {ids}: {answer.status} {answer.body[:200]!r}"
            assert answer.status == 404, f"{place}; where its body is what is wrong, BODIES has to have a good one"
            assert code(answer) != "project_not_found", place
    assert _all_of(database_url, project.id) == before


async def test_somebody_elses_ids_are_nowhere_in_bodies_and_queries_either(
    project: Project, hers: Project, base_container: FakeContainer, database_url: str
) -> None:
    theirs = await others(project, base_container, database_url)
    ticket = await hers.call("POST", "/events/ticket", {"sessionId": theirs["session_id"]})
    assert (ticket.status, code(ticket)) == (404, "session_not_found")
    assert (await hers.call("GET", f"/session?after={theirs['session_id']}")).status == 400
    assert (await hers.gateway.call("GET", f"/api/projects?after={project.id}")).status == 400
    session = await hers.create_session()
    cancelled = await hers.call("POST", f"/session/{session}/cancel", {"turnId": theirs["turn_id"]})
    assert (cancelled.status, code(cancelled)) == (404, "turn_not_found")


async def test_an_idempotency_key_is_its_users_own(project: Project) -> None:
    key = {"Idempotency-Key": "same"}
    made = [
        (await project.as_user(user_id).call("POST", "/session", {}, headers=key)).json["id"]
        for user_id in (OWNER, OPERATOR, OWNER, OPERATOR)
    ]
    assert made[0] == made[2] != made[1] == made[3]


def _all_of(url: str, project_id: str) -> list[Any]:
    """What a project has, but for what changes by itself."""
    rows = alter(url, f"select id, title, status from agent_sessions where project_id = '{project_id}' order by id")
    rows += alter(url, f"select id, state from turns where project_id = '{project_id}' order by id")
    rows += alter(url, f"select id, state from permissions where project_id = '{project_id}' order by id")
    rows += alter(url, f"select user_id, role from project_members where project_id = '{project_id}' order by user_id")
    return rows
