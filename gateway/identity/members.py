"""Members: who besides its owner may use a project, and as what. The owner is its admin always, and no member."""

from collections.abc import Callable
from datetime import datetime

import attrs

from gateway.db.pool import Database, Row
from gateway.errors import MemberNotFound, OwnerIsAdmin, ProjectNotFound, TooManyMembers
from gateway.identity.roles import Role

MAX_MEMBERS = 1000


@attrs.frozen(kw_only=True)
class Member:
    """Somebody who may use a project."""

    user_id: str
    role: Role
    is_owner: bool
    #: Who made them one; None for the owner.
    added_by: str | None
    added_at: datetime

    @classmethod
    def from_row(cls, row: Row) -> "Member":
        return cls(
            user_id=row["user_id"],
            role=Role.named(row["role"]),
            is_owner=row["is_owner"],
            added_by=row["added_by"],
            added_at=row["added_at"],
        )


class Members:
    """The members of all projects in one database. Who may change them is the caller's business."""

    def __init__(self, database: Database, on_changed: Callable[[], None]) -> None:
        """``on_changed`` is told of each change, so that nobody is remembered as what they are no more."""
        self._database = database
        self._on_changed = on_changed

    async def list_all(self, project_id: str) -> list[Member]:
        """The owner first, then in the order in which they were added."""
        rows = await self._database.fetch_all("list_members", project_id=project_id)
        return [Member.from_row(row) for row in rows]

    async def get(self, project_id: str, user_id: str) -> Member:
        row = await self._database.fetch_one("get_member", project_id=project_id, user_id=user_id)
        if row is None:
            raise _no_member(user_id)
        return Member.from_row(row)

    async def put(self, project_id: str, user_id: str, role: Role, *, by: str) -> tuple[Member, bool]:
        """Make somebody a member, or another kind of one; whether they are new.

        ``by`` must still be an admin when it happens.
        """
        row = await self._database.fetch_one(
            "put_member", project_id=project_id, user_id=user_id, role=role.word, by=by, most=MAX_MEMBERS
        )
        self._on_changed()
        if row is not None:
            return Member.from_row(row), row["is_new"]
        found = {member.user_id: member for member in await self.list_all(project_id)}
        if user_id in found and found[user_id].is_owner:
            raise OwnerIsAdmin(f"{user_id!r} owns the project, and is its admin whatever happens.")
        if user_id not in found and len(found) > MAX_MEMBERS:
            raise TooManyMembers(f"A project has at most {MAX_MEMBERS} members.")
        raise ProjectNotFound()

    async def remove(self, project_id: str, user_id: str, *, by: str) -> None:
        """Take somebody's membership away; ``by``: an admin, or they themselves."""
        removed = await self._database.execute("remove_member", project_id=project_id, user_id=user_id, by=by)
        self._on_changed()
        if removed:
            return
        if (await self.get(project_id, user_id)).is_owner:
            raise OwnerIsAdmin(f"{user_id!r} owns the project and cannot leave it; the project can be deleted.")
        raise ProjectNotFound()


def _no_member(user_id: str) -> MemberNotFound:
    return MemberNotFound(f"{user_id[:100]!r} is no member of this project.")
