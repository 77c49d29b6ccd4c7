"""Prompts that wait for the turns before them: stored, in order, each begun once when its session is free.

Whoever commits the end of a turn begins the next one at once; the keeper of the project begins what that one left.
"""

import logging

import attrs

from gateway.container.client import ContainerRefused
from gateway.container.containers import Containers
from gateway.db.errors import UniqueViolation
from gateway.db.pool import Database, Row
from gateway.errors import (
    AgentInUse,
    AgentNotFound,
    AuthRequired,
    BadRequest,
    Conflict,
    ContainerMoved,
    CredentialUnusable,
    GatewayError,
    NotFound,
    NotYourCredential,
    QueueFull,
    SessionEnded,
    TooManyTurns,
)
from gateway.log.store import Appended, Effect, EffectRefused, Log, NewEvent
from gateway.projects.limits import Limits
from gateway.projects.store import Project
from gateway.sessions.endings import queued_turn_ended
from gateway.sessions.sessions import Session
from gateway.tasks import Tasks
from gateway.turns.endings import failed
from gateway.turns.starting import Asked, Starting
from gateway.wire.codec import dump_foreign_json, parse_foreign_json
from gateway.wire.events import Cursor, TurnEnded, TurnQueued

logger = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Queued:
    """A turn that waits; ``position`` 1 is the next to begin. The cursor is the place just before its first event."""

    turn_id: str
    cursor: Cursor
    position: int


class Queue:
    """The queues of all sessions in one database. Owns the tasks that begin what has waited."""

    def __init__(
        self,
        database: Database,
        log: Log,
        containers: Containers,
        starting: Starting,
        limits: Limits,
        *,
        max_queued: int,
    ) -> None:
        self._database = database
        self._log = log
        self._containers = containers
        self._starting = starting
        self._limits = limits
        self._max_queued = max_queued
        self._tasks = Tasks()
        #: (project, session) whose next turn is being begun here.
        self._advancing: set[tuple[str, str]] = set()
        log.listen(self._committed)

    async def add(self, project: Project, session: Session, asked: Asked) -> Queued:
        """Have the prompt wait. Raises ``QueueFull`` where too many do."""
        await self._starting.check(project, asked.blocks)
        row = {
            "project_id": project.id,
            "id": asked.turn_id,
            "session_id": session.id,
            "user_id": asked.user_id,
            "prompt": dump_foreign_json(list(asked.blocks)),
            "most": self._max_queued,
        }
        event = NewEvent.of(
            TurnQueued(queued_by=asked.user_id),
            session_id=session.id,
            turn_id=asked.turn_id,
            agent_id=session.agent_id,
            key=f"turn_queued:{asked.turn_id}",
            effects=(Effect("insert_queued_turn", row, required=True),),
        )
        try:
            await self._log.append(project.id, [event])
        except EffectRefused as exc:
            if len(await self._waiting(project.id, session.id)) >= self._max_queued:
                raise QueueFull(f"{self._max_queued} prompts wait in this session already (turns.max_queued).") from exc
            raise SessionEnded("The session has ended while the prompt came in.") from exc
        # The turn that it was to wait for may have ended meanwhile.
        self.advance(project.id, session.id)
        turn = await self._database.fetch_one("get_turn", project_id=project.id, id=asked.turn_id)
        if turn is None:
            raise SessionEnded()
        return await self.place(turn)

    async def place(self, turn: Row) -> Queued:
        """Where a turn stands that was queued; one that has begun meanwhile stands where the next one will."""
        waiting = await self._waiting(turn["project_id"], turn["session_id"])
        position = waiting.index(turn["id"]) + 1 if turn["id"] in waiting else 1
        return Queued(turn_id=turn["id"], cursor=Cursor(turn["epoch"], turn["before_seq"]), position=position)

    async def cancel(self, turn: Row) -> bool:
        """Take a turn out of its queue; False where it does not wait any more."""
        return await self._end(turn, TurnEnded(outcome="cancelled", message="The turn was cancelled in the queue."))

    def advance(self, project_id: str, session_id: str) -> None:
        """Begin the session's next turn, if one waits and none runs."""
        place = (project_id, session_id)
        if place in self._advancing:
            return
        self._advancing.add(place)
        task = self._tasks.start(self._advance(project_id, session_id), name=f"queue {session_id}")
        task.add_done_callback(lambda _: self._advancing.discard(place))

    async def close(self) -> None:
        await self._tasks.close()

    async def _advance(self, project_id: str, session_id: str) -> None:
        try:
            turn = await self._database.fetch_one("next_queued_turn", project_id=project_id, session_id=session_id)
            if turn is not None:
                await self._begin(turn)
        except NotFound:
            return  # with its project
        except TooManyTurns:
            return  # the keeper comes again, and finds a place as soon as one is free
        except GatewayError as exc:
            # The keeper comes again: the container is away, or the database, or somebody else was quicker.
            logger.info("queued turn not begun yet", extra={"session": session_id, "error": str(exc)})

    async def _begin(self, turn: Row) -> None:
        # Asked before anything is done for it, such as taking up its session again. By name it would be there already.
        await self._limits.turn(turn["project_id"], turn["user_id"], None, waits=True)
        project = await self._containers.project(turn["project_id"])
        row = await self._database.fetch_one("get_session", project_id=project.id, id=turn["session_id"])
        if row is None:
            return
        blocks = parse_foreign_json(turn["prompt"])
        asked = Asked(turn_id=turn["id"], user_id=turn["user_id"], blocks=blocks)
        try:
            most = self._limits.most_turns()
            await self._starting.begin(project, Session.from_row(row), asked, effect="start_queued_turn", **most)
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
            await self._end(turn, failed(exc))
        except (EffectRefused, UniqueViolation, Conflict):
            return  # it was begun or cancelled meanwhile, or another turn was quicker, here or to the last place

    async def _end(self, turn: Row, ended: TurnEnded) -> bool:
        try:
            await self._log.append(turn["project_id"], [queued_turn_ended(turn, ended)])
        except EffectRefused:
            return False
        return True

    async def _waiting(self, project_id: str, session_id: str) -> list[str]:
        rows = await self._database.fetch_all("queued_turns", project_id=project_id, session_id=session_id)
        return [row["id"] for row in rows]

    def _committed(self, project_id: str, appended: Appended) -> None:
        for event in appended.of(TurnEnded.type):
            if event.session_id is not None:
                self.advance(project_id, event.session_id)
