"""How permission requests end, as the events that tell it. Whoever reports it, by key it is stored once."""

from gateway.db.pool import Database, Row
from gateway.log.store import Effect, NewEvent
from gateway.wire.codec import parse_foreign_json
from gateway.wire.events import PermissionResolved

GATEWAY = "gateway"
#: Who answered where a project's rule or mode did.
RULE = "rule"


def permission_resolved(
    permission: Row, *, outcome: str, option_id: str | None, resolved_by: str, gone: bool = False
) -> NewEvent:
    """The outcome of a permission request (``selected`` or ``cancelled``) with its row's change.

    ``gone``: it was taken back, as nobody waits for its answer any more.
    """
    effect = {
        "project_id": permission["project_id"],
        "id": permission["id"],
        "outcome": outcome,
        "option_id": option_id,
        "resolved_by": resolved_by,
        "gone": gone,
    }
    return NewEvent.of(
        PermissionResolved(
            permission_id=permission["id"],
            outcome=outcome,
            option_id=option_id,
            resolved_by=resolved_by,
            rule=parse_foreign_json(permission["rule"]) if resolved_by == RULE else None,
        ),
        session_id=permission["session_id"],
        turn_id=permission["turn_id"],
        agent_id=permission["agent_id"],
        key=f"permission_resolved:{permission['id']}",
        effects=(Effect("settle_permission", effect),),
    )


async def requests_taken_back(database: Database, project_id: str, session_id: str) -> list[NewEvent]:
    """A session's permission requests, which nobody waits for any more."""
    waiting = await database.fetch_all("unsettled_permissions", project_id=project_id, session_id=session_id)
    return [taken_back(permission) for permission in waiting]


def taken_back(permission: Row) -> NewEvent:
    return permission_resolved(permission, outcome="cancelled", option_id=None, resolved_by=GATEWAY, gone=True)
