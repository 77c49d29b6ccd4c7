"""Generated from the route table: each route, tried with API tokens that are limited to a role or to projects.

A new route of a project is tried by itself. One without a project says in the table what it wants of a limited token
(``of_user``), or here what it keeps from one.
"""

from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

from gateway.config.schema import IdentityConfig
from gateway.identity.roles import Role
from gateway.identity.tokens import NewToken, Tokens
from gateway.web.keys import DATABASE
from gateway.web.routes import ENDPOINTS, Endpoint
from tests.fakes.container import Agent, FakeContainer
from tests.fakes.provider import FakeProvider
from tests.identity.calls import OF_OTHERS, OTHERS, WITH_PROJECT, call, code, described, path_of, tries
from tests.identity.tokens import alter
from tests.oauth.conftest import with_providers
from tests.world import QUICK, Gateway, GatewayProcess, Project

SECRET = "sk-ant-api03-of-alice-and-nobody-else-1"
#: What a route that concerns no one project keeps from a limited token by itself; tried below.
FILTERED = {"GET /api/projects"}
#: These concern the token itself; one that came by no sign-in link is told so.
OF_TOKEN = {"DELETE /api/sign-in"}
LIMITS: dict[str, dict[str, Any]] = {
    "viewer": {"max_role": Role.VIEWER},
    "operator": {"max_role": Role.OPERATOR},
    "one project": {"projects": frozenset({"mine"})},
    "viewer of one project": {"max_role": Role.VIEWER, "projects": frozenset({"mine"})},
}


@pytest.fixture
async def gateway(database_url: str) -> AsyncIterator[Gateway]:
    async with FakeProvider() as provider:
        config = attrs.evolve(QUICK, identity=IdentityConfig(modes=("tokens",)))
        async with GatewayProcess(database_url, with_providers(config, example=provider.table())).run() as running:
            yield running


async def bearing(gateway: Gateway, **limits: Any) -> Gateway:
    """As alice, with a token of these limits."""
    _, text = await Tokens(gateway.app[DATABASE]).create(NewToken(user_id="alice", **limits))
    return gateway.sending(Authorization=f"Bearer {text}")


@pytest.fixture
async def mine(gateway: Gateway, base_container: FakeContainer) -> Project:
    """Alice's, seen with a token of hers that has no limit; she has another project, and accounts."""
    base_container.agents["claude-code"] = Agent(id="claude-code", name="Claude Code")
    alice = await bearing(gateway)
    await alice.register("http://127.0.0.1:1", id="other")
    project = await alice.register(base_container.url, id="mine", containerUrl=base_container.url)
    for agent in ("claude-code", "gemini"):
        stored = await project.call("POST", f"/agents/{agent}/auth/token", {"token": SECRET.replace("ant", agent[:3])})
        assert stored.status in (200, 400), stored.body
    return project


def expected(endpoint: Endpoint, limits: dict[str, Any], project_id: str | None) -> tuple[int, str] | None:
    """How the call is refused for the token's limits; None where it is not."""
    role, projects = limits.get("max_role", Role.ADMIN), limits.get("projects")
    if project_id is not None and projects is not None and project_id not in projects:
        return 404, "project_not_found"
    # OpenCode's events are not recorded here, so they are passed on, which is for operators.
    least = Role.OPERATOR if endpoint.is_passed_on else OF_OTHERS.get(described(endpoint), endpoint.role)
    if least is not None and role < least:
        return 403, "insufficient_role"
    if endpoint.of_user is not None and projects is not None:
        return 403, "token_limited"
    if endpoint.of_user is not None and role < endpoint.of_user:
        return 403, "insufficient_role"
    return None


def everything(url: str) -> list[Any]:
    """What a limited token must not change."""
    rows = alter(url, "select user_id, agent_id, version from agent_auth_tokens order by 1, 2")
    rows += alter(url, "select id, container_url, acp_url from projects order by 1")
    return rows + alter(url, "select id, state from pending_logins order by 1")


