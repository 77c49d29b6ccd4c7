"""What a container can still tell of a turn whose end nobody told."""

from gateway.container.dialects import Container
from gateway.db.pool import Row
from gateway.wire.events import TurnEnded

_GONE = {"stopped": "agent_stopped", "error": "agent_died"}


async def how_it_ended(container: Container, turn: Row) -> TurnEnded | None:
    """How a turn ended, for certain; None where it may be running. Raises ``UpstreamError`` kinds.

    ``turn``: a row of ``turns_to_look_after``.
    """
    if turn["container_boot_id"] != container.boot_id:
        return TurnEnded(
            outcome="failed", failure="container_restarted", message="The container restarted during the turn."
        )
    state = await container.session_state(turn["container_session_id"] or "")
    if state == "lost":
        return TurnEnded(outcome="failed", failure="session_lost", message="The container has forgotten the session.")
    agent = (await container.agent_status(turn["agent_id"])).get("status")
    if isinstance(agent, str) and agent in _GONE:
        return TurnEnded(
            outcome="failed", failure=_GONE[agent], message="The agent's process ended while the turn was running."
        )
    if state == "cancelled" and turn["cancel_sent_at"] is not None:
        return TurnEnded(outcome="cancelled")
    return None


async def is_running(container: Container, turn: Row) -> bool:
    """Whether the container's session works on a turn, as far as it tells the truth about that."""
    return await container.session_state(turn["container_session_id"] or "") not in ("idle", "lost")
