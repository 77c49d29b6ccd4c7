"""Turns: a prompt until its end. What is asked is in the log before the agent sees it, and each turn ends once."""

import asyncio
import logging
import secrets
from datetime import datetime

import attrs

from gateway.container.client import ContainerInfo
from gateway.db.errors import UniqueViolation, UnstorableText
from gateway.db.pool import Database, Row
from gateway.errors import (
    GatewayError,
    InvalidBody,
    SessionBusy,
    SessionEnded,
    TurnNotFound,
)
from gateway.log.folding import Folding
from gateway.log.followers import Followers
from gateway.log.store import Appended, Effect, EffectRefused, Log, NewEvent
from gateway.log.tail import Tails
from gateway.projects import Project
from gateway.sessions.cancelling import Cancelling
from gateway.sessions.containers import Containers
from gateway.sessions.delivery import Blocks, Delivery, Prompt
from gateway.sessions.endings import RESTARTED, Endings
from gateway.sessions.revival import Revival
from gateway.sessions.sessions import Session
from gateway.tasks import Tasks
from gateway.wire.events import Cursor, TurnEnded, TurnStarted

logger = logging.getLogger(__name__)

#: How often those who wait for a turn look whether the gateway stops.
LOOK_SECONDS = 1.0


@attrs.frozen(kw_only=True)
class Turn:
    """A turn. ``state``: running, or one of the outcomes completed, cancelled, failed, stalled, lost."""

    id: str
    session_id: str
    state: str
    stop_reason: str | None
    failure: str | None
    message: str | None
    started_at: datetime
    ended_at: datetime | None

    @classmethod
    def from_row(cls, row: Row) -> "Turn":
        return cls(**{field.name: row[field.name] for field in attrs.fields(cls)})


@attrs.frozen(kw_only=True)
class Started:
    """A turn that has begun, and the place in the log just before its first event."""

    turn_id: str
    cursor: Cursor


def new_turn_id() -> str:
    return f"trn_{secrets.token_hex(10)}"


