"""The end of a turn, as the events that tell it. Whoever reports it, by key it is stored once."""

from contextlib import suppress

import attrs

from gateway.container.client import ContainerRefused
from gateway.db.pool import Database, Row
from gateway.errors import (
    AgentInUse,
    AuthRequired,
    BadRequest,
    ContainerMoved,
    CredentialUnusable,
    GatewayError,
    NotFound,
    NotYourCredential,
    UpstreamRefused,
    UpstreamTimeout,
)
from gateway.log.store import Effect, Log, NewEvent
from gateway.turns.surely import surely
from gateway.wire.codec import parse_foreign_json
from gateway.wire.events import PermissionResolved, TurnEnded

GATEWAY = "gateway"
#: Who answered where a project's rule or mode did.
RULE = "rule"

RESTARTED = TurnEnded(
    outcome="failed", failure="container_restarted", message="The container restarted while the turn was running."
)


class Endings:
    """Ends turns in the log of one database."""

    def __init__(self, database: Database, log: Log) -> None:
        self._database = database
        self._log = log

    async def end(self, project_id: str, turn_id: str, ended: TurnEnded, *, fence: int | None = None) -> None:
        """End a turn, unless it has ended already; ``fence``: of whoever knows it by following the container."""
        turn = await self._database.fetch_one("get_turn", project_id=project_id, id=turn_id)
        if turn is not None and turn["state"] == "running":
            events = await all_endings(self._database, turn, as_asked(turn, ended))
            await self._log.append(project_id, events, fence=fence)

    async def end_surely(self, project_id: str, turn_id: str, ended: TurnEnded) -> None:
        """The same even if the database is away just now, however long that takes: only this process knows the end."""
        with suppress(NotFound):
            await surely(lambda: self.end(project_id, turn_id, ended), turn_id=turn_id)


def as_asked(turn: Row, ended: TurnEnded) -> TurnEnded:
    """The end of a turn that was asked to stop: by a person it is cancelled, by the gateway itself it had stalled.

    One whose agent had to be stopped for that ends as failed there.
    """
    stopped = ended.outcome == "failed" and turn["agent_stopped_at"] is not None
    if not stopped and ended.outcome != "cancelled":
        return ended
    if turn["cancel_requested_at"] is None and turn["cancel_sent_at"] is not None:
        message = "The session had said nothing for too long; the turn was asked to stop."
        return attrs.evolve(ended, outcome="stalled", failure="silent", message=message)
    if stopped:
        message = "The turn did not end when it was cancelled; its agent was stopped."
        return TurnEnded(outcome="cancelled", message=message)
    return ended


def turn_ended(turn: Row, ended: TurnEnded, *, effect: str = "end_turn", required: bool = False) -> NewEvent:
    """The end of a turn with its row's change, by the statement ``effect``."""
    change = {
        "project_id": turn["project_id"],
        "id": turn["id"],
        "outcome": ended.outcome,
        "stop_reason": ended.stop_reason,
        "failure": ended.failure,
        "message": ended.message,
    }
    return NewEvent.of(
        ended,
        session_id=turn["session_id"],
        turn_id=turn["id"],
        key=f"turn_ended:{turn['id']}",
        effects=(
            Effect(effect, change, required=required),
            Effect("settle_permissions_of_turn", {"project_id": turn["project_id"], "turn_id": turn["id"]}),
        ),
    )


def queued_turn_ended(turn: Row, ended: TurnEnded) -> NewEvent:
    """The end of a turn that has never begun; refused where it has."""
    return turn_ended(turn, ended, effect="end_queued_turn", required=True)


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


async def all_endings(database: Database, turn: Row, ended: TurnEnded) -> list[NewEvent]:
    """What the gateway itself says at the end of a turn: nobody is asked any more, and the turn is over."""
    withdrawn = await requests_taken_back(database, turn["project_id"], turn["session_id"])
    return [*withdrawn, turn_ended(turn, ended)]


async def requests_taken_back(database: Database, project_id: str, session_id: str) -> list[NewEvent]:
    """A session's permission requests, which nobody waits for any more."""
    waiting = await database.fetch_all("unsettled_permissions", project_id=project_id, session_id=session_id)
    return [taken_back(permission) for permission in waiting]


def taken_back(permission: Row) -> NewEvent:
    return permission_resolved(permission, outcome="cancelled", option_id=None, resolved_by=GATEWAY, gone=True)


def failed(exc: GatewayError) -> TurnEnded:
    """A prompt that could not be sent, or was not answered, as the end of its turn."""
    match exc:
        case AuthRequired() | CredentialUnusable() | AgentInUse() | NotYourCredential() | ContainerMoved():
            failure = exc.code
        case ContainerRefused(upstream_status=404):
            failure = "session_lost"
        case ContainerRefused():
            failure = "agent_failed"
        case BadRequest() | NotFound():
            failure = "refused_by_container"
        case UpstreamTimeout():
            failure = "container_timeout"
        case UpstreamRefused():
            failure = "container_refused"
        case _:
            failure = "container_unreachable"
    return TurnEnded(outcome="failed", failure=failure, message=str(exc))
