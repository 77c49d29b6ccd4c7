"""A session that waits for an answer."""

import asyncio

from tests.world import Project


async def waiting_permission(project: Project) -> str:
    """The id of the one that waits, once it does."""
    while not (waiting := (await project.call("GET", "/permission")).json["permissions"]):  # noqa: ASYNC110 - the gateway sets no event of ours
        await asyncio.sleep(0.05)
    permission_id: str = waiting[0]["id"]
    return permission_id
