"""Turns are ended in the log, by whoever knows of their end."""

from contextlib import suppress

from gateway.container.client import ContainerRefused
from gateway.db.pool import Database
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
from gateway.log.store import Log
from gateway.sessions.endings import all_endings, as_asked
from gateway.turns.surely import surely
from gateway.wire.events import TurnEnded

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
        case UpstreamError():
            failure = "container_unreachable"
        case _:
            # The container has lost it, and it could not be taken up.
            failure = "session_lost"
    return TurnEnded(outcome="failed", failure=failure, message=str(exc))
