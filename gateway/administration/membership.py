"""Members come and go. Nobody's agents go on working where they may not be."""

from gateway.identity.members import Member, Members
from gateway.identity.roles import Role
from gateway.injection.injecting import Injecting
from gateway.tasks import Tasks


class Membership:
    """Each call goes on to its end even if its caller is cancelled."""

    def __init__(self, members: Members, injecting: Injecting, tasks: Tasks) -> None:
        self._members = members
        self._injecting = injecting
        self._tasks = tasks

    async def put(self, project_id: str, user_id: str, role: Role, *, by: str) -> tuple[Member, bool]:
        """Make somebody a member, or change their role; whether they are new."""

        async def work() -> tuple[Member, bool]:
            put = await self._members.put(project_id, user_id, role, by=by)
            if role < Role.OPERATOR:
                self._withdraw(project_id, user_id)
            return put

        return await self._tasks.complete(work(), name="put member")

    async def remove(self, project_id: str, user_id: str, *, by: str) -> None:
        """End a membership."""

        async def work() -> None:
            await self._members.remove(project_id, user_id, by=by)
            self._withdraw(project_id, user_id)

        await self._tasks.complete(work(), name="remove member")

    def _withdraw(self, project_id: str, user_id: str) -> None:
        # Not waited for: a container that does not answer must not hold a member's removal up.
        work = self._injecting.withdraw_from(project_id, user_id)
        self._tasks.start(work, name="withdraw member's credentials")
