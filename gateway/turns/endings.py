"""The ends that the gateway itself gives to turns, and what they say."""

from gateway.container.client import ContainerRefused
from gateway.errors import (
    AgentInUse,
    AuthRequired,
    BadRequest,
    ContainerMoved,
    CredentialUnusable,
    GatewayError,
    NotFound,
    NotYourCredential,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
)
from gateway.sessions.turn import Turn
from gateway.wire.events import TurnEnded

NEVER_SENT = TurnEnded(outcome="cancelled", message="The turn was cancelled before its prompt was sent.")
CANCELLED_IN_QUEUE = TurnEnded(outcome="cancelled", message="The turn was cancelled in the queue.")
CANCELLED = TurnEnded(outcome="cancelled")
SESSION_ENDED = TurnEnded(outcome="cancelled", message="The session was ended.")
SESSION_LOST = TurnEnded(outcome="failed", failure="session_lost", message="The container has forgotten the session.")
RESTARTED = TurnEnded(
    outcome="failed", failure="container_restarted", message="The container restarted while the turn was running."
)
AGENT_STOPPED = TurnEnded(outcome="failed", failure="agent_stopped")


def agent_gone(failure: str) -> TurnEnded:
    message = "The agent's process ended while the turn was running."
    return TurnEnded(outcome="failed", failure=failure, message=message)


def unreachable(turn: Turn, silence: float) -> TurnEnded:
    """A turn whose container has been away for ``silence`` seconds; one that it never got has failed."""
    return TurnEnded(
        outcome="failed" if turn.sent_at is None else "lost",
        failure="container_unreachable",
        message=f"The session has said nothing for {silence:g} s, and its container cannot be reached.",
    )


def end_not_told(silence: float) -> TurnEnded:
    message = f"The session has said nothing for {silence:g} s, and its container no longer works on the turn."
    return TurnEnded(outcome="lost", failure="end_not_told", message=message)


def answer_lost(silence: float) -> TurnEnded:
    message = (
        "The answer to the prompt was lost, with its connection or its gateway, the container tells the end of a turn "
        f"in no other way, and the session has said nothing for {silence:g} s."
    )
    return TurnEnded(outcome="lost", failure="answer_lost", message=message)


def cancel_unanswered(seconds: float, reason: str) -> TurnEnded:
    message = f"The turn did not end within {seconds:g} s of being cancelled, and its agent cannot be stopped: {reason}"
    return TurnEnded(outcome="lost", failure="cancel_unanswered", message=message)


def answered(turn: Turn) -> TurnEnded:
    """The end of a turn whose prompt has its answer, which does not say why it ended."""
    return CANCELLED if turn.is_cancelling else TurnEnded(outcome="completed")


def failed(exc: GatewayError) -> TurnEnded:
    """The end of a turn whose prompt could not be sent, or was refused."""
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
        case UpstreamError():
            failure = "container_unreachable"
        case _:
            # The container has lost it, and it could not be taken up.
            failure = "session_lost"
    return TurnEnded(outcome="failed", failure=failure, message=str(exc))
