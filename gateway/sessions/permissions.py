"""Permission requests: listed, and answered once. Only an explicit answer allows anything."""

import asyncio
import logging
from datetime import datetime
from typing import Any

import attrs

from gateway.container.client import ContainerRefused
from gateway.db.pool import Database, Row
from gateway.errors import InvalidBody, PermissionNotFound, PermissionSettled, UpstreamError
from gateway.log.store import Log
from gateway.projects import Project
from gateway.sessions.containers import Containers
from gateway.sessions.endings import permission_resolved
from gateway.sessions.translate import CONTAINER
from gateway.tasks import Tasks
from gateway.wire.codec import parse_foreign_json

logger = logging.getLogger(__name__)

#: An answer is brought to a container that is away for this long, then every so often until the request is settled.
FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.2, 10.0


@attrs.frozen(kw_only=True)
class Permission:
    """A permission request. ``state``: waiting, answering (on its way to the container), selected or cancelled."""

    id: str
    session_id: str
    turn_id: str | None
    agent_id: str | None
    tool_call: Any
    options: Any
    state: str
    option_id: str | None
    resolved_by: str | None
    requested_at: datetime
    resolved_at: datetime | None

    @classmethod
    def from_row(cls, row: Row) -> "Permission":
        json = {"tool_call", "options"}
        values = {field.name: row[field.name] for field in attrs.fields(cls)}
        return cls(**{name: parse_foreign_json(value) if name in json else value for name, value in values.items()})


class Permissions:
    """All permission requests in one database. Owns the tasks that bring answers to containers."""

    def __init__(self, database: Database, log: Log, containers: Containers) -> None:
        self._database = database
        self._log = log
        self._containers = containers
        self._tasks = Tasks()

    async def waiting(self, project_id: str) -> list[Permission]:
        """What waits for an answer, oldest first."""
        rows = await self._database.fetch_all("list_permissions", project_id=project_id)
        return [Permission.from_row(row) for row in rows]

    async def get(self, project_id: str, permission_id: str) -> Permission:
        return Permission.from_row(await self._row(project_id, permission_id))

    async def answer(
        self, project: Project, permission_id: str, user_id: str, *, option_id: str | None, granted: bool | None
    ) -> Permission:
        """Answer with one of the agent's options, or yes or no for this once. Run it in a task of its own.

        Raises ``PermissionSettled`` for every answer but the first. Where the container is away the answer is kept
        and brought to it as soon as it is back; the permission is ``answering`` until then.
        """
        permission = await self.get(project.id, permission_id)
        chosen = _choose(permission, option_id, granted)
        claim = {"project_id": project.id, "id": permission_id, "option_id": chosen, "resolved_by": user_id}
        if await self._database.fetch_one("claim_permission", **claim) is None:
            raise _settled(await self.get(project.id, permission_id))
        try:
            await self._deliver(project, permission_id)
        except UpstreamError:
            self._tasks.start(self._deliver_later(project, permission_id), name=f"permission {permission_id}")
        return await self.get(project.id, permission_id)

    async def close(self) -> None:
        await self._tasks.close()

    async def _deliver(self, project: Project, permission_id: str) -> None:
        """Give the container the claimed answer, and the log the outcome that the container tells."""
        row = await self._row(project.id, permission_id)
        if row["state"] != "answering":
            return
        outcome = "cancelled" if row["option_id"] is None else "selected"
        option_id, resolved_by = row["option_id"], row["resolved_by"]
        try:
            await self._containers.of(project).answer_permission(row["container_request_id"], option_id)
        except ContainerRefused as exc:
            if exc.upstream_status not in (404, 409, 410):
                raise
            # It is settled there already, by a timeout or by the turn's end: nothing was given.
            outcome, option_id, resolved_by = "cancelled", None, CONTAINER
        event = permission_resolved(row, outcome=outcome, option_id=option_id, resolved_by=resolved_by)
        await self._log.append(project.id, [event])

    async def _deliver_later(self, project: Project, permission_id: str) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while (await self._row(project.id, permission_id))["state"] == "answering":
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
            try:
                await self._deliver(project, permission_id)
            except UpstreamError as exc:
                logger.info("answer not delivered yet", extra={"permission": permission_id, "error": str(exc)})

    async def _row(self, project_id: str, permission_id: str) -> Row:
        row = await self._database.fetch_one("get_permission", project_id=project_id, id=permission_id)
        if row is None:
            raise PermissionNotFound(f"There is no permission request {permission_id!r} in this project.")
        return row


def _choose(permission: Permission, option_id: str | None, granted: bool | None) -> str | None:
    """The option that is meant; None takes the request back.

    Yes or no is looked up by the options' kind and is for this once: what stands first may allow more than was meant.
    """
    options = [option for option in permission.options or [] if isinstance(option, dict)]
    if option_id is not None:
        if all(option.get("optionId") != option_id for option in options):
            known = ", ".join(str(option.get("optionId")) for option in options) or "none"
            raise InvalidBody(f"$.optionId: there is no option {option_id!r} (known here: {known})")
        return option_id
    kind = "allow_once" if granted else "reject_once"
    for option in options:
        if option.get("kind") == kind:
            return str(option.get("optionId"))
    if granted:
        raise InvalidBody("$.granted: this request has no option of kind allow_once; answer with an optionId")
    return None


def _settled(permission: Permission) -> PermissionSettled:
    return PermissionSettled(state=permission.state, optionId=permission.option_id, resolvedBy=permission.resolved_by)
