"""A turn that was asked to stop is told as one, whatever its agent calls the end."""

import json
from typing import Any

import pytest

from gateway.sessions.endings import as_asked
from gateway.wire.events import TurnEnded
from tests.story.conftest import Session
from tests.turns.samples import at, delivered
from tests.world import data_of

#: What agents answer the prompt with that they were asked to stop.
ANSWERS: dict[str, list[Any]] = {
    "cancelled": ["answer", {"stopReason": "cancelled"}],
    "end_turn": ["answer", {"stopReason": "end_turn"}],
    "refusal": ["answer", {"stopReason": "refusal"}],
    "max_tokens": ["answer", {"stopReason": "max_tokens"}],
    "its own word": ["answer", {"stopReason": "aborted"}],
    "an error": ["error", {"code": -32603, "message": "The operation was aborted."}],
}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_turn_that_was_cancelled_ends_as_cancelled(session: Session, answer: str) -> None:
    steps = [["say", "half of the work", 1], ["until-cancel"], ANSWERS[answer]]
    async with session.project.events(session.id) as stream:
        turn = (await session.project.prompt(session.id, json.dumps(steps), wait=None))["turnId"]
        await stream.until("session_update")
        cancelled = await session.project.call("POST", f"/session/{session.id}/cancel")
        assert cancelled.status == 202, cancelled.body
        ended = data_of((await stream.until("turn_ended"))[-1])
    shown = (await session.project.call("GET", f"/session/{session.id}/turns/{turn}")).json
    assert (ended["outcome"], shown["state"], shown["failure"]) == ("cancelled", "cancelled", None)
    if "error" in ANSWERS[answer]:
        assert "The operation was aborted." in shown["message"]
    else:
        assert shown["stopReason"] == ANSWERS[answer][1]["stopReason"]


@pytest.mark.parametrize("answer", ["end_turn", "an error"])
async def test_a_turn_that_nobody_cancelled_ends_as_its_agent_says(session: Session, answer: str) -> None:
    turn = (await session.project.prompt(session.id, json.dumps([ANSWERS[answer]])))["turn"]
    assert turn["state"] == ("completed" if answer == "end_turn" else "failed")


@pytest.mark.parametrize("failure", ["container_restarted", "session_lost", "agent_died"])
def test_what_befell_a_turn_before_it_could_stop_stays_what_it_was(failure: str) -> None:
    turn = delivered(cancel_requested_at=at(1), cancel_sent_at=at(2))
    ended = TurnEnded(outcome="failed", failure=failure, message="why")
    assert as_asked(turn, ended) == ended


def test_a_turn_that_was_over_before_it_was_asked_is_completed() -> None:
    turn = delivered(cancel_requested_at=at(1))
    assert as_asked(turn, TurnEnded(outcome="completed")).outcome == "completed"
