"""Members of projects and their roles. The owner is always admin, and is not stored as a member."""

from collections.abc import Callable
from datetime import datetime

import attrs

from gateway.db.pool import Database, Row
from gateway.errors import MemberNotFound, OwnerIsAdmin, ProjectNotFound, TooManyMembers
from gateway.identity.roles import Role

MAX_MEMBERS = 1000


@attrs.frozen(kw_only=True)
class Member:
    """A member or the owner."""

    user_id: str
    role: Role
    is_owner: bool
    #: None for the owner.
    added_by: str | None
    added_at: datetime

    @classmethod
    def from_row(cls, row: Row) -> "Member":
        values = {field.name: row[field.name] for field in attrs.fields(cls)}
        return cls(**values | {"role": Role.named(row["role"])})


class Members:
    """The members of all projects. Callers check who may change them."""

    def __init__(self, database: Database, on_changed: Callable[[], None]) -> None:
        """``on_changed`` is called after each change, to invalidate caches."""
        self._database = database
        self._on_changed = on_changed

    async def list_all(self, project_id: str) -> list[Member]:
        """The owner first, then by time of joining."""
        rows = await self._database.fetch_all("list_members", project_id=project_id)
        return [Member.from_row(row) for row in rows]

    async def get(self, project_id: str, user_id: str) -> Member:
        row = await self._database.fetch_one("get_member", project_id=project_id, user_id=user_id)
        if row is None:
            raise MemberNotFound(f"{user_id[:100]!r} is not a member of this project.")
        return Member.from_row(row)

    async def put(self, project_id: str, user_id: str, role: Role, *, by: str) -> tuple[Member, bool]:
        """Add a member or change their role; returns whether they are new. ``by`` must be an admin at that moment."""
        row = await self._database.fetch_one(
            "put_member", project_id=project_id, user_id=user_id, role=role.word, by=by, most=MAX_MEMBERS
        )
        self._on_changed()
        if row is not None:
            return Member.from_row(row), row["is_new"]
        found = {member.user_id: member for member in await self.list_all(project_id)}
        if user_id in found and found[user_id].is_owner:
            raise OwnerIsAdmin(f"{user_id!r} owns the project, and always is its admin.")
        if user_id not in found and len(found) > MAX_MEMBERS:
            raise TooManyMembers(f"A project has at most {MAX_MEMBERS} members.")
        raise ProjectNotFound()

    async def remove(self, project_id: str, user_id: str, *, by: str) -> None:
        """Remove a member; ``by`` is an admin or the member."""
        removed = await self._database.execute("remove_member", project_id=project_id, user_id=user_id, by=by)
        self._on_changed()
        if removed:
            return
        if (await self.get(project_id, user_id)).is_owner:
            raise OwnerIsAdmin(f"{user_id!r} owns the project and cannot leave it; the project can be deleted.")
        raise ProjectNotFound()
