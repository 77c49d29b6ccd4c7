"""How turns end, as the events that say so. Whoever reports an end, it is stored once, under a key of the turn."""

from typing import Final

import attrs

from gateway.db.pool import Database
from gateway.log.store import Effect, NewEvent
from gateway.permissions.events import requests_taken_back
from gateway.sessions.turn import Turn
from gateway.wire.events import TurnEnded

#: The failures of a turn whose prompt the agent answered with an error.
_AGENTS_ERRORS: Final = ("agent_error", "agent_failed")


def as_asked(turn: Turn, ended: TurnEnded) -> TurnEnded:
    """The end of a turn that was asked to stop: cancelled if a person asked, stalled if the gateway itself did.

    Agents call it whatever they like: some answer `end_turn`, some with an error. A turn whose agent had to be stopped
    is reported as failed by the container.
    """
    is_agents_word = ended.outcome == "completed" or ended.failure in _AGENTS_ERRORS
    is_broken_off = is_agents_word and turn.cancel_sent_at is not None
    is_stopped = ended.outcome == "failed" and turn.agent_stopped_at is not None
    if ended.outcome != "cancelled" and not is_broken_off and not is_stopped:
        return ended
    if turn.cancel_requested_at is None and turn.cancel_sent_at is not None:
        message = "The session had said nothing for too long; the turn was asked to stop."
        return attrs.evolve(ended, outcome="stalled", failure="silent", message=message)
    if is_stopped:
        message = "The turn did not end when it was cancelled; its agent was stopped."
        return TurnEnded(outcome="cancelled", message=message)
    return attrs.evolve(ended, outcome="cancelled", failure=None)


def turn_ended(turn: Turn, ended: TurnEnded, *, effect: str = "end_turn", required: bool = False) -> NewEvent:
    """The end of a turn with its row's change, by the statement ``effect``."""
    change = {
        "project_id": turn.project_id,
        "id": turn.id,
        "outcome": ended.outcome,
        "stop_reason": ended.stop_reason,
        "failure": ended.failure,
        "message": ended.message,
    }
    return NewEvent.of(
        ended,
        session_id=turn.session_id,
        turn_id=turn.id,
        key=f"turn_ended:{turn.id}",
        effects=(
            Effect(effect, change, required=required),
            Effect("settle_permissions_of_turn", {"project_id": turn.project_id, "turn_id": turn.id}),
        ),
    )


def queued_turn_ended(turn: Turn, ended: TurnEnded) -> NewEvent:
    """The end of a turn that has never begun; refused if it has."""
    return turn_ended(turn, ended, effect="end_queued_turn", required=True)


async def all_endings(database: Database, turn: Turn, ended: TurnEnded) -> list[NewEvent]:
    """How often the end of a session is retried while prompts keep coming."""
    withdrawn = await requests_taken_back(database, turn.project_id, turn.session_id)
    return [*withdrawn, turn_ended(turn, ended)]
