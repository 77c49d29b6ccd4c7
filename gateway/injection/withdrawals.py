"""Credentials taken back from containers: an account was disconnected, a member left, a project moved or was deleted.

``withdraw_credentials`` in PostgreSQL writes them down in the transaction that takes them away. Any gateway takes them
back, so none is forgotten. Nobody waits long for it: a project may be moved because its container does not answer. It
is tried for more than an hour. A container that stays away keeps what it has until the credential itself ends.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

import attrs

from gateway.container.client import ContainerRefused
from gateway.container.containers import Containers
from gateway.db.due import Driver
from gateway.db.pool import Database, Row
from gateway.errors import GatewayError
from gateway.projects.store import Location

logger = logging.getLogger(__name__)

#: Seconds that one try may take, and after which another gateway goes on with it.
TRY_SECONDS, CLAIM_SECONDS = 20.0, 30.0
#: Seconds between the tries.
PAUSES = (5.0, 30.0, 120.0, 600.0, 3600.0)
AT_ONCE = 20
#: Seconds for the container where the project is now to say who it is.
BOOT_SECONDS = 5.0
#: How long ``hurry`` waits.
HURRY_SECONDS = 10.0


@attrs.frozen(kw_only=True)
class Withdrawal:
    """What one container is to give back."""

    id: int
    location: Location
    #: Whether the project is at another address now; the container may be the same all the same.
    has_moved: bool
    #: Tries that have begun, this one included.
    attempts: int
    #: By agent and owner.
    credentials: Sequence[tuple[str, str]]
    #: Agents whose process has a credential, in the base contract.
    processes: Sequence[str]

    @classmethod
    def from_row(cls, row: Row) -> "Withdrawal":
        return cls(
            id=row["id"],
            location=Location.from_row(row),
            has_moved=row["has_moved"],
            attempts=row["attempts"],
            credentials=[(agent_id, owner) for agent_id, owner in row["credentials"] if owner is not None],
            processes=row["processes"],
        )


class Withdrawals:
    """All of them in one database. Its owner runs ``run`` in a task."""

    def __init__(self, database: Database, containers: Containers) -> None:
        self._database = database
        self._containers = containers
        self._driver = Driver()

    async def run(self) -> None:
        """Take credentials back, until cancelled."""
        await self._driver.run({"withdrawal": self._review})

    async def close(self) -> None:
        """Stop. Another gateway, or the next start, goes on."""
        await self._driver.close()

    async def hurry(self) -> None:
        """Begin at once, and wait some seconds: who disconnects an account may expect that its agents have ended."""
        if tasks := await self._begin():
            await asyncio.wait(tasks, timeout=HURRY_SECONDS)

    async def add(self, location: Location, *, agent_id: str, user_id: str, owner: str | None, has_moved: bool) -> None:
        """A container was given a credential of somebody who must not have agents work there any more."""
        token = location.sealed_container_token
        await self._database.execute(
            "insert_withdrawal",
            project_id=location.id,
            container_url=location.container_url,
            acp_url=location.acp_url,
            sealed_container_token=token and token.ciphertext,
            has_moved=has_moved,
            agent_id=agent_id,
            user_id=user_id,
            owner=owner,
        )

    async def _review(self) -> None:
        await self._begin()

    async def _begin(self) -> Sequence[asyncio.Task[None]]:
        limit = self._driver.free(AT_ONCE)
        rows = await self._database.fetch_all("claim_withdrawals", seconds=CLAIM_SECONDS, limit=limit)
        due = map(Withdrawal.from_row, rows)
        begun = [self._driver.do(f"withdrawal {one.id}", partial(self._try, one)) for one in due]
        return [task for task in begun if task is not None]

    async def _try(self, withdrawal: Withdrawal) -> None:
        key = {"project_id": withdrawal.location.id, "id": withdrawal.id}
        try:
            async with asyncio.timeout(TRY_SECONDS):
                await self._take_back(withdrawal)
        except (GatewayError, TimeoutError) as exc:
            # No more of the address than this: it may have a secret in it.
            host = urlsplit(withdrawal.location.acp_address).hostname
            extra = {"project": withdrawal.location.id, "host": host, "error": str(exc) or type(exc).__name__}
            if withdrawal.attempts <= len(PAUSES):
                logger.info("credentials not taken back from a container yet", extra=extra)
                await self._database.execute("postpone_withdrawal", **key, wait=PAUSES[withdrawal.attempts - 1])
                return
            logger.warning("credentials not taken back from a container", extra=extra)
        await self._database.execute("delete_withdrawal", **key)

    async def _take_back(self, withdrawal: Withdrawal) -> None:
        container = await self._containers.identify(withdrawal.location)
        boot_id = container.boot_id
        if withdrawal.has_moved and boot_id is not None and boot_id == await self._boot_of(withdrawal.location.id):
            # It is the same one, by another name.
            return
        # A refusal, of an agent that is not there any more say, would come again.
        with suppress(ContainerRefused):
            await container.take_back(withdrawal.credentials, withdrawal.processes)

    async def _boot_of(self, project_id: str) -> str | None:
        """The boot of the project's container, where that can be had."""
        try:
            async with asyncio.timeout(BOOT_SECONDS):
                return (await self._containers.identify(await self._containers.project(project_id))).boot_id
        except (GatewayError, TimeoutError):
            return None
