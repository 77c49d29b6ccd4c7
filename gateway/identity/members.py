"""Members of projects and their roles. The owner is always admin, and is not stored as a member."""

from collections.abc import Callable
from datetime import datetime

import attrs

from gateway.db.pool import Database, Row, Transaction
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
        """``on_changed`` invalidates caches."""
        self._database = database
        self._on_changed = on_changed

    async def list_all(self, project_id: str) -> list[Member]:
        """The owner first, then by time of joining."""
        return await self._list(project_id, self._database)

    async def get(self, project_id: str, user_id: str) -> Member:
        return await self._get(project_id, user_id, self._database)

    def changed(self) -> None:
        """To be called after each change, to invalidate caches."""
        self._on_changed()

    async def _list(self, project_id: str, reader: Database | Transaction) -> list[Member]:
        rows = await reader.fetch_all("list_members", project_id=project_id)
        return [Member.from_row(row) for row in rows]

    async def _get(self, project_id: str, user_id: str, reader: Database | Transaction) -> Member:
        row = await reader.fetch_one("get_member", project_id=project_id, user_id=user_id)
        if row is None:
            raise MemberNotFound(f"{user_id[:100]!r} is not a member of this project.")
        return Member.from_row(row)

    async def put(
        self, project_id: str, user_id: str, role: Role, *, by: str, within: Transaction
    ) -> tuple[Member, Role | None]:
        """Add a member or change their role; returns the former one, None if they are new.

        ``by`` must be an admin at that moment. Once it is committed, call ``changed``.
        """
        row = await within.fetch_one(
            "put_member", project_id=project_id, user_id=user_id, role=role.word, by=by, most=MAX_MEMBERS
        )
        if row is not None:
            former = row["former_role"]
            return Member.from_row(row), None if former is None else Role.named(former)
        found = {member.user_id: member for member in await self._list(project_id, within)}
        if user_id in found and found[user_id].is_owner:
            raise OwnerIsAdmin(f"{user_id!r} owns the project, and always is its admin.")
        if user_id not in found and len(found) > MAX_MEMBERS:
            raise TooManyMembers(f"A project has at most {MAX_MEMBERS} members.")
        raise ProjectNotFound()

    async def remove(self, project_id: str, user_id: str, *, by: str, within: Transaction) -> Role:
        """Remove a member; returns the role that they had. ``by`` is an admin or the member.

        Once it is committed, call ``changed``.
        """
        row = await within.fetch_one("remove_member", project_id=project_id, user_id=user_id, by=by)
        if row is not None:
            return Role.named(row["role"])
        if (await self._get(project_id, user_id, within)).is_owner:
            raise OwnerIsAdmin(f"{user_id!r} owns the project and cannot leave it; the project can be deleted.")
        raise ProjectNotFound()
