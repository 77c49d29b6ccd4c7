"""Delivers answers to permission requests to their containers, each until the container has it, once.

An answer that has claimed its request is in the database, so it survives its gateway. One gateway at a time delivers
it: first the one that accepted it, then, while the container is unreachable, the one with the project's lease, each
second.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import attrs

from gateway.container.client import ContainerClient, ContainerRefused
from gateway.container.containers import Containers
from gateway.db.due import Driver
from gateway.db.pool import Database
from gateway.errors import GatewayError, UpstreamTimeout
from gateway.log.ids import LogId
from gateway.log.store import Log
from gateway.permissions.asking import CONTAINER
from gateway.permissions.events import GATEWAY, UnsettledRequest, permission_resolved
from gateway.permissions.policy import decide_now
from gateway.wire.codec import parse_foreign_json, storable
from gateway.wire.options import option_of_kind

#: The time limit of one attempt, and how long a dead gateway keeps others from it.
ATTEMPT_SECONDS, HOLD_SECONDS = 10.0, 15.0


@attrs.frozen(kw_only=True)
class Answer(UnsettledRequest):
    """A permission request with its answer: ``option_id``, or None to cancel it."""

    container_request_id: str
    container_boot_id: str | None
    #: All kinds that the agent has given the call.
    kinds: Sequence[str | None] | None
    #: JSON.
    options: bytes
    option_id: str | None
    resolved_by: str


@attrs.frozen(kw_only=True)
class _Outcome:
    """The outcome of a request; ``option_id`` None: cancelled. ``gone``: it was withdrawn."""

    option_id: str | None
    resolved_by: str
    gone: bool = False


_LOST = _Outcome(option_id=None, resolved_by=CONTAINER, gone=True)


class Answers:
    """Delivers claimed answers to containers."""

    def __init__(self, database: Database, log: Log, containers: Containers, driver: Driver) -> None:
        self._database = database
        self._log = log
        self._containers = containers
        self._driver = driver

    async def bring(self, project_id: str, permission_id: str) -> None:
        """Deliver the claimed answer, and append the container's outcome to the log.

        Nothing happens while another gateway does so. Raises ``UpstreamError`` if the container cannot take it now.
        """
        key = {"project_id": project_id, "id": permission_id}
        row = await self._database.fetch_one("begin_attempt", seconds=HOLD_SECONDS, **key)
        if row is None:
            return
        try:
            answer = await self._as_decided_now(Answer.from_row(row))
            if answer is not None:
                await self._bring(answer)
        except BaseException:
            with suppress(GatewayError):
                await asyncio.shield(self._database.execute("end_attempt", **key))
            raise

    async def start_all(self, project_ids: Sequence[str]) -> None:
        """Start the delivery of answers that are not being delivered."""
        for row in await self._database.fetch_all("answers_to_bring", project_ids=list(project_ids)):
            self._driver.do(f"answer {row['id']}", partial(self.bring, row["project_id"], row["id"]))

    async def _as_decided_now(self, answer: Answer) -> Answer | None:
        """The answer as it still holds; None if the request was settled meanwhile.

        What a rule has allowed counts only while the project still allows it: the container may have been unreachable
        for long.
        """
        if answer.rule is None:
            return answer
        options = parse_foreign_json(answer.options)
        refusal = option_of_kind(options, "reject_once")
        if answer.option_id in (None, refusal):
            return answer
        decision = await decide_now(
            self._database, answer.project_id, answer.session_id, answer.kinds or (None,), options
        )
        if decision is not None and decision.option_id == answer.option_id:
            return answer
        row = await self._database.fetch_one(
            "withdraw_allowance",
            project_id=answer.project_id,
            id=answer.id,
            option_id=refusal,
            resolved_by=GATEWAY,
        )
        return None if row is None else Answer.from_row(row)

    async def _bring(self, answer: Answer) -> None:
        container = await self._containers.find(answer.project_id)
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                outcome = await _give(container, answer)
        except TimeoutError:
            raise UpstreamTimeout() from None
        event = permission_resolved(
            answer,
            outcome="cancelled" if outcome.option_id is None else "selected",
            option_id=outcome.option_id,
            resolved_by=outcome.resolved_by,
            gone=outcome.gone,
        )
        await self._log.append(LogId(answer.project_id), [event])


async def _give(container: ContainerClient, answer: Answer) -> _Outcome:
    """Give a container an answer; returns how the request is settled there."""
    boot_id = answer.container_boot_id
    # In another boot, the id may belong to another request.
    if boot_id is not None and (await container.read_facts()).boot_id != boot_id:
        return _LOST
    claimed = _Outcome(option_id=answer.option_id, resolved_by=answer.resolved_by)
    try:
        await container.answer_permission(answer.container_request_id, answer.option_id)
    except ContainerRefused as exc:
        if exc.upstream_status == 409:
            return _settled_there(exc.data, claimed)
        if exc.upstream_status in (404, 410):
            return _LOST
        raise
    return claimed


def _settled_there(data: Any, claimed: _Outcome) -> _Outcome:
    """The outcome of a request that the container says is already settled.

    It may be our own, whose response was lost, or else a timeout or the turn's end.
    """
    outcome = data.get("outcome") if isinstance(data, dict) else None
    if not isinstance(outcome, dict):
        return _LOST
    option_id = outcome.get("optionId") if outcome.get("outcome") == "selected" else None
    option_id = storable(option_id) if isinstance(option_id, str) else None
    return claimed if option_id == claimed.option_id else _Outcome(option_id=option_id, resolved_by=CONTAINER)
