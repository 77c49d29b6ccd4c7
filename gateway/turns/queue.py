"""Prompts that wait for the turns before them: stored, in order, each begun once its session is free.

Whoever commits the end of a turn begins the next one at once; the gateway that leads the project begins what is left.
"""

import logging
from functools import partial

import attrs

from gateway.container.client import ContainerRefused
from gateway.container.containers import Containers
from gateway.db.due import Driver
from gateway.db.errors import UniqueViolation
from gateway.errors import (
    AgentInUse,
    AgentNotFound,
    AuthRequired,
    BadRequest,
    Conflict,
    ContainerMoved,
    CredentialUnusable,
    NotYourCredential,
    QueueFull,
    SessionEnded,
    TooManyTurns,
)
from gateway.log.ids import LogId
from gateway.log.store import Appended, Effect, EffectRefused, Log, NewEvent
from gateway.projects.limits import Limits
from gateway.projects.store import Project
from gateway.sessions.sessions import Session, Sessions
from gateway.sessions.turn import Turn
from gateway.turns import endings
from gateway.turns.starting import NewTurn, Starting
from gateway.turns.store import TurnStore
from gateway.wire.codec import dump_foreign_json
from gateway.wire.events import Cursor, TurnEnded, TurnQueued

logger = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Queued:
    """A turn that waits; ``position`` 1 is the next to begin. The cursor is the place just before its first event."""

    turn_id: str
    cursor: Cursor
    position: int


class Queue:
    """The queues of all sessions in one database."""

    def __init__(
        self,
        log: Log,
        store: TurnStore,
        sessions: Sessions,
        containers: Containers,
        starting: Starting,
        limits: Limits,
        driver: Driver,
        *,
        max_queued: int,
    ) -> None:
        self._log = log
        self._store = store
        self._sessions = sessions
        self._containers = containers
        self._starting = starting
        self._limits = limits
        self._driver = driver
        self._max_queued = max_queued

    async def add(self, project: Project, session: Session, new: NewTurn) -> Queued:
        """Have the prompt wait. Raises ``QueueFull`` if too many do."""
        await self._starting.check(project, new.blocks)
        row = {
            "project_id": project.id,
            "id": new.turn_id,
            "session_id": session.id,
            "user_id": new.user_id,
            "prompt": dump_foreign_json(list(new.blocks)),
            "most": self._max_queued,
        }
        event = NewEvent.of(
            TurnQueued(queued_by=new.user_id),
            session_id=session.id,
            turn_id=new.turn_id,
            agent_id=session.agent_id,
            key=f"turn_queued:{new.turn_id}",
            effects=(Effect("insert_queued_turn", row, required=True),),
        )
        try:
            await self._log.append(LogId(project.id), [event])
        except EffectRefused as exc:
            if len(await self._store.queued_ids(project.id, session.id)) >= self._max_queued:
                raise QueueFull(f"{self._max_queued} prompts wait in this session already (turns.max_queued).") from exc
            raise SessionEnded("The session has ended while the prompt came in.") from exc
        # The turn that it was to wait for may have ended meanwhile.
        self.advance(project.id, session.id)
        turn = await self._store.find(project.id, new.turn_id)
        if turn is None:
            raise SessionEnded()
        return await self.place(turn)

    async def place(self, turn: Turn) -> Queued:
        """Where a turn stands that was queued; one that has begun meanwhile stands where the next one will."""
        waiting = await self._store.queued_ids(turn.project_id, turn.session_id)
        position = waiting.index(turn.id) + 1 if turn.id in waiting else 1
        return Queued(turn_id=turn.id, cursor=turn.cursor, position=position)

    def advance(self, project_id: str, session_id: str) -> None:
        """Begin the session's next turn, if one waits and none runs."""
        self._driver.do(f"queue {session_id}", partial(self._advance, project_id, session_id))

    async def _advance(self, project_id: str, session_id: str) -> None:
        turn = await self._store.next_queued(project_id, session_id)
        if turn is None:
            return
        try:
            # Before anything is done for it, such as reviving its session. Under its id it would be there already.
            await self._limits.turn(project_id, turn.user_id, None, waits=True)
        except TooManyTurns:
            return  # the driver comes again, and finds a place as soon as one is free
        project = await self._containers.project(project_id)
        session = await self._sessions.get(project_id, session_id)
        new = NewTurn(turn_id=turn.id, user_id=turn.user_id, blocks=turn.prompt)
        try:
            most = self._limits.most_turns()
            await self._starting.begin(project, session, new, effect="start_queued_turn", **most)
        except (
            ContainerRefused,
            BadRequest,
            AgentNotFound,
            AuthRequired,
            NotYourCredential,
            CredentialUnusable,
            ContainerMoved,
            AgentInUse,
        ) as exc:
            # The container is there and will not have it, or nobody pays for it there: waiting changes nothing.
            await self._store.end_queued(turn, endings.failed(exc))
        except (EffectRefused, UniqueViolation, Conflict):
            return  # it was begun or cancelled meanwhile, or another turn was quicker, here or to the last place

    def appended(self, log_id: LogId, appended: Appended) -> None:
        """Begin the next turn of each session whose turn ended; for ``Log.listen``."""
        for event in appended.of(TurnEnded.type):
            if event.session_id is not None:
                self.advance(log_id.project_id, event.session_id)
