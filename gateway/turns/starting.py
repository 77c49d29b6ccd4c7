"""The beginning of a turn: a container session that lives, the prompt in the log, and its way to the container."""

import attrs

from gateway.container.containers import Containers
from gateway.follow.followers import Followers
from gateway.log.store import Appended, Effect, Log, NewEvent
from gateway.projects.store import Project
from gateway.sessions.revival import Revival
from gateway.sessions.sessions import Session
from gateway.turns.delivery import Blocks, Delivery, Prompt
from gateway.wire.events import TurnStarted


@attrs.frozen(kw_only=True)
class Asked:
    """Whose prompt is to become which turn."""

    turn_id: str
    user_id: str
    blocks: Blocks = attrs.field(repr=False)


class Starting:
    """Begins turns, those that were just asked for and those that have waited."""

    def __init__(
        self, log: Log, containers: Containers, followers: Followers, revival: Revival, delivery: Delivery
    ) -> None:
        self._log = log
        self._containers = containers
        self._followers = followers
        self._revival = revival
        self._delivery = delivery

    async def check(self, project: Project, blocks: Blocks) -> None:
        """Raises ``InvalidBody`` for what the project's container does not take in a prompt."""
        (await self._containers.get(project)).check_prompt(blocks)

    async def begin(
        self, project: Project, session: Session, asked: Asked, *, effect: str, **parameters: int
    ) -> Appended:
        """Have the turn in the log and its prompt on its way.

        ``effect`` is the statement that makes it run, ``parameters`` what it wants to know besides.

        Raises ``UniqueViolation`` where the session runs a turn, ``EffectRefused`` where the statement finds that this
        one cannot begin.
        """
        container = await self._containers.get(project)
        container.check_prompt(asked.blocks)
        await self._followers.connected(project.id)
        living = await self._revival.living(project, session, container)
        row = {
            "project_id": project.id,
            "id": asked.turn_id,
            "session_id": session.id,
            "user_id": asked.user_id,
            "container_session_id": living.container_session_id,
            "container_boot_id": living.container.boot_id,
            "gateway_id": self._delivery.gateway_id,
            **parameters,
        }
        event = NewEvent.of(
            TurnStarted(prompt=list(asked.blocks), started_by=asked.user_id),
            session_id=session.id,
            turn_id=asked.turn_id,
            agent_id=session.agent_id,
            key=f"turn_started:{asked.turn_id}",
            effects=(Effect(effect, row, required=True),),
        )
        appended = await self._log.append(project.id, [event])
        self._delivery.start(
            Prompt(
                project=project,
                turn_id=asked.turn_id,
                blocks=asked.blocks,
                session_id=session.id,
                living=living,
            )
        )
        return appended
