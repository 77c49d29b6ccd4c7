"""Members of a project: who they are, what each may do, and that everybody else sees no project at all."""

from typing import Any

import pytest

from tests.identity.conftest import ADMIN, MEMBERS, OPERATOR, OWNER, STRANGER, VIEWER
from tests.world import Answer, Gateway, Project


async def put(project: Project, user_id: str, role: Any) -> Answer:
    return await project.gateway.call("PUT", f"{project.path}/members/{user_id}", {"role": role})


async def remove(project: Project, user_id: str) -> Answer:
    return await project.gateway.call("DELETE", f"{project.path}/members/{user_id}")


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["code"]


async def test_the_owner_comes_first_and_members_in_the_order_in_which_they_were_added(project: Project) -> None:
    for user_id in (OWNER, VIEWER):
        answer = await project.as_user(user_id).gateway.call("GET", f"{project.path}/members")
        shown = [(one["userId"], one["role"], one["owner"], one["addedBy"]) for one in answer.json["members"]]
        assert shown == [
            (OWNER, "admin", True, None),
            *((user, role, False, OWNER) for user, role in MEMBERS.items()),
        ]


async def test_a_member_sees_the_project_with_their_own_role(project: Project) -> None:
    for user_id, role in {OWNER: "admin", **MEMBERS}.items():
        gateway = project.gateway.as_user(user_id)
        one = (await gateway.call("GET", project.path)).json
        listed = (await gateway.call("GET", "/api/projects")).json["projects"]
        assert (one["id"], one["ownerId"], one["role"]) == (project.id, OWNER, role)
        assert listed == [one]
    assert (await project.gateway.as_user(STRANGER).call("GET", "/api/projects")).json["projects"] == []


async def test_a_stranger_finds_nothing(project: Project) -> None:
    stranger = project.as_user(STRANGER)
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"name": "mine"}),
        ("DELETE", "", None),
        ("GET", "/members", None),
        ("PUT", f"/members/{STRANGER}", {"role": "admin"}),
        ("DELETE", f"/members/{OPERATOR}", None),
        ("GET", "/acp/events", None),
        ("GET", "/acp/whatever", None),
        ("GET", "/opencode/", None),
    ):
        assert told(await stranger.gateway.call(method, project.path + path, body)) == (404, "project_not_found")
    assert len((await project.gateway.call("GET", f"{project.path}/members")).json["members"]) == 4


async def test_each_role_may_what_it_may_and_is_told_what_it_lacks(project: Project) -> None:
    viewer, operator, admin = (project.as_user(user_id) for user_id in (VIEWER, OPERATOR, ADMIN))
    assert (await viewer.call("GET", "/session")).status == 200
    refused = await viewer.call("POST", "/session", {"agentId": "demo"})
    assert told(refused) == (403, "insufficient_role")
    assert (refused.json["role"], refused.json["needed"]) == ("viewer", "operator")
    assert (await operator.call("POST", "/session", {"agentId": "demo"})).status == 201
    refused = await operator.gateway.call("PATCH", project.path, {"name": "ours"})
    assert told(refused) == (403, "insufficient_role")
    assert (await admin.gateway.call("PATCH", project.path, {"name": "ours"})).json["name"] == "ours"
    assert (await admin.gateway.call("DELETE", project.path)).status == 204
    assert told(await project.gateway.call("GET", project.path)) == (404, "project_not_found")


async def test_a_change_of_role_counts_from_the_next_request_on(project: Project) -> None:
    olga = project.as_user(OPERATOR)
    assert (await olga.call("POST", "/session", {"agentId": "demo"})).status == 201
    assert (await put(project, OPERATOR, "viewer")).status == 200
    assert told(await olga.call("POST", "/session", {"agentId": "demo"})) == (403, "insufficient_role")
    assert (await remove(project, OPERATOR)).status == 204
    assert told(await olga.call("GET", "/session")) == (404, "project_not_found")
    assert (await put(project, OPERATOR, "admin")).status == 201
    assert (await olga.gateway.call("PATCH", project.path, {"name": "mine"})).status == 200


async def test_only_admins_change_members_and_everybody_may_leave(project: Project) -> None:
    for user_id in (VIEWER, OPERATOR):
        member = project.as_user(user_id)
        assert told(await put(member, user_id, "admin")) == (403, "insufficient_role")
        assert told(await remove(member, ADMIN)) == (403, "insufficient_role")
        assert (await remove(member, user_id)).status == 204
        assert told(await member.gateway.call("GET", project.path)) == (404, "project_not_found")
    assert (await put(project.as_user(ADMIN), "newcomer", "viewer")).json["addedBy"] == ADMIN
    assert (await remove(project.as_user(ADMIN), ADMIN)).status == 204


async def test_the_owner_stays_admin_whatever_happens(project: Project) -> None:
    for asks in (OWNER, ADMIN):
        member = project.as_user(asks)
        assert told(await put(member, OWNER, "viewer")) == (409, "owner_is_admin")
        assert told(await remove(member, OWNER)) == (409, "owner_is_admin")
    assert (await project.gateway.call("GET", project.path)).json["role"] == "admin"


async def test_members_who_are_none_are_404(project: Project) -> None:
    path = f"{project.path}/members/nobody"
    assert told(await project.gateway.call("GET", path)) == (404, "member_not_found")
    assert told(await remove(project, "nobody")) == (404, "member_not_found")


@pytest.mark.parametrize("user_id", ["rule", "timeout", "container", "gateway", "%20a", "a%00b", "a%0Ab", "x" * 201])
async def test_who_can_be_nobody_is_refused_with_why(project: Project, user_id: str) -> None:
    answer = await put(project, user_id, "viewer")
    assert told(answer) == (400, "invalid_parameter")
    assert "is not a valid user id" in answer.json["detail"]


async def test_a_users_id_may_have_any_other_form(project: Project) -> None:
    for quoted in ("auth0%7C5f7c8ec7c33c6c004bbafe82", "bob%40example.com", "Ren%C3%A9%20M", "a%2Fb", "x" * 200):
        answer = await put(project, quoted, "viewer")
        assert answer.status == 201
        assert (await project.gateway.call("GET", answer.headers["Location"])).json == answer.json
        assert (await remove(project, quoted)).status == 204


@pytest.mark.parametrize("body", [{}, {"role": "owner"}, {"role": "Admin"}, {"role": 3}, {"role": "admin", "x": 1}])
async def test_what_is_no_role_is_refused_with_what_is_one(project: Project, body: Any) -> None:
    answer = await project.gateway.call("PUT", f"{project.path}/members/{VIEWER}", body)
    assert told(answer) == (400, "invalid_body")


async def test_pages_of_projects_have_owned_and_shared_ones_in_one_order(gateway: Gateway) -> None:
    alice, bob = gateway.as_user("alice"), gateway.as_user("bob")
    for number in range(6):
        owner = bob if number % 2 else alice
        project = await owner.register(
            "http://127.0.0.1:1", id=f"p{number}", containerUrl=f"http://10.0.0.{number}", acpUrl=None
        )
        if owner is alice:
            await put(project, "bob", "viewer")
    seen: list[str] = []
    query = "?limit=2"
    while query:
        page = (await bob.call("GET", f"/api/projects{query}")).json
        seen += [one["id"] for one in page["projects"]]
        query = f"?limit=2&after={page['next']}" if page["next"] else ""
    assert seen == [f"p{number}" for number in range(6)]
