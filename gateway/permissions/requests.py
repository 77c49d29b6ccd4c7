"""Permission requests: listed, and answered once. Only an explicit answer allows anything."""

import logging
import secrets
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Literal

import attrs
import msgspec

from gateway.container.containers import Containers
from gateway.container.values import ContainerFacts
from gateway.db.due import Driver
from gateway.db.pool import Database, Row
from gateway.errors import (
    GatewayError,
    InvalidBody,
    PermissionGone,
    PermissionNotFound,
    PermissionSettled,
    UpstreamError,
)
from gateway.log.ids import LogId
from gateway.log.store import Appended, Log
from gateway.permissions.delivery import Answers
from gateway.permissions.events import RULE, UnsettledRequest, taken_back
from gateway.projects.store import Project
from gateway.wire.codec import parse_foreign_json
from gateway.wire.events import PermissionRequest
from gateway.wire.limits import PAGE_BYTES
from gateway.wire.options import AMBIGUOUS, kinds_by_id, listed, option_of_kind
from gateway.wire.times import timestamp

logger = logging.getLogger(__name__)

#: The resolver if nobody answered in time.
TIMEOUT = "timeout"


PermissionState = Literal["waiting", "answering", "selected", "cancelled"]


@attrs.frozen(kw_only=True)
class Permission:
    """A permission request; ``answering``: the answer is on its way to the container."""

    id: str
    session_id: str
    turn_id: str | None
    agent_id: str | None
    #: JSON of the agent.
    tool_call: msgspec.Raw
    options: msgspec.Raw
    state: PermissionState
    option_id: str | None
    resolved_by: str | None
    #: The rule or mode that answered it.
    rule: Any
    requested_at: datetime
    #: When it is refused without an answer.
    expires_at: datetime | None
    #: The reserved id of the answer that has claimed it, and when.
    answer_id: str | None
    answered_at: datetime | None
    resolved_at: datetime | None
    #: It was withdrawn.
    gone: bool

    @property
    def size(self) -> int:
        """Bytes of what the agent says in it."""
        return len(bytes(self.tool_call)) + len(bytes(self.options))

    @classmethod
    def from_row(cls, row: Row) -> "Permission":
        values = {field.name: row[field.name] for field in attrs.fields(cls)}
        rule = row["rule"] if row["resolved_by"] == RULE else None
        asked = {name: msgspec.Raw(bytes(row[name])) for name in ("tool_call", "options")}
        return cls(**values | asked | {"rule": parse_foreign_json(rule or b"null")})


def new_answer_id() -> str:
    return f"ans_{secrets.token_hex(10)}"


