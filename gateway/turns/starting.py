"""The beginning of a turn: a container session that lives, the prompt in the log, and its way to the container."""

import attrs

from gateway.container.containers import Containers
from gateway.follow.followers import Followers
from gateway.log.ids import LogId
from gateway.log.store import Appended, Effect, Log, NewEvent
from gateway.projects.store import Project
from gateway.sessions.revival import Revival
from gateway.sessions.sessions import Session
from gateway.turns.delivery import Blocks, Delivery, Prompt
from gateway.wire.events import TurnStarted


@attrs.frozen(kw_only=True)
class NewTurn:
    """A prompt that is to become a turn, and who asked for it."""

    turn_id: str
    user_id: str
    blocks: Blocks = attrs.field(repr=False)


class Starting:
    """Begins turns, those that were just asked for and those that have waited."""

    def __init__(
        self,
        log: Log,
        containers: Containers,
        followers: Followers,
        revival: Revival,
        delivery: Delivery,
        *,
        gateway_id: str,
    ) -> None:
        self._log = log
        self._containers = containers
        self._followers = followers
        self._revival = revival
        self._delivery = delivery
        self._gateway_id = gateway_id

    async def check(self, project: Project, blocks: Blocks) -> None:
        """Raises ``InvalidBody`` for what the project's container does not take in a prompt."""
        (await self._containers.get(project)).check_prompt(blocks)

    async def begin(
        self, project: Project, session: Session, new: NewTurn, *, effect: str, **parameters: int
    ) -> Appended:
        """Store the beginning of a turn in the log, and start to deliver its prompt.

        ``effect`` is the statement that makes it run, ``parameters`` what else that takes.

        Raises ``UniqueViolation`` if the session runs a turn, ``EffectRefused`` if the statement finds that this one
        cannot begin.
        """
        container = await self._containers.get(project)
        container.check_prompt(new.blocks)
        await self._followers.connected(project.id)
        living = await self._revival.living(project, session, container)
        row = {
            "project_id": project.id,
            "id": new.turn_id,
            "session_id": session.id,
            "user_id": new.user_id,
            "container_session_id": living.container_session_id,
            "container_boot_id": living.container.boot_id,
            "gateway_id": self._gateway_id,
            **parameters,
        }
        event = NewEvent.of(
            TurnStarted(prompt=list(new.blocks), started_by=new.user_id),
            session_id=session.id,
            turn_id=new.turn_id,
            agent_id=session.agent_id,
            key=f"turn_started:{new.turn_id}",
            effects=(Effect(effect, row, required=True),),
        )
        appended = await self._log.append(LogId(project.id), [event])
        self._delivery.start(
            Prompt(project=project, session_id=session.id, turn_id=new.turn_id, blocks=new.blocks, living=living)
        )
        return appended
