"""What is to be done next about a turn. Pure: a turn and the facts around it go in, one step comes out.

A turn outlives the gateways that work on it. Each of its times is stored before the step that it names is taken, so
that after a crash any gateway can tell from the turn alone what may have happened:

- `sent_at`: the prompt may have reached the container. Without it, the container never saw the prompt, which is sent
  now, or never if the turn was cancelled meanwhile. With it, only a container that knows turns by their ids is sent the
  prompt again, and runs it once. A container that did not know the session did not take the prompt: `sent_at` is
  cleared, and another container session is sent it.
- `delivered_at`: the container took the prompt and tells the turn's end by an event. Nothing is left to deliver.
- `unanswered_since`: the prompt's answer was lost with its connection or its gateway, and it alone would have told the
  end. Its events still come; how it ended is asked for, and it is lost after a silence of `turns.lost_after`.
- `cancel_requested_at`: somebody wants the turn to stop. `cancel_sent_at`: the container was asked to, and is asked
  again until `turns.cancel_timeout` is over, because the prompt itself may still be on its way. A container that could
  not be reached was not asked. `cancel_sent_at` alone means that the gateway took the turn for stalled.
- `agent_stopped_at`: the turn did not end in that time, so its agent is being stopped.
- `said_at`: the session said something new, or a person was waited for. A turn may last as long as it says something.

Its end is one append under a key of the turn's own, which changes a turn only if that is open: the first end counts,
whoever reports it, and later ones change nothing. The gateway with the project's lease takes all steps but one: the
prompt is delivered by the gateway that the turn names, or by another once that is dead.
"""

from datetime import datetime, timedelta
from typing import Final

import attrs

from gateway.config.schema import TurnsConfig
from gateway.container.dialects import SessionState
from gateway.sessions.turn import Turn
from gateway.turns import endings
from gateway.wire.events import TurnEnded

#: How often the container is asked how a silent turn is doing.
INQUIRY_SECONDS: Final = 3.0
#: How long the container may take to tell the end of a turn whose agent was stopped.
GRACE_SECONDS: Final = 2.0
#: A silent turn that nobody could ask about or stop for so long is given up.
GIVE_UP_SECONDS: Final = 600.0

_AGENT_GONE: Final = {"stopped": "agent_stopped", "error": "agent_died"}


@attrs.frozen(kw_only=True)
class Report:
    """What the container says about a turn. Empty members were not asked for, as those before them tell enough."""

    boot_id: str | None
    #: The end as OpenCode's own history has it.
    history: TurnEnded | None = None
    session_state: SessionState | None = None
    agent_status: str | None = None


@attrs.frozen(kw_only=True)
class Facts:
    """What is known around a turn at the time ``now`` of the database's clock."""

    now: datetime
    agent_id: str
    #: The container's session that stands for the turn's session now.
    container_session_id: str | None = None
    #: This gateway holds the project's lease.
    leads: bool = False
    #: The turn names this gateway, or a dead one, to deliver its prompt.
    may_deliver: bool = False
    #: The container's events are being read.
    connected: bool = False
    session_ended: bool = False
    #: Nothing runs in the session, and the turn is the first of its queue.
    is_next: bool = False
    #: The session said something new, or waits for a person.
    heard: bool = False
    #: A warning of the present silence is in the log.
    warned: bool = False

    # What this process remembers.
    delivering: bool = False
    inquired_at: datetime | None = None
    agent_stopped_at: datetime | None = None
    #: The answer to an inquiry that was made just now.
    report: Report | None = None


@attrs.frozen
class Begin:
    """Have the queued turn run."""


@attrs.frozen
class Deliver:
    """Bring the prompt to the container."""


@attrs.frozen
class AskCancel:
    """Ask the container to cancel the turn."""


@attrs.frozen
class StopAgent:
    """Stop the agent that runs the turn."""


@attrs.frozen
class Inquire:
    """Ask the container about the turn, and then this machine again, with its report."""


@attrs.frozen
class Warn:
    """Say in the log that nothing was heard for ``silent_for`` seconds."""

    silent_for: float


@attrs.frozen
class End:
    """Store the turn's end."""

    ended: TurnEnded


@attrs.frozen
class Wait:
    """Do nothing before ``until``, if nothing else changes; None: however long."""

    until: datetime | None = None


Step = Begin | Deliver | AskCancel | StopAgent | Inquire | Warn | End | Wait


@attrs.frozen
class Send:
    """Send the prompt; it ``may_have_arrived`` before, at a container that knows it again."""

    may_have_arrived: bool


@attrs.frozen
class AwaitEnd:
    """Do not send the prompt: it may have arrived, and would run twice. Its answer is lost."""


def next_delivery(turn: Turn, *, boot_id: str | None, knows_turn_ids: bool) -> Send | AwaitEnd | End:
    """How to deliver the prompt of a turn that this process has claimed, to a container of this boot."""
    if turn.container_boot_id != boot_id:
        return End(endings.RESTARTED)
    may_have_arrived = turn.sent_at is not None
    return AwaitEnd() if may_have_arrived and not knows_turn_ids else Send(may_have_arrived)