class Permissions:
    """All permission requests."""

    def __init__(self, database: Database, log: Log, containers: Containers, driver: Driver) -> None:
        self._database = database
        self._log = log
        self._answers = Answers(database, log, containers, driver)
        self._driver = driver

    async def waiting(self, project_id: str, *, after: str | None, limit: int) -> list[Permission]:
        """Open requests, oldest first, after one of this id: ``limit``, or two or more of about 4 MiB."""
        place = {"project_id": project_id, "after": after, "limit": limit, "bytes": PAGE_BYTES}
        return [Permission.from_row(row) for row in await self._database.fetch_all("list_permissions", **place)]

    async def get(self, project_id: str, permission_id: str) -> Permission:
        """Raises ``PermissionNotFound``."""
        row = await self._database.fetch_one("get_permission", project_id=project_id, id=permission_id)
        if row is None:
            raise PermissionNotFound(f"There is no permission request {permission_id!r} in this project.")
        return Permission.from_row(row)

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
        """Answer with one of the agent's options, or yes or no, once. Run it in its own task.

        A repeated answer with the same reserved ``answer_id`` is completed.

        Raises ``PermissionSettled`` for every answer but the first, and ``PermissionGone`` if the request was
        withdrawn. If the container is unreachable, the answer is stored and delivered later; until then the permission
        is ``answering``.
        """
        permission = await self.get(project.id, permission_id)
        chosen = _choose(permission, option_id, granted)
        claimed = await self._claim(
            project.id,
            permission_id,
            option_id=chosen,
            resolved_by=user_id,
            answer_id=answer_id or new_answer_id(),
        )
        if not claimed:
            latest = await self.get(project.id, permission_id)
            if answer_id is None or latest.answer_id != answer_id:
                raise _settled(latest)
        try:
            await self._answers.bring(project.id, permission_id)
        except UpstreamError as exc:
            logger.info("answer not brought yet", extra={"permission": permission_id, "error": str(exc)})
        settled = await self.get(project.id, permission_id)
        if settled.resolved_by != user_id:
            # The container had settled it before.
            raise _settled(settled)
        return settled

    async def connected(self, project_id: str, facts: ContainerFacts, fence: int) -> None:
        """The container is followed (again): deliver answers, and withdraw another boot's requests."""
        await self._database.execute("set_asks_permission", id=project_id, asks=facts.asks_permission)
        if facts.boot_id is not None:
            whose = {"project_id": project_id, "boot_id": facts.boot_id}
            while lost := await self._database.fetch_all("unsettled_permissions_of_other_boots", **whose):
                gone = [taken_back(UnsettledRequest.from_row(row)) for row in lost]
                await self._log.append(LogId(project_id), gone, fence=fence)
        await self._answers.start_all([project_id])

    async def review(self, project_ids: Sequence[str]) -> None:
        """What is to be done for the projects whose lease is held here, each second: refuse what nobody has answered
        in time, and bring answers to their containers."""
        for row in await self._database.fetch_all("expired_permissions", project_ids=list(project_ids)):
            await self._claim(
                row["project_id"],
                row["id"],
                option_id=option_of_kind(parse_foreign_json(row["options"]), "reject_once"),
                resolved_by=TIMEOUT,
                answer_id=new_answer_id(),
            )
        await self._answers.start_all(project_ids)

    def appended(self, log_id: LogId, appended: Appended) -> None:
        """Deliver a rule's answer at once; for ``Log.listen``."""
        if appended.of(PermissionRequest.type):
            step = partial(self._answers.start_all, [log_id.project_id])
            self._driver.do(f"answers of {log_id.project_id} at {appended.cursor}", step)

    async def _claim(self, project_id: str, permission_id: str, **claim: Any) -> bool:
        """Claim the request for this answer; False if it has another."""
        row = await self._database.fetch_one("claim_permission", project_id=project_id, id=permission_id, **claim)
        return row is not None


def _choose(permission: Permission, option_id: str | None, granted: bool | None) -> str | None:
    """The chosen option; None cancels the request.

    Yes or no is looked up by the options' kind for once, since others allow more.
    """
    options = parse_foreign_json(bytes(permission.options))
    if option_id is not None:
        kinds = kinds_by_id(options)
        if option_id not in kinds:
            known = listed(kinds) or "none"
            raise InvalidBody(f"$.optionId: there is no option {option_id!r} (known here: {known})")
        if kinds[option_id] is AMBIGUOUS:
            raise InvalidBody(
                f"$.optionId: {option_id!r} stands for options of several kinds; refuse the request with granted false"
            )
        return option_id
    chosen = option_of_kind(options, "allow_once" if granted else "reject_once")
    if granted and chosen is None:
        raise InvalidBody("$.granted: this request has no option of kind allow_once; answer with an optionId")
    return chosen


def _settled(permission: Permission) -> GatewayError:
    """Who has settled the request, when and how."""
    settled_at = permission.resolved_at or permission.answered_at
    assert settled_at is not None
    at = timestamp(settled_at)
    state, option_id, who = permission.state, permission.option_id, permission.resolved_by
    members: dict[str, Any] = {"state": state, "optionId": option_id, "resolvedBy": who, "resolvedAt": at}
    if permission.gone:
        return PermissionGone(
            f"It was taken back at {at}: its turn or session is over, or its container restarted.", **members
        )
    if state == "selected" and option_id is None:
        return PermissionSettled(f"Its container allowed it by itself at {at}.", **members)
    how = f"with option {option_id!r}" if option_id is not None else "with a refusal"
    return PermissionSettled(f"It was answered by {who!r} at {at} {how}.", **members)
