"""Bringing answers to permission requests to their containers: each until the container has it, once.

An answer that has claimed its request stands in the database, so it outlives whoever took it. One gateway at a time
brings it to the container: first the one that took it; where the container is away, the one that holds the project's
lease, each second.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import attrs

from gateway.container.client import ContainerClient, ContainerRefused
from gateway.container.containers import Containers
from gateway.db.pool import Database, Row
from gateway.errors import GatewayError, NotFound, UpstreamTimeout
from gateway.log.store import Log
from gateway.permissions.asking import CONTAINER
from gateway.permissions.events import GATEWAY, permission_resolved
from gateway.permissions.policy import decide_now
from gateway.tasks import Tasks
from gateway.wire.codec import parse_foreign_json, storable
from gateway.wire.options import option_of_kind

logger = logging.getLogger(__name__)

#: How long a container may take for one answer; a gateway that dies meanwhile keeps others from it for so long.
ATTEMPT_SECONDS, HOLD_SECONDS = 10.0, 15.0


@attrs.frozen(kw_only=True)
class _Outcome:
    """How a request is settled; ``option_id`` None where it is cancelled. ``gone``: nobody waited for the answer."""

    option_id: str | None
    resolved_by: str
    gone: bool = False

    @property
    def word(self) -> str:
        return "cancelled" if self.option_id is None else "selected"


_LOST = _Outcome(option_id=None, resolved_by=CONTAINER, gone=True)


class Answers:
    """Brings claimed answers to containers. Owns the tasks that do."""

    def __init__(self, database: Database, log: Log, containers: Containers) -> None:
        self._database = database
        self._log = log
        self._containers = containers
        self._tasks = Tasks()

    async def bring(self, project_id: str, permission_id: str) -> None:
        """Give the container the claimed answer, and the log the outcome that the container tells.

        Nothing happens while somebody else does. Raises ``UpstreamError`` where the container cannot take it now.
        """
        key = {"project_id": project_id, "id": permission_id}
        row = await self._database.fetch_one("begin_attempt", seconds=HOLD_SECONDS, **key)
        if row is None:
            return
        try:
            if (row := await self._as_decided_now(row)) is not None:
                await self._bring(row)
        except BaseException:
            with suppress(GatewayError):
                await asyncio.shield(self._database.execute("end_attempt", **key))
            raise

    async def bring_all(self, project_ids: Sequence[str]) -> None:
        """Begin to bring what has an answer and is not on its way."""
        for row in await self._database.fetch_all("answers_to_bring", project_ids=list(project_ids)):
            self._tasks.start(self._try(row["project_id"], row["id"]), name=f"answer {row['id']}")

    async def close(self) -> None:
        await self._tasks.close()

    async def _try(self, project_id: str, permission_id: str) -> None:
        try:
            await self.bring(project_id, permission_id)
        except NotFound:
            return  # with its project
        except GatewayError as exc:
            logger.debug("answer not brought yet", extra={"permission": permission_id, "error": str(exc)})

    async def _as_decided_now(self, row: Row) -> Row | None:
        """An answer as it still stands; None where it has been settled meanwhile.

        What a rule has allowed counts only as long as the project allows it: its container may have been away for long.
        """
        if row["rule"] is None:
            return row
        options = parse_foreign_json(row["options"])
        refusal = option_of_kind(options, "reject_once")
        if row["option_id"] in (None, refusal):
            return row
        decision = await decide_now(
            self._database, row["project_id"], row["session_id"], row["kinds"] or (None,), options
        )
        if decision is not None and decision.option_id == row["option_id"]:
            return row
        return await self._database.fetch_one(
            "withdraw_allowance",
            project_id=row["project_id"],
            id=row["id"],
            option_id=refusal,
            resolved_by=GATEWAY,
        )

    async def _bring(self, row: Row) -> None:
        container = await self._containers.find(row["project_id"])
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                outcome = await _give(container, row)
        except TimeoutError:
            raise UpstreamTimeout() from None
        event = permission_resolved(
            row,
            outcome=outcome.word,
            option_id=outcome.option_id,
            resolved_by=outcome.resolved_by,
            gone=outcome.gone,
        )
        await self._log.append(row["project_id"], [event])


async def _give(container: ContainerClient, row: Row) -> _Outcome:
    """Give a container the answer of a permission's row; how the request is settled there now."""
    boot_id = row["container_boot_id"]
    # Of another boot, the id may be another request's, which nobody has allowed.
    if boot_id is not None and (await container.read_facts()).boot_id != boot_id:
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
