"""Events about users' credentials, in the logs of the projects that they concern."""

import logging

from gateway.db.pool import Database
from gateway.errors import GatewayError, NotFound
from gateway.log.ids import LogId
from gateway.log.store import Log, NewEvent
from gateway.wire.events import EventData

logger = logging.getLogger(__name__)


class News:
    """Emits events in every project where the user has sessions of the agent or asked for the credential."""

    def __init__(self, database: Database, log: Log) -> None:
        self._database = database
        self._log = log

    async def tell(
        self, user_id: str, agent_id: str, data: EventData, *, key: str, project_id: str | None = None
    ) -> None:
        """``key``: an event with the same key is stored once."""
        try:
            rows = await self._database.fetch_all("list_projects_of_agent_user", user_id=user_id, agent_id=agent_id)
        except GatewayError as exc:
            logger.warning("news of a credential not told", extra={"agent": agent_id, "error": str(exc)})
            rows = []
        for project in dict.fromkeys([*filter(None, [project_id]), *(row["project_id"] for row in rows)]):
            await self.tell_in(project, agent_id, data, key=key)

    async def tell_in(self, project_id: str, agent_id: str, data: EventData, *, key: str) -> None:
        """Emit in one project only."""
        await self._append(project_id, NewEvent.of(data, agent_id=agent_id, key=key))

    async def _append(self, project_id: str, event: NewEvent) -> None:
        try:
            await self._log.append(LogId(project_id), [event])
        except NotFound:
            return  # with its project
        except GatewayError as exc:
            logger.warning("news of a credential not told", extra={"project": project_id, "error": str(exc)})
