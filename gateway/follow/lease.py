"""Who may append what a container says: a lease by the database's clock, with a fence that each append checks.

A paused owner neither blocks takeover nor writes afterwards: its lease runs out, and its fence is stale. A lease that
has run out while nobody took it is still its holder's, so that a database that was away interrupts nobody.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import attrs

from gateway.container.values import ContainerFacts
from gateway.db.pool import Database
from gateway.log.entries import Effect
from gateway.log.ids import LogId
from gateway.log.store import StaleFence

#: How many leases are taken at once; more than that wait for the next look, here or in another gateway.
MAX_ACQUIRED = 500


@attrs.frozen(kw_only=True)
class Lease:
    """A lease that this process was given."""

    project_id: str
    fence: int
    #: By the loop's clock: until then at least nobody else is given it.
    until: float


class Leases:
    """All containers' leases in one database, as ``holder`` (unique for a process) takes and keeps them."""

    def __init__(self, database: Database, *, holder: str, seconds: float) -> None:
        self._database = database
        self._holder = holder
        self.seconds = seconds

    async def acquire(self, asked: Iterable[str] = (), *, everything: bool = False) -> list[Lease]:
        """The leases that are free and wanted: by a living session, or by who ``asked``.

        ``everything``: those of projects, too, that nobody has followed yet.
        """
        began = asyncio.get_running_loop().time()
        rows = await self._database.fetch_all(
            "acquire_leases",
            holder=self._holder,
            seconds=self.seconds,
            asked=list(asked),
            everything=everything,
            limit=MAX_ACQUIRED,
        )
        until = began + self.seconds
        return [Lease(project_id=row["project_id"], fence=row["fence"], until=until) for row in rows]

    async def renew(self, leases: Sequence[Lease], stored: Mapping[LogId, datetime] | None = None) -> list[Lease]:
        """Those that are kept; what is missing is lost. ``stored``: until when what OpenCode said is stored."""
        began = asyncio.get_running_loop().time()
        known = stored or {}
        rows = await self._database.fetch_all(
            "renew_leases",
            seconds=self.seconds,
            stored_projects=[log_id.project_id for log_id in known],
            stored_logs=[log_id.name for log_id in known],
            stored_ats=list(known.values()),
            **self._keys(leases),
        )
        kept = {(row["project_id"], row["fence"]) for row in rows}
        return [
            attrs.evolve(lease, until=began + self.seconds)
            for lease in leases
            if (lease.project_id, lease.fence) in kept
        ]

    async def release(self, leases: Sequence[Lease]) -> None:
        await self._database.execute("release_leases", **self._keys(leases))

    async def expire_all(self) -> None:
        """Before the only gateways on a database start: whoever held a lease is gone."""
        await self._database.execute("expire_leases")

    async def last_source(self, project_id: str) -> str | None:
        """What was followed last: a container's boot, or the name for streams without numbers."""
        row = await self._database.fetch_one("get_lease", project_id=project_id)
        return row["source"] if row else None

    async def is_at_work(self, project_id: str, since: datetime) -> bool:
        """Whether one of the project's sessions has a turn, or is being created or revived, or did since then."""
        return await self._database.fetch_one("is_at_work", project_id=project_id, since=since) is not None

    async def is_connected(self, project_id: str) -> bool:
        """Whether anybody is reading the container's stream."""
        row = await self._database.fetch_one("get_lease", project_id=project_id)
        return bool(row and row["held"] and row["connected"])

    async def add_opencode_log(self, log_id: LogId) -> None:
        """Have a stream of OpenCode's recorded from now on, if the project records OpenCode's events."""
        await self._database.execute("insert_opencode_log", **log_id.params)

    async def has_log(self, log_id: LogId) -> bool:
        """Whether there is such a log. One of OpenCode's is there once somebody has asked for the stream."""
        return await self._database.fetch_one("get_head", **log_id.params, former=None) is not None

    async def is_opencode_connected(self, log_id: LogId) -> bool:
        """Whether anybody is reading this stream of OpenCode's."""
        row = await self._database.fetch_one("get_opencode_stream", **log_id.params)
        return bool(row and row["connected"])

    async def opencode_stored_at(self, log_id: LogId) -> datetime | None:
        """When this stream of OpenCode's was last known to be read; None where it never was."""
        row = await self._database.fetch_one("get_opencode_stream", **log_id.params)
        return row["stored_at"] if row else None

    async def claim_opencode_log(self, lease: Lease, log_id: LogId) -> bool:
        """Append to that log alone from here on; False where another holder has come after this one."""
        return await self._database.execute("claim_opencode_log", **self._key(lease), log=log_id.name) > 0

    def opencode_connected(self, lease: Lease, log_id: LogId, *, stored_at: datetime) -> Effect:
        """That a stream of OpenCode's is being read, together with what is said of the break before it."""
        params = {**self._key(lease), "log": log_id.name, "stored_at": stored_at}
        return Effect("set_opencode_connected", params)

    async def opencode_disconnected(self, lease: Lease, log_id: LogId, *, stored_at: datetime | None) -> None:
        """That it is not read any more; without ``stored_at``, what the database says of it stands."""
        await self._database.execute(
            "set_opencode_disconnected", **self._key(lease), log=log_id.name, stored_at=stored_at
        )

    async def connected(self, lease: Lease, source: str, facts: ContainerFacts) -> None:
        """The container's stream is being read; what the container is holds until it is not.

        Raises ``StaleFence`` if the lease was taken away meanwhile.
        """
        noted = await self._database.execute(
            "set_lease_connected",
            source=source,
            boot_id=facts.boot_id,
            capabilities=sorted(facts.capabilities),
            working_directory=facts.working_directory,
            **self._key(lease),
        )
        if not noted:
            raise StaleFence()

    async def disconnected(self, lease: Lease) -> None:
        await self._database.execute("set_lease_disconnected", **self._key(lease))

    def _key(self, lease: Lease) -> dict[str, object]:
        return {"project_id": lease.project_id, "holder": self._holder, "fence": lease.fence}

    def _keys(self, leases: Sequence[Lease]) -> dict[str, object]:
        return {
            "project_ids": [lease.project_id for lease in leases],
            "fences": [lease.fence for lease in leases],
            "holder": self._holder,
        }
