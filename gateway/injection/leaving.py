"""Containers that projects have left, or that were given too late: it is taken back there, as far as they can be had.

Nobody waits for it: a project may be moved because its container does not answer. So it is tried for a while, in tasks
of their own, and a container that stays away keeps what it has until the credential itself ends.
"""

import asyncio
import logging
from contextlib import suppress
from urllib.parse import urlsplit

from gateway.container.client import ContainerRefused
from gateway.container.containers import Containers
from gateway.errors import GatewayError
from gateway.projects.store import Left
from gateway.tasks import Tasks

logger = logging.getLogger(__name__)

#: Seconds that one try may take, and those before each.
TRY_SECONDS, PAUSES = 20.0, (0.0, 5.0, 30.0)
#: Seconds for the container where the project is now to say who it is.
BOOT_SECONDS = 5.0


class Leaving:
    """Takes credentials back from containers that were left. Owns the tasks that do."""

    def __init__(self, containers: Containers) -> None:
        self._containers = containers
        self._tasks = Tasks()

    def leave(self, left: Left) -> None:
        """Have a container give back what it was given."""
        if left.credentials or any(process["user_id"] is not None for process in left.processes):
            self._tasks.start(self.finish(left), name="take credentials back from a container that was left")

    async def close(self) -> None:
        await self._tasks.close()

    async def finish(self, left: Left) -> None:
        """The same, for who waits for it: as long as its tries take."""
        if not left.credentials and not left.processes:
            return
        # No more of the address than this: it may have a secret in it.
        extra = {"project": left.project.id, "host": urlsplit(left.project.acp_address).hostname}
        try:
            for pause in PAUSES:
                await asyncio.sleep(pause)
                try:
                    async with asyncio.timeout(TRY_SECONDS):
                        await self._take_back(left)
                    return
                except (GatewayError, TimeoutError) as exc:
                    extra["error"] = str(exc) or type(exc).__name__
        except asyncio.CancelledError:
            logger.warning("stopped before credentials were taken back from a container that was left", extra=extra)
            raise
        logger.warning("credentials not taken back from a container that was left", extra=extra)

    async def _take_back(self, left: Left) -> None:
        container = await self._containers.identify(left.project)
        boot_id = container.boot_id
        if left.has_moved and boot_id is not None and boot_id == await self._boot_of(left.project.id):
            # It is the same one, by another name.
            return
        # A refusal, of an agent that is not there any more say, would come again.
        with suppress(ContainerRefused):
            await container.take_back(
                [(row["agent_id"], row["owner"]) for row in left.credentials],
                [row["agent_id"] for row in left.processes if row["user_id"] is not None],
            )

    async def _boot_of(self, project_id: str) -> str | None:
        """The boot of the project's container, where that can be had."""
        try:
            async with asyncio.timeout(BOOT_SECONDS):
                return (await self._containers.identify(await self._containers.project(project_id))).boot_id
        except (GatewayError, TimeoutError):
            return None
