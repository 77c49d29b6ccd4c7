"""What a container can still tell of a turn whose end nobody told."""

from gateway.container.client import Container, ContainerInfo
from gateway.db.pool import Row
from gateway.wire.events import TurnEnded

_GONE = {"stopped": "agent_stopped", "error": "agent_died"}


async def how_it_ended(container: Container, info: ContainerInfo, turn: Row) -> TurnEnded | None:
    """How a turn ended, for certain; None where it may be running. Raises ``UpstreamError`` kinds.

    ``turn``: a row of ``turns_to_look_after``. A session of the base contract stays ``processing`` when its turn is
    over, and becomes ``idle`` only by being cancelled.
    """
    if turn["container_boot_id"] != info.boot_id:
        return TurnEnded(
            outcome="failed", failure="container_restarted", message="The container restarted during the turn."
        )
    status = await container.session_status(turn["container_session_id"] or "")
    if status is None or status == "ended":
        return TurnEnded(outcome="failed", failure="session_lost", message="The container has forgotten the session.")
    agent = (await container.agent_status(turn["agent_id"])).get("status")
    if isinstance(agent, str) and agent in _GONE:
        return TurnEnded(
            outcome="failed", failure=_GONE[agent], message="The agent's process ended while the turn was running."
        )
    if status == "idle" and not info.tells_end_of_turn and turn["cancel_sent_at"] is not None:
        return TurnEnded(outcome="cancelled")
    return None


async def is_running(container: Container, info: ContainerInfo, turn: Row) -> bool:
    """Whether the container's session works on a turn, as far as it tells the truth about that."""
    status = await container.session_status(turn["container_session_id"] or "")
    return status == "processing" or not info.tells_end_of_turn
