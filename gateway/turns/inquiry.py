"""What a container can still tell of a turn whose end nobody told."""

from gateway.backfill.backfill import Histories
from gateway.container.containers import Containers
from gateway.container.dialects import SessionState
from gateway.sessions.turn import Turn
from gateway.turns.machine import Facts, Report


async def inquire(containers: Containers, histories: Histories, turn: Turn, facts: Facts) -> Report:
    """Ask the container about a turn. Raises ``UpstreamError`` kinds."""
    project = await containers.project(turn.project_id)
    container = await containers.identify(project)
    history = await histories.how_it_ended(project, turn.id)
    session: SessionState | None = None
    agent = None
    # Whatever has restarted, or lost the session, need not know the agent either.
    if history is None and container.boot_id == turn.container_boot_id:
        session = await container.session_state(facts.container_session_id or "")
        if session != "lost":
            agent = (await container.agent_status(facts.agent_id)).get("status")
    return Report(
        boot_id=container.boot_id,
        history=history,
        session_state=session,
        agent_status=agent if isinstance(agent, str) else None,
    )
