"""Ends sessions in containers that a failover of the database has lost: nobody could reach them any more.

Only those that carry our reference are looked at, as others may use the container, too.
"""

import asyncio
import logging
from contextlib import suppress

from gateway.container.client import ContainerRefused
from gateway.container.containers import Containers
from gateway.db.pool import Database
from gateway.errors import UpstreamError

logger = logging.getLogger(__name__)

#: Answers that take longer are not waited for: the stream waits meanwhile.
ASK_SECONDS = 3.0


class LostSessions:
    """Compares what containers list with the database."""

    def __init__(self, database: Database, containers: Containers) -> None:
        self._database = database
        self._containers = containers

    async def connected(self, project_id: str) -> None:
        """Call it when a container's stream is open. Repeating it changes nothing."""
        if not self._database.timeline.is_fresh:
            # This gateway has lived through no failover. Where a copy of a database is restored beside the original,
            # what the copy does not know is the original's.
            return
        container = await self._containers.find(project_id)
        try:
            async with asyncio.timeout(ASK_SECONDS):
                listed = await container.listed_sessions()
                for id in await self._lost(project_id, [(one["id"], one.get("reference")) for one in listed]):
                    with suppress(ContainerRefused):
                        await container.end_session(id)
                    logger.warning("session lost in a failover ended", extra={"project": project_id, "session": id})
        except (UpstreamError, TimeoutError) as exc:
            logger.info("lost sessions not ended", extra={"project": project_id, "error": str(exc) or "no answer"})

    async def _lost(self, project_id: str, listed: list[tuple[str, object]]) -> list[str]:
        beginning = self._containers.reference(project_id, "")
        ours = {
            id: reference.removeprefix(beginning)
            for id, reference in listed
            if isinstance(reference, str) and reference.startswith(beginning)
        }
        if not ours:
            return []
        rows = await self._database.fetch_all(
            "lost_container_sessions", project_id=project_id, ids=list(ours), session_ids=list(ours.values())
        )
        return [row["id"] for row in rows]