def next_step(turn: Turn, facts: Facts, config: TurnsConfig) -> Step:
    """What this gateway does next about a turn."""
    if turn.state == "queued":
        return Begin() if facts.leads and facts.is_next else Wait()
    if turn.state != "running":
        return Wait()
    step = _if_silent(turn, facts, config) if facts.leads else Wait()
    if not isinstance(step, Wait):
        return step
    if facts.may_deliver and not facts.delivering and turn.delivered_at is None and turn.unanswered_since is None:
        never_sent = turn.sent_at is None and turn.cancel_requested_at is not None
        return End(endings.NEVER_SENT) if never_sent else Deliver()
    if facts.leads and turn.is_cancelling and turn.sent_at is not None and facts.connected:
        return _earlier(step, _cancel(turn, facts, config))
    return step


def _if_silent(turn: Turn, facts: Facts, config: TurnsConfig) -> Step:
    if facts.session_ended:
        return End(endings.SESSION_ENDED)
    if facts.heard or turn.said_at is None:
        return Wait()
    if turn.unanswered_since is not None:
        return _if_unanswered(turn, facts, config, since=max(turn.unanswered_since, turn.said_at))
    patience = config.stall_after + config.cancel_timeout + GIVE_UP_SECONDS
    give_up_at = _after(turn.said_at, patience)
    if facts.now >= give_up_at:
        return End(endings.unreachable(turn, patience))
    if turn.is_cancelling and facts.connected:
        return Wait(give_up_at)
    return _earlier(Wait(give_up_at), _if_stalling(turn, facts, config, since=turn.said_at))


def _if_unanswered(turn: Turn, facts: Facts, config: TurnsConfig, *, since: datetime) -> Step:
    lost_at = _after(since, config.lost_after)
    if facts.report is not None and (ended := _ended(turn, facts.report)):
        return End(ended)
    # A session whose cancelled turn goes on looks cancelled: its agent is to be stopped, not the answer believed.
    inquiry_at = _inquiry_at(facts) if facts.connected and not _is_stopping(turn, facts, config) else None
    if inquiry_at is not None and facts.now >= inquiry_at:
        return Inquire()
    if facts.now >= lost_at:
        return End(endings.answer_lost(config.lost_after))
    return Wait(lost_at if inquiry_at is None else min(lost_at, inquiry_at))


def _if_stalling(turn: Turn, facts: Facts, config: TurnsConfig, *, since: datetime) -> Step:
    stalled_at, warn_at = _after(since, config.stall_after), _after(since, config.stall_after / 2)
    if facts.now < warn_at:
        return Wait(warn_at)
    if facts.now < stalled_at:
        return Wait(stalled_at) if facts.warned else Warn((facts.now - since).total_seconds())
    if not facts.connected:
        return End(endings.unreachable(turn, config.stall_after))
    if facts.report is None:
        inquiry_at = _inquiry_at(facts)
        return Inquire() if facts.now >= inquiry_at else Wait(inquiry_at)
    if ended := _ended(turn, facts.report):
        return End(ended)
    if facts.report.session_state == "idle":
        return End(endings.end_not_told(config.stall_after))
    # What runs there must not be in the way of the next prompt. Its end becomes a stall: see `as_asked`.
    return AskCancel()


def _cancel(turn: Turn, facts: Facts, config: TurnsConfig) -> Step:
    if facts.agent_stopped_at is not None:
        # The container's own word on the end comes first, if it has one; `as_asked` makes either a cancellation.
        until = _after(facts.agent_stopped_at, GRACE_SECONDS)
        return End(endings.AGENT_STOPPED) if facts.now >= until else Wait(until)
    return StopAgent() if _is_stopping(turn, facts, config) else AskCancel()


def _is_stopping(turn: Turn, facts: Facts, config: TurnsConfig) -> bool:
    return turn.cancel_sent_at is not None and facts.now >= _after(turn.cancel_sent_at, config.cancel_timeout)


def _ended(turn: Turn, report: Report) -> TurnEnded | None:
    """How a turn ended, if the report says so for certain."""
    if report.history is not None:
        return report.history
    if report.boot_id != turn.container_boot_id:
        return endings.RESTARTED
    if report.session_state == "lost":
        return endings.SESSION_LOST
    if failure := _AGENT_GONE.get(report.agent_status or ""):
        return endings.agent_gone(failure)
    if report.session_state == "cancelled" and turn.cancel_sent_at is not None:
        return endings.CANCELLED
    return None


def _earlier(waiting: Wait, step: Step) -> Step:
    """``step``; if it waits, no longer than ``waiting`` does."""
    if isinstance(step, Wait) and waiting.until is not None:
        return waiting if step.until is None else Wait(min(waiting.until, step.until))
    return step


def _inquiry_at(facts: Facts) -> datetime:
    return facts.now if facts.inquired_at is None else _after(facts.inquired_at, INQUIRY_SECONDS)


def _after(time: datetime, seconds: float) -> datetime:
    return time + timedelta(seconds=seconds)
