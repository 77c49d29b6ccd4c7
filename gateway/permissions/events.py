"""The events that end permission requests. Each has a key, so that an end that several report is stored once."""

from typing import Any, Self

import attrs

from gateway.db.pool import Database, Row
from gateway.log.store import Effect, NewEvent
from gateway.wire.codec import parse_foreign_json
from gateway.wire.events import PermissionResolved

GATEWAY = "gateway"
#: The resolver if a rule or the mode answered.
RULE = "rule"


@attrs.frozen(kw_only=True)
class UnsettledRequest:
    """An open permission request, as far as its end needs it."""

    project_id: str
    id: str
    session_id: str
    turn_id: str | None
    agent_id: str | None
    #: JSON of the rule or mode that answered it.
    rule: bytes | None

    @classmethod
    def from_row(cls, row: Row) -> Self:
        return cls(**{field.name: row[field.name] for field in attrs.fields(cls)})


def permission_resolved(
    request: UnsettledRequest, *, outcome: str, option_id: str | None, resolved_by: str, gone: bool = False
) -> NewEvent:
    """The end of a permission request (``selected`` or ``cancelled``) with its row's change.

    ``gone``: it was withdrawn.
    """
    effect = {
        "project_id": request.project_id,
        "id": request.id,
        "outcome": outcome,
        "option_id": option_id,
        "resolved_by": resolved_by,
        "gone": gone,
    }
    rule: Any = parse_foreign_json(request.rule) if resolved_by == RULE and request.rule is not None else None
    return NewEvent.of(
        PermissionResolved(
            permission_id=request.id,
            outcome=outcome,
            option_id=option_id,
            resolved_by=resolved_by,
            rule=rule,
        ),
        session_id=request.session_id,
        turn_id=request.turn_id,
        agent_id=request.agent_id,
        key=f"permission_resolved:{request.id}",
        effects=(Effect("settle_permission", effect),),
    )


async def requests_taken_back(database: Database, project_id: str, session_id: str) -> list[NewEvent]:
    """Withdraws a session's open permission requests."""
    waiting = await database.fetch_all("unsettled_permissions", project_id=project_id, session_id=session_id)
    return [taken_back(UnsettledRequest.from_row(row)) for row in waiting]


def taken_back(request: UnsettledRequest) -> NewEvent:
    return permission_resolved(request, outcome="cancelled", option_id=None, resolved_by=GATEWAY, gone=True)
