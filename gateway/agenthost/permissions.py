"""Permission requests of agents. Only an explicit answer allows anything; everything else cancels the request."""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import attrs

from gateway.agenthost.journal import Journal
from gateway.errors import BadRequest, PermissionNotFound, PermissionSettled
from gateway.wire.options import AMBIGUOUS, kinds_by_id, listed, option_of_kind

#: How many settled requests are remembered, so that a second answer gets the outcome.
_REMEMBERED = 1000

Outcome = dict[str, Any]
CANCELLED: Outcome = {"outcome": "cancelled"}


@attrs.define(eq=False, kw_only=True)
class Permission:
    """One open request."""

    id: str
    session_id: str
    agent_id: str
    options: list[dict[str, Any]]
    outcome: "asyncio.Future[Outcome]"
    timer: asyncio.TimerHandle | None = None


class Permissions:
    """Open requests, and the last settled ones."""

    def __init__(self, journal: Journal, *, timeout: float) -> None:
        self._journal = journal
        self._timeout = timeout
        self._waiting: dict[str, Permission] = {}
        self._settled: OrderedDict[str, Outcome] = OrderedDict()

    def ask(self, session_id: str, agent_id: str, params: Mapping[str, Any], *, refused: str | None) -> Permission:
        """Accept an agent's `session/request_permission` and emit its event.

        `refused`: cancel it at once for this reason, because its turn is being cancelled.
        """
        loop = asyncio.get_running_loop()
        permission = Permission(
            id=secrets.token_urlsafe(12),
            session_id=session_id,
            agent_id=agent_id,
            options=list(params["options"]),
            outcome=loop.create_future(),
        )
        self._waiting[permission.id] = permission
        asked = {name: value for name, value in params.items() if name != "sessionId"}
        # Last, in case the agent sends a member of the same name.
        self._emit(permission, "permission_request", asked | {"requestId": permission.id})
        if refused is not None:
            self._settle(permission, CANCELLED, refused)
        else:
            permission.timer = loop.call_later(self._timeout, self._settle, permission, CANCELLED, "timeout")
        return permission

    def choose(self, request_id: str, option_id: str) -> Outcome:
        """Answer with one of the options."""
        permission = self._find(request_id)
        kinds = kinds_by_id(permission.options)
        if option_id not in kinds:
            raise BadRequest(f"$.optionId: there is no option {option_id!r} (known here: {listed(kinds)})")
        if kinds[option_id] is AMBIGUOUS:
            raise BadRequest(f"$.optionId: several options of different kinds have the id {option_id!r}")
        return self._settle(permission, {"outcome": "selected", "optionId": option_id}, "answered")

    def grant(self, request_id: str, *, granted: bool) -> Outcome:
        """Answer yes or no, once.

        No is always possible: without an option for it, the request is cancelled. Yes needs an option of kind
        `allow_once`, because any other might allow more.
        """
        permission = self._find(request_id)
        option_id = option_of_kind(permission.options, "allow_once" if granted else "reject_once")
        if option_id is not None:
            return self.choose(request_id, option_id)
        if granted:
            raise BadRequest("$.granted: this request has no option of kind allow_once; answer with an optionId")
        return self._settle(permission, CANCELLED, "answered")

    def cancel(self, request_id: str) -> Outcome:
        """Answer with neither yes nor no."""
        return self._settle(self._find(request_id), CANCELLED, "answered")

    def withdraw(self, permission: Permission) -> None:
        """The agent does not want to know any more."""
        if permission.id in self._waiting:
            self._settle(permission, CANCELLED, "withdrawn")

    def cancel_session(self, session_id: str, reason: str) -> None:
        """Cancel a session's open requests; `reason` is in the event."""
        for permission in [one for one in self._waiting.values() if one.session_id == session_id]:
            self._settle(permission, CANCELLED, reason)

    def _find(self, request_id: str) -> Permission:
        if (permission := self._waiting.get(request_id)) is not None:
            return permission
        if (outcome := self._settled.get(request_id)) is not None:
            raise PermissionSettled(data={"id": request_id, "outcome": outcome})
        raise PermissionNotFound(f"there is no permission request {request_id}")

    def _settle(self, permission: Permission, outcome: Outcome, reason: str) -> Outcome:
        if permission.timer is not None:
            permission.timer.cancel()
        del self._waiting[permission.id]
        self._settled[permission.id] = outcome
        while len(self._settled) > _REMEMBERED:
            self._settled.popitem(last=False)
        self._emit(
            permission, "permission_resolved", {"requestId": permission.id, "outcome": outcome, "reason": reason}
        )
        permission.outcome.set_result(outcome)
        return outcome

    def _emit(self, permission: Permission, kind: str, data: dict[str, Any]) -> None:
        self._journal.append(kind, data, session_id=permission.session_id, agent_id=permission.agent_id)
