"""Members come and go, and the project's log tells it. Nobody's agents go on working where they may not be."""

from collections.abc import Sequence

from gateway.db.pool import Transaction
from gateway.identity.members import Member, Members
from gateway.identity.roles import Role
from gateway.log.ids import LogId
from gateway.log.store import Log, NewEvent
from gateway.tasks import Tasks
from gateway.wire.events import EventData, MemberAdded, MemberRemoved, MemberRoleChanged


class Membership:
    """Each call is completed even if its caller is cancelled."""

    def __init__(self, members: Members, log: Log, tasks: Tasks) -> None:
        self._members = members
        self._log = log
        self._tasks = tasks

    async def put(self, project_id: str, user_id: str, role: Role, *, by: str) -> tuple[Member, bool]:
        """Make somebody a member, or change their role; whether they are new."""
        return await self._tasks.complete(self._put(project_id, user_id, role, by), name="put member")

    async def remove(self, project_id: str, user_id: str, *, by: str) -> None:
        """End a membership."""
        await self._tasks.complete(self._remove(project_id, user_id, by), name="remove member")

    async def _put(self, project_id: str, user_id: str, role: Role, by: str) -> tuple[Member, bool]:
        async def work(transaction: Transaction) -> tuple[tuple[Member, bool], Sequence[NewEvent]]:
            member, former = await self._members.put(project_id, user_id, role, by=by, within=transaction)
            event: EventData
            if former is None:
                event = MemberAdded(user_id=user_id, role=role.word, added_by=by)
            else:
                event = MemberRoleChanged(user_id=user_id, role=role.word, former_role=former.word, changed_by=by)
            return (member, former is None), [] if former == role else [NewEvent.of(event)]

        put = await self._log.change(LogId(project_id), work)
        self._members.changed()
        return put

    async def _remove(self, project_id: str, user_id: str, by: str) -> None:
        async def work(transaction: Transaction) -> tuple[None, Sequence[NewEvent]]:
            role = await self._members.remove(project_id, user_id, by=by, within=transaction)
            return None, [NewEvent.of(MemberRemoved(user_id=user_id, role=role.word, removed_by=by))]

        await self._log.change(LogId(project_id), work)
        self._members.changed()