def test_each_route_without_a_project_says_what_it_wants_of_a_limited_token() -> None:
    unknown = {described(one) for one in OTHERS if one.of_user is None} - FILTERED - OF_TOKEN
    assert unknown == set(), "say of_user in the route table, or add the route to FILTERED and try it here"


def test_whatever_changes_an_account_wants_a_token_without_limits() -> None:
    changing = {described(one) for one in ENDPOINTS if "/auth" in one.path and one.method != "GET"}
    assert changing == {described(one) for one in WITH_PROJECT if one.of_user is not None}


@pytest.mark.parametrize("limit", LIMITS)
async def test_a_limited_token_is_limited_on_every_route(
    gateway: Gateway, mine: Project, database_url: str, limit: str
) -> None:
    limits = LIMITS[limit]
    caller = await bearing(gateway, **limits)
    before = everything(database_url)
    for project_id in ("other", "mine"):
        for endpoint, method in tries(WITH_PROJECT):
            refusal = expected(endpoint, limits, project_id)
            if refusal is None and (project_id == "other" or method == "DELETE"):
                # What it may do in all projects is tried in one of them, and what would take that away is not.
                continue
            answer = await call(caller, endpoint, method, path_of(endpoint, project_id=project_id))
            place = f"{method} {endpoint.path}: {answer.status} {answer.body[:200]!r}"
            if refusal is None:
                assert code(answer) not in ("insufficient_role", "token_limited", "project_not_found"), place
            else:
                assert answer.status == refusal[0], place
                assert method == "HEAD" or code(answer) == refusal[1], place
        if "projects" in limits or limits["max_role"] < Role.OPERATOR:
            assert everything(database_url) == before
    for endpoint, method in tries(OTHERS):
        answer = await call(caller, endpoint, method, path_of(endpoint))
        refusal = (404, "not_found") if described(endpoint) in OF_TOKEN else expected(endpoint, limits, None)
        place = f"{method} {endpoint.path}: {answer.status} {answer.body[:200]!r}"
        assert answer.status == (200 if refusal is None else refusal[0]), place
        assert method == "HEAD" or code(answer) == (refusal and refusal[1]), place
    seen = {one["id"] for one in (await caller.call("GET", "/api/projects")).json["projects"]}
    assert seen == ({"mine"} if "projects" in limits else {"mine", "other"})


async def test_a_token_of_some_projects_is_told_of_the_accounts_that_count_there(
    gateway: Gateway, mine: Project
) -> None:
    limited = Project(await bearing(gateway, projects=frozenset({"mine"})), mine.id)
    shown = await limited.call("GET", "/agents/claude-code/auth/status")
    assert (shown.status, shown.json["state"]) == (200, "authorized")
    # One that the project's container does not have: the account is none of the project's.
    assert (await mine.call("GET", "/agents/gemini/auth/status")).status == 200
    nowhere = await limited.call("GET", "/agents/gemini/auth/status")
    assert (nowhere.status, nowhere.json["code"]) == (404, "agent_not_found")


@pytest.mark.parametrize("limits", [{"projects": frozenset({"mine"})}, {"max_role": Role.VIEWER}])
async def test_whoever_may_not_connect_an_account_is_not_told_the_code_that_does(
    gateway: Gateway, mine: Project, limits: dict[str, Any]
) -> None:
    begun = await mine.call("POST", "/agents/demo/auth/start", {"flow": "device"})
    assert begun.status == 200, begun.body
    limited = Project(await bearing(gateway, **limits), mine.id)
    for project, is_told in ((mine, True), (limited, False)):
        status = await project.call("GET", "/agents/demo/auth/status")
        assert status.json["state"] == "pending"
        assert (begun.json["userCode"].encode() in status.body) is is_told
        assert ("verificationUri" in status.json["login"]) is is_told
