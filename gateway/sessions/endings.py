"""How turns end, as the events that tell it. Whoever reports it, by key it is stored once."""

import attrs

from gateway.db.pool import Database, Row
from gateway.log.store import Effect, NewEvent
from gateway.permissions.events import requests_taken_back
from gateway.wire.events import TurnEnded


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


async def all_endings(database: Database, turn: Row, ended: TurnEnded) -> list[NewEvent]:
    """What the gateway itself says at the end of a turn: nobody is asked any more, and the turn is over."""
    withdrawn = await requests_taken_back(database, turn["project_id"], turn["session_id"])
    return [*withdrawn, turn_ended(turn, ended)]
