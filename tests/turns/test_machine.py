"""What is done next about a turn: the table of all cases."""

from typing import Any

import pytest

from gateway.sessions.turn import Turn
from gateway.turns import endings
from gateway.turns.machine import (
    AskCancel,
    AwaitEnd,
    Begin,
    Deliver,
    End,
    Facts,
    Inquire,
    Send,
    Step,
    StopAgent,
    Wait,
    Warn,
    next_delivery,
    next_step,
)
from gateway.wire.events import TurnEnded
from tests.turns.samples import CONFIG, at, begun, delivered, facts, queued, report, sent, unanswered

COMPLETED = TurnEnded(outcome="completed", stop_reason="end_turn")
GIVEN_UP_AT = 100 + 10 + 600


def end_of(step: Step) -> tuple[str, str | None]:
    assert isinstance(step, End)
    return step.ended.outcome, step.ended.failure


@pytest.mark.parametrize(
    ("turn", "around", "step"),
    [
        # A queue.
        pytest.param(queued(), facts(is_next=True), Begin(), id="the first of a free session begins"),
        pytest.param(queued(), facts(), Wait(), id="another waits"),
        pytest.param(queued(), facts(is_next=True, leads=False), Wait(), id="only the leader looks after a queue"),
        # Delivery.
        pytest.param(begun(), facts(may_deliver=True), Deliver(), id="nobody delivers it"),
        pytest.param(sent(), facts(may_deliver=True), Deliver(), id="who delivered it is dead"),
        pytest.param(begun(), facts(may_deliver=True, leads=False), Deliver(), id="its own gateway need not lead"),
        pytest.param(begun(), facts(may_deliver=True, delivering=True), Wait(at(50)), id="it is being delivered here"),
        pytest.param(delivered(), facts(may_deliver=True), Wait(at(50)), id="the container took it"),
        pytest.param(begun(), facts(), Wait(at(50)), id="another gateway delivers it"),
        pytest.param(
            begun(cancel_requested_at=at(1)),
            facts(2, may_deliver=True),
            End(endings.NEVER_SENT),
            id="what was cancelled before it was sent is never sent",
        ),
        pytest.param(
            begun(cancel_requested_at=at(1)),
            facts(2, may_deliver=True, delivering=True),
            Wait(at(GIVEN_UP_AT)),
            id="unless it is being sent just now",
        ),
        # Cancelling.
        pytest.param(delivered(cancel_requested_at=at(1)), facts(2), AskCancel(), id="cancelled"),
        pytest.param(
            delivered(cancel_requested_at=at(1), cancel_sent_at=at(2)), facts(11), AskCancel(), id="asked again"
        ),
        pytest.param(
            delivered(cancel_requested_at=at(1), cancel_sent_at=at(2)), facts(12), StopAgent(), id="asked for long"
        ),
        pytest.param(
            delivered(cancel_requested_at=at(1), cancel_sent_at=at(2)),
            facts(21, agent_stopped_at=at(20)),
            Wait(at(22)),
            id="a stopped agent's turn has time to end by itself",
        ),
        pytest.param(
            delivered(cancel_requested_at=at(1), cancel_sent_at=at(2)),
            facts(22, agent_stopped_at=at(20)),
            End(endings.AGENT_STOPPED),
            id="and is ended then",
        ),
        pytest.param(
            delivered(cancel_requested_at=at(1), cancel_sent_at=at(2), agent_stopped_at=at(12)),
            facts(13),
            StopAgent(),
            id="an agent whose stopping gateway died is stopped again",
        ),
        pytest.param(
            sent(cancel_requested_at=at(1)),
            facts(2, may_deliver=True),
            Deliver(),
            id="a prompt that may be on its way is delivered first, so that the cancel finds it",
        ),
        pytest.param(
            delivered(cancel_requested_at=at(1)), facts(2, connected=False), Wait(at(50)), id="its container is away"
        ),
        # Silence.
        pytest.param(delivered(), facts(200, heard=True), Wait(), id="it says something"),
        pytest.param(delivered(said_at=None), facts(200), Wait(), id="nobody has listened yet"),
        pytest.param(delivered(), facts(49), Wait(at(50)), id="silent for a while"),
        pytest.param(delivered(), facts(50), Warn(50), id="silent for long"),
        pytest.param(delivered(), facts(51, warned=True), Wait(at(100)), id="and warned of"),
        pytest.param(delivered(), facts(100, warned=True), Inquire(), id="stalled: asked about first"),
        pytest.param(delivered(), facts(101, warned=True, inquired_at=at(100)), Wait(at(103)), id="not again at once"),
        pytest.param(delivered(), facts(100, report=report()), AskCancel(), id="stalled, and it runs"),
        pytest.param(
            delivered(cancel_sent_at=at(100)), facts(110), StopAgent(), id="a stalled turn that hears no cancel"
        ),
        pytest.param(
            sent(),
            facts(100, report=report(session_state="cancelled")),
            AskCancel(),
            id="the base contract does not tell whether it runs",
        ),
        pytest.param(delivered(), facts(200, leads=False), Wait(), id="only the leader watches the silence"),
        # The answer is lost.
        pytest.param(unanswered(), facts(0), Inquire(), id="its end is asked for"),
        pytest.param(unanswered(), facts(4, inquired_at=at(3)), Wait(at(6)), id="now and then"),
        pytest.param(unanswered(), facts(40, connected=False), Wait(at(50)), id="or not while the container is away"),
        pytest.param(unanswered(), facts(4, inquired_at=at(4), report=report()), Wait(at(7)), id="it may be running"),
        pytest.param(unanswered(said_at=at(30)), facts(60, inquired_at=at(60)), Wait(at(63)), id="it said something"),
        pytest.param(
            unanswered(cancel_requested_at=at(1)), facts(2, inquired_at=at(1)), AskCancel(), id="and was cancelled"
        ),
        pytest.param(
            unanswered(cancel_requested_at=at(1), cancel_sent_at=at(1)), facts(11), StopAgent(), id="for long"
        ),
        # The end.
        pytest.param(delivered(), facts(1, session_ended=True), End(endings.SESSION_ENDED), id="with its session"),
        pytest.param(delivered(state="completed"), facts(999, may_deliver=True), Wait(), id="it is over"),
        pytest.param(delivered(state="lost", cancel_requested_at=at(1)), facts(999), Wait(), id="and stays so"),
    ],
)
def test_the_next_step_is(turn: Turn, around: Facts, step: Step) -> None:
    assert next_step(turn, around, CONFIG) == step


