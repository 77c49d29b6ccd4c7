"""Who may append what a container says: a lease by the database's clock, with a fence that each append checks.

A paused owner neither blocks takeover nor writes afterwards: its lease runs out, and its fence is stale.
"""

import attrs

from gateway.db.pool import Database


@attrs.frozen(kw_only=True)
class Lease:
    """A lease that this process was given."""

    project_id: str
    fence: int


class Leases:
    """All containers' leases in one database, as ``holder`` (unique for a process) takes and keeps them."""

    def __init__(self, database: Database, *, holder: str, seconds: float) -> None:
        self._database = database
        self._holder = holder
        self.seconds = seconds

    async def acquire(self, project_id: str) -> Lease | None:
        """The lease; None while somebody else holds it."""
        row = await self._database.fetch_one(
            "acquire_lease", project_id=project_id, holder=self._holder, seconds=self.seconds
        )
        return Lease(project_id=project_id, fence=row["fence"]) if row and row["fence"] is not None else None

    async def renew(self, lease: Lease) -> bool:
        """False: it is lost."""
        row = await self._database.fetch_one("renew_lease", seconds=self.seconds, **self._key(lease))
        return row is not None

    async def expire_all(self) -> None:
        """Before the only gateways on a database start: whoever held a lease is gone."""
        await self._database.execute("expire_leases")

    async def release(self, lease: Lease) -> None:
        await self._database.execute("release_lease", **self._key(lease))

    async def last_source(self, project_id: str) -> str | None:
        """What was followed last: a container's boot, or the name for streams without numbers."""
        row = await self._database.fetch_one("get_lease", project_id=project_id)
        return row["source"] if row else None

    async def is_connected(self, project_id: str) -> bool:
        """Whether anybody is reading the container's stream."""
        row = await self._database.fetch_one("get_lease", project_id=project_id)
        return bool(row and row["held"] and row["connected"])

    async def connected(self, lease: Lease, source: str) -> None:
        await self._database.execute("set_lease_connected", connected=True, source=source, **self._key(lease))

    async def disconnected(self, lease: Lease) -> None:
        await self._database.execute("set_lease_connected", connected=False, source=None, **self._key(lease))

    def _key(self, lease: Lease) -> dict[str, object]:
        return {"project_id": lease.project_id, "holder": self._holder, "fence": lease.fence}
