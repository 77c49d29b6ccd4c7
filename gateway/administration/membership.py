"""Members come and go. Nobody's agents go on working where they may not be."""

from gateway.identity.members import Member, Members
from gateway.identity.roles import Role
from gateway.tasks import Tasks


class Membership:
    """Each call is completed even if its caller is cancelled."""

    def __init__(self, members: Members, tasks: Tasks) -> None:
        self._members = members
        self._tasks = tasks

    async def put(self, project_id: str, user_id: str, role: Role, *, by: str) -> tuple[Member, bool]:
        """Make somebody a member, or change their role; whether they are new."""
        return await self._tasks.complete(self._members.put(project_id, user_id, role, by=by), name="put member")

    async def remove(self, project_id: str, user_id: str, *, by: str) -> None:
        """End a membership."""
        await self._tasks.complete(self._members.remove(project_id, user_id, by=by), name="remove member")
