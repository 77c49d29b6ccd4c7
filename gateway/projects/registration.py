"""Registers the container that is named on the command line, at each start."""

from gateway.errors import ProjectNotFound
from gateway.identity.caller import LOCAL_USER
from gateway.projects.store import OPERATOR, NewProject, Projects


async def register(
    projects: Projects, project_id: str, address: str, *, owner: str | None = None, default_agent_id: str | None = None
) -> None:
    """Point the project at this address; other settings stay, its owner too unless one is given."""
    try:
        known = await projects.get_for_follower(project_id)
    except ProjectNotFound:
        new = NewProject(id=project_id, container_url=address, default_agent_id=default_agent_id)
        await projects.create(owner or LOCAL_USER, new, by_operator=True)
        return
    if known.container_url != address:
        changes = {"container_url": address, "container_token": None, "opencode_password": None}
        await projects.update(known.owner_id, project_id, changes, by_operator=True, told_as=OPERATOR)
    if owner is not None and owner != known.owner_id:
        await projects.give(project_id, owner)
