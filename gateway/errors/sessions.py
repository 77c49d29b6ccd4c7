"""Sessions, their turns, and the permissions that agents ask for."""

from typing import Final

from gateway.errors.base import GatewayError
from gateway.errors.containers import AgentNotFound
from gateway.errors.credentials import NotYourCredential
from gateway.errors.requests import BadRequest, Conflict, NotFound, TooManyRequests


class SessionNotFound(NotFound):
    """There is no such session in this project."""

    code = "session_not_found"


class SessionBusy(Conflict):
    """The session is running a turn; wait for its end or cancel it."""

    code = "session_busy"


class SessionEnded(Conflict):
    """The session has ended; create a new one."""

    code = "session_ended"


class NoDefaultAgent(Conflict):
    """No agent was named and the project has no default agent."""

    code = "no_default_agent"


class TooManySessions(Conflict):
    """The project has as many living sessions as it may have."""

    code = "too_many_sessions"


class TurnNotFound(NotFound):
    """There is no such turn in this session."""

    code = "turn_not_found"


class QueueFull(Conflict):
    """Too many prompts wait in this session already."""

    code = "queue_full"


class TooManyTurns(TooManyRequests):
    """As many turns run as may run at once."""

    code = "too_many_turns"


class PromptTooLarge(BadRequest):
    """The prompt is larger than prompts may be here."""

    status, code = 413, "prompt_too_large"


class HistoryTooLong(GatewayError):
    """The session has just said more than can be told at once; ask again in a moment."""

    status, code = 503, "history_too_long"


class ContentNotFound(NotFound):
    """The message has no such content, or no longer; read the message again."""

    code = "content_not_found"


class TooManyStreams(TooManyRequests):
    """As many event streams are open as one user may have."""

    code = "too_many_streams"


class PermissionNotFound(NotFound):
    """There is no such permission request in this project."""

    code = "permission_not_found"


class PermissionSettled(Conflict):
    """The permission request has been settled already."""

    code = "permission_settled"


class PermissionGone(GatewayError):
    """Nobody waits for an answer to this permission request any more."""

    status, code = 410, "permission_gone"


#: Where a session is made, beside what comes with its agent's credential.
NEW_SESSION: Final = (AgentNotFound, NoDefaultAgent, TooManySessions)
#: Where a session is prompted, likewise.
PROMPT: Final = (
    *(AgentNotFound, NotYourCredential),
    *(PromptTooLarge, QueueFull, SessionBusy, SessionEnded, TooManyTurns),
)
#: Where a session's messages are read.
HISTORY: Final = (Conflict, HistoryTooLong)