@pytest.mark.parametrize(
    ("turn", "around", "ended"),
    [
        pytest.param(begun(), facts(100, connected=False), ("failed", "container_unreachable"), id="never sent"),
        pytest.param(sent(), facts(100, connected=False), ("lost", "container_unreachable"), id="out of reach"),
        pytest.param(
            delivered(), facts(100, report=report(session_state="idle")), ("lost", "end_not_told"), id="end not told"
        ),
        pytest.param(unanswered(), facts(50, inquired_at=at(50)), ("lost", "answer_lost"), id="answer lost"),
        pytest.param(unanswered(), facts(50, connected=False), ("lost", "answer_lost"), id="answer lost, away"),
        pytest.param(
            delivered(cancel_requested_at=at(1)),
            facts(GIVEN_UP_AT),
            ("lost", "container_unreachable"),
            id="its container streams events and takes no calls",
        ),
        pytest.param(
            delivered(),
            facts(GIVEN_UP_AT, inquired_at=at(GIVEN_UP_AT)),
            ("lost", "container_unreachable"),
            id="the same of a stalled one",
        ),
    ],
)
def test_a_turn_that_nothing_is_known_of_ends_as(turn: Turn, around: Facts, ended: tuple[str, str]) -> None:
    assert end_of(next_step(turn, around, CONFIG)) == ended


REPORTS: list[tuple[dict[str, Any], tuple[str, str | None]]] = [
    ({"history": COMPLETED}, ("completed", None)),
    ({"boot_id": "another"}, ("failed", "container_restarted")),
    ({"boot_id": None}, ("failed", "container_restarted")),
    ({"session_state": "lost"}, ("failed", "session_lost")),
    ({"agent_status": "stopped"}, ("failed", "agent_stopped")),
    ({"agent_status": "error"}, ("failed", "agent_died")),
]


@pytest.mark.parametrize(("told", "ended"), REPORTS)
@pytest.mark.parametrize(("turn", "seconds"), [(delivered(), 100), (unanswered(), 1)])
def test_a_report_that_tells_the_end_ends_the_turn(
    turn: Turn, seconds: float, told: dict[str, Any], ended: tuple[str, str | None]
) -> None:
    assert end_of(next_step(turn, facts(seconds, report=report(**told)), CONFIG)) == ended


def test_a_session_that_looks_cancelled_has_ended_its_turn_only_if_that_was_cancelled() -> None:
    looks = report(session_state="cancelled")
    around = facts(2, inquired_at=at(2), report=looks)
    assert next_step(unanswered(), around, CONFIG) == Wait(at(5))
    assert next_step(unanswered(cancel_sent_at=at(1)), around, CONFIG) == End(endings.CANCELLED)


@pytest.mark.parametrize(
    ("turn", "boot_id", "knows_turn_ids", "delivery"),
    [
        (begun(), "boot", False, Send(may_have_arrived=False)),
        (begun(), "boot", True, Send(may_have_arrived=False)),
        (sent(), "boot", True, Send(may_have_arrived=True)),
        (sent(), "boot", False, AwaitEnd()),
        (begun(), "another", True, End(endings.RESTARTED)),
        (sent(), "another", True, End(endings.RESTARTED)),
        (begun(container_boot_id=None), None, False, Send(may_have_arrived=False)),
    ],
)
def test_a_prompt_is_sent_again_only_where_it_is_known_again(
    turn: Turn, boot_id: str | None, knows_turn_ids: bool, delivery: object
) -> None:
    assert next_delivery(turn, boot_id=boot_id, knows_turn_ids=knows_turn_ids) == delivery
