"""Turns and the facts around them, as the machine is given them in tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from gateway.config.schema import TurnsConfig
from gateway.sessions.turn import Turn
from gateway.turns.machine import Facts, Report
from gateway.wire.events import Cursor

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
CONFIG = TurnsConfig(cancel_timeout=10, stall_after=100, lost_after=50)

_QUEUED = Turn(
    id="trn_1",
    project_id="p",
    session_id="ses_1",
    user_id="local",
    state="queued",
    cursor=Cursor(1, 7),
    prompt=[{"type": "text", "text": "say hello"}],
    gateway_id=None,
    container_boot_id=None,
    container_session_id=None,
    queued_at=BEGAN,
    started_at=None,
    sent_at=None,
    delivered_at=None,
    unanswered_since=None,
    said_at=None,
    said_seq=None,
    cancel_requested_at=None,
    cancel_sent_at=None,
    agent_stopped_at=None,
    ended_at=None,
    stop_reason=None,
    failure=None,
    message=None,
)
_REPORT = Report(boot_id="boot", session_state="working", agent_status="running")


def at(seconds: float) -> datetime:
    """A time after the turn began."""
    return BEGAN + timedelta(seconds=seconds)


def queued(**changes: Any) -> Turn:
    return attrs.evolve(_QUEUED, **changes)


def begun(**changes: Any) -> Turn:
    """A turn that runs; its prompt has not been sent."""
    running = {"state": "running", "prompt": None, "gateway_id": "gateway-a", "container_boot_id": "boot"}
    return queued(**{**running, "started_at": BEGAN, "said_at": BEGAN, **changes})


def sent(**changes: Any) -> Turn:
    """One whose prompt's answer is waited for."""
    return begun(**{"sent_at": BEGAN, **changes})


def delivered(**changes: Any) -> Turn:
    """One whose container took the prompt, and tells its end by an event."""
    return sent(**{"delivered_at": BEGAN, **changes})


def unanswered(**changes: Any) -> Turn:
    """One whose prompt's answer was lost."""
    return sent(**{"unanswered_since": BEGAN, **changes})


def facts(seconds: float = 0, **changes: Any) -> Facts:
    """As the gateway that leads the project, and follows its container, sees them so long after the beginning."""
    usual = {"agent_id": "demo", "container_session_id": "c1", "leads": True, "connected": True}
    return Facts(now=at(seconds), **{**usual, **changes})


def report(**changes: Any) -> Report:
    """Of a container that works on the turn, unless changed."""
    return attrs.evolve(_REPORT, **changes)
