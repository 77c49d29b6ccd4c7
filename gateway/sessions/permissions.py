"""Permission requests: listed, and answered once. Only an explicit answer allows anything."""

import asyncio
import logging
import secrets
from datetime import datetime
from typing import Any

import attrs

from gateway.container.client import Container, ContainerRefused
from gateway.db.errors import OutcomeUnknown
from gateway.db.pool import Database, Row
from gateway.errors import (
    GatewayError,
    InvalidBody,
    NotFound,
    PermissionNotFound,
    PermissionSettled,
    UpstreamError,
)
from gateway.log.store import Log
from gateway.projects import Project
from gateway.sessions.containers import Containers
from gateway.sessions.endings import permission_resolved
from gateway.sessions.translate import CONTAINER
from gateway.tasks import Tasks
from gateway.wire.codec import parse_foreign_json, storable

logger = logging.getLogger(__name__)

#: An answer is brought to a container that is away for this long, then every so often until the request is settled.
FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.2, 10.0


@attrs.frozen(kw_only=True)
class _Outcome:
    """How a request is settled; ``option_id`` None where it is cancelled."""

    option_id: str | None
    resolved_by: str

    @property
    def word(self) -> str:
        return "cancelled" if self.option_id is None else "selected"


_LOST = _Outcome(option_id=None, resolved_by=CONTAINER)


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


def new_answer_id() -> str:
    return f"ans_{secrets.token_hex(10)}"


class Permissions:
    """All permission requests in one database. Owns the tasks that bring answers to containers."""

    def __init__(self, database: Database, log: Log, containers: Containers) -> None:
        self._database = database
        self._log = log
        self._containers = containers
        self._tasks = Tasks()
        #: (project, permission) whose answer is being brought to its container.
        self._under_way: set[tuple[str, str]] = set()

    async def waiting(self, project_id: str) -> list[Permission]:
        """What waits for an answer, oldest first."""
        rows = await self._database.fetch_all("list_permissions", project_id=project_id)
        return [Permission.from_row(row) for row in rows]

    async def get(self, project_id: str, permission_id: str) -> Permission:
        return Permission.from_row(await self._row(project_id, permission_id))

    async def answer(
        self,
        project: Project,
        permission_id: str,
        user_id: str,
        *,
        option_id: str | None,
        granted: bool | None,
        answer_id: str | None = None,
    ) -> Permission:
        """Answer with one of the agent's options, or yes or no for this once. Run it in a task of its own.

        An answer that has claimed the request under a reserved ``answer_id`` is brought to its end when it comes again.

        Raises ``PermissionSettled`` for every answer but the first. Where the container is away the answer is kept
        and brought to it as soon as it is back; the permission is ``answering`` until then.
        """
        permission = await self.get(project.id, permission_id)
        chosen = _choose(permission, option_id, granted)
        claim = {
            "project_id": project.id,
            "id": permission_id,
            "option_id": chosen,
            "resolved_by": user_id,
            "answer_id": answer_id or new_answer_id(),
        }
        try:
            claimed = await self._database.fetch_one("claim_permission", **claim)
        except OutcomeUnknown:
            self._deliver_soon(project.id, permission_id)
            raise
        if claimed is None:
            latest = await self._row(project.id, permission_id)
            if answer_id is None or latest["answer_id"] != answer_id:
                raise _settled(Permission.from_row(latest))
        try:
            await self._deliver_now(project.id, permission_id)
        except GatewayError as exc:
            self._deliver_soon(project.id, permission_id)
            if not isinstance(exc, UpstreamError):
                raise
        return await self.get(project.id, permission_id)

    async def redeliver(self, project_id: str) -> None:
        """Bring the container the answers that a gateway has claimed, and then stopped or lost its database."""
        for row in await self._database.fetch_all("answering_permissions", project_id=project_id):
            self._deliver_soon(project_id, row["id"])

    async def close(self) -> None:
        await self._tasks.close()

    async def _deliver_now(self, project_id: str, permission_id: str) -> None:
        place = (project_id, permission_id)
        self._under_way.add(place)
        try:
            await self._deliver(project_id, permission_id)
        finally:
            self._under_way.discard(place)

    def _deliver_soon(self, project_id: str, permission_id: str) -> None:
        place = (project_id, permission_id)
        if place in self._under_way:
            return
        self._under_way.add(place)
        task = self._tasks.start(self._deliver_until_settled(project_id, permission_id), name=f"answer {permission_id}")
        task.add_done_callback(lambda _: self._under_way.discard(place))

    async def _deliver_until_settled(self, project_id: str, permission_id: str) -> None:
        """However long it takes: the container may be away, or the database."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            try:
                await self._deliver(project_id, permission_id)
                return
            except NotFound:
                return  # with its project
            except GatewayError as exc:
                logger.info("answer not delivered yet", extra={"permission": permission_id, "error": str(exc)})
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)

    async def _deliver(self, project_id: str, permission_id: str) -> None:
        """Give the container the claimed answer, and the log the outcome that the container tells."""
        row = await self._row(project_id, permission_id)
        if row["state"] != "answering":
            return
        outcome = await _give(await self._containers.find(project_id), row)
        event = permission_resolved(
            row, outcome=outcome.word, option_id=outcome.option_id, resolved_by=outcome.resolved_by
        )
        await self._log.append(project_id, [event])

    async def _row(self, project_id: str, permission_id: str) -> Row:
        row = await self._database.fetch_one("get_permission", project_id=project_id, id=permission_id)
        if row is None:
            raise PermissionNotFound(f"There is no permission request {permission_id!r} in this project.")
        return row


async def _give(container: Container, row: Row) -> _Outcome:
    """Give a container the answer of a permission's row; how the request is settled there now."""
    boot_id = row["container_boot_id"]
    # Of another boot, the id may be another request's, which nobody has allowed.
    if boot_id is not None and (await container.info()).boot_id != boot_id:
        return _LOST
    claimed = _Outcome(option_id=row["option_id"], resolved_by=row["resolved_by"])
    try:
        await container.answer_permission(row["container_request_id"], claimed.option_id)
    except ContainerRefused as exc:
        if exc.upstream_status == 409:
            return _settled_there(exc.data, claimed)
        if exc.upstream_status in (404, 410):
            return _LOST
        raise
    return claimed


def _settled_there(data: Any, claimed: _Outcome) -> _Outcome:
    """The outcome that a container tells of a request that is settled there already.

    It may be ours, whose answer was lost on the way; else a timeout's or the turn's end, which give nothing.
    """
    outcome = data.get("outcome") if isinstance(data, dict) else None
    if not isinstance(outcome, dict):
        return _LOST
    option_id = outcome.get("optionId") if outcome.get("outcome") == "selected" else None
    option_id = storable(option_id) if isinstance(option_id, str) else None
    return claimed if option_id == claimed.option_id else _Outcome(option_id=option_id, resolved_by=CONTAINER)


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
