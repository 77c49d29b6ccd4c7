"""A project's policy for permissions, and what came of it."""

from typing import Any

from tests.world import EventStream, Project, data_of

OPTIONS = [
    {"optionId": "always", "name": "Always", "kind": "allow_always"},
    {"optionId": "once", "name": "Once", "kind": "allow_once"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]


async def set_policy(project: Project, **members: Any) -> None:
    answered = await project.gateway.call("PATCH", f"/api/projects/{project.id}", members)
    assert answered.status == 200, answered.body
    assert {name: answered.json[name] for name in members} == members


async def resolved(stream: EventStream) -> Any:
    return data_of((await stream.until("permission_resolved"))[-1])