class Turns:
    """Starts turns, waits for them, cancels them."""

    def __init__(
        self,
        database: Database,
        log: Log,
        tails: Tails,
        containers: Containers,
        followers: Followers,
        folding: Folding,
        endings: Endings,
        delivery: Delivery,
        cancelling: Cancelling,
    ) -> None:
        self._database = database
        self._log = log
        self._tails = tails
        self._containers = containers
        self._followers = followers
        self._folding = folding
        self._endings = endings
        self._delivery = delivery
        self._cancelling = cancelling
        self._revival = Revival(database, log, containers, gateway_id=delivery.gateway_id)
        self._stopping = False
        self._tasks = Tasks()
        log.listen(self._fold_ended)

    async def start(
        self, project: Project, session: Session, user_id: str, blocks: Blocks, *, turn_id: str | None = None
    ) -> Started:
        """Begin a turn: it is in the log, and its prompt is on its way. Run it in a task of its own.

        With the id of a turn that there is already, it is that turn, and nothing happens.
        """
        if turn_id is not None and (known := await self._find(project.id, turn_id)) is not None:
            return _started(known)
        if session.status == "ended":
            raise SessionEnded()
        if session.turn_id is not None:
            raise _busy(session.turn_id)
        info = await self._containers.info(project)
        if not info.takes_content_blocks and any(block.get("type") != "text" for block in blocks):
            raise InvalidBody("$.prompt: this project's container takes text only")
        await self._followers.connected(project.id)
        container_session_id = await self._revival.container_session(project, session, info)
        turn_id = turn_id or new_turn_id()
        key = {"project_id": project.id, "id": turn_id, "session_id": session.id}
        bound = {
            "user_id": user_id,
            "container_session_id": container_session_id,
            "container_boot_id": info.boot_id,
            "gateway_id": self._delivery.gateway_id,
        }
        event = NewEvent.of(
            TurnStarted(prompt=list(blocks), started_by=user_id),
            session_id=session.id,
            turn_id=turn_id,
            agent_id=session.agent_id,
            key=f"turn_started:{turn_id}",
            effects=(Effect("insert_turn", key | bound, required=True),),
        )
        try:
            appended = await self._log.append(project.id, [event])
        except UniqueViolation as exc:
            raise _busy(None) from exc
        except EffectRefused as exc:
            raise SessionEnded("The session has ended, or was taken up again, while the prompt came in.") from exc
        prompt = Prompt(
            project=project, turn_id=turn_id, container_session_id=container_session_id, blocks=blocks, info=info
        )
        self._delivery.start(prompt)
        if not appended.events:
            # Stored by an attempt whose outcome was not told, or under a reserved id by somebody who was quicker.
            return _started(await self._row(project.id, turn_id))
        before = appended.events[0].cursor
        return Started(turn_id=turn_id, cursor=Cursor(before.epoch, before.seq - 1))

    async def get(self, project_id: str, turn_id: str) -> Turn:
        return Turn.from_row(await self._row(project_id, turn_id))

    async def of_session(self, session: Session, turn_id: str) -> Turn:
        """The turn, if it is one of this session's."""
        try:
            turn = await self.get(session.project_id, turn_id)
        except UnstorableText as exc:
            raise TurnNotFound() from exc
        if turn.session_id != session.id:
            raise TurnNotFound(f"There is no turn {turn_id!r} in this session.")
        return turn

    async def wait(self, project_id: str, turn_id: str, seconds: float) -> Turn:
        """The turn, once it has ended, after ``seconds``, or when the gateway stops."""
        deadline = asyncio.get_running_loop().time() + seconds
        async with self._tails.watch(project_id) as tail:
            while True:
                seen = Cursor(tail.epoch, tail.head)
                turn = await self.get(project_id, turn_id)
                left = deadline - asyncio.get_running_loop().time()
                if turn.state != "running" or left <= 0 or self._stopping:
                    return turn
                await tail.wait(seen, min(left, LOOK_SECONDS))

    def stop_waiting(self) -> None:
        """The gateway is about to stop: whoever waits for a turn is told that it runs."""
        self._stopping = True

    async def cancel(self, project: Project, session: Session, user_id: str) -> str | None:
        """Ask for the end of the running turn; gives its id, None where none is running. Its end comes as an event.

        Run it in a task of its own. A turn whose prompt has not been sent is ended instead of being sent.
        """
        if session.turn_id is None:
            return None
        turn = await self._row(project.id, session.turn_id)
        if not await self._cancelling.request(turn, user_id):
            return None
        turn = await self._row(project.id, session.turn_id)
        if turn["sent_at"] is not None:
            self._tasks.start(self._ask_to_cancel(turn), name=f"cancel {turn['id']}")
        return session.turn_id

    async def _ask_to_cancel(self, turn: Row) -> None:
        try:
            await self._cancelling.ask(turn)
        except GatewayError as exc:
            # The keeper goes on.
            logger.info("cancel not delivered yet", extra={"turn": turn["id"], "error": str(exc)})

    async def reconcile(self, project_id: str, info: ContainerInfo) -> None:
        """End the turns that were given to another boot of the container than is followed now: it does not run them."""
        for turn in await self._database.fetch_all("running_turns", project_id=project_id):
            if turn["container_boot_id"] != info.boot_id:
                await self._endings.end(project_id, turn["id"], RESTARTED)

    async def close(self) -> None:
        await self._tasks.close()

    def _fold_ended(self, project_id: str, appended: Appended) -> None:
        for event in appended.events:
            if event.type == TurnEnded.type and event.session_id is not None:
                fold = self._folding.fold(project_id, event.session_id)
                self._tasks.start(fold, name=f"fold {event.session_id}")

    async def _find(self, project_id: str, turn_id: str) -> Row | None:
        return await self._database.fetch_one("get_turn", project_id=project_id, id=turn_id)

    async def _row(self, project_id: str, turn_id: str) -> Row:
        row = await self._find(project_id, turn_id)
        if row is None:
            raise TurnNotFound(f"There is no turn {turn_id!r} in this project.")
        return row


def _started(row: Row) -> Started:
    return Started(turn_id=row["id"], cursor=Cursor(row["epoch"], row["before_seq"]))


def _busy(turn_id: str | None) -> SessionBusy:
    return SessionBusy(turnId=turn_id) if turn_id else SessionBusy()
