"""Turns: a prompt until its end. What is asked is in the log before the agent sees it, and each turn ends once."""

import asyncio
import logging
import secrets
from datetime import datetime
from typing import Any, Literal

import attrs

from gateway.container.values import ContainerFacts
from gateway.db.errors import UniqueViolation, UnstorableText
from gateway.db.pool import Database, Row
from gateway.errors import GatewayError, NotYourCredential, SessionBusy, SessionEnded, TooManyTurns, TurnNotFound
from gateway.injection.injecting import Injecting
from gateway.log.folding import Folding
from gateway.log.store import Appended, EffectRefused, Log
from gateway.projects.limits import Limits
from gateway.projects.store import Project
from gateway.sessions.sessions import Session
from gateway.stream.tail import Tails
from gateway.tasks import Tasks
from gateway.turns.cancelling import Cancelling
from gateway.turns.delivery import Blocks
from gateway.turns.endings import RESTARTED, Endings
from gateway.turns.queue import Queue, Queued
from gateway.turns.starting import Asked, Starting
from gateway.wire.codec import parse_foreign_json
from gateway.wire.events import Cursor, TurnEnded

logger = logging.getLogger(__name__)

#: How often those who wait for a turn look whether the gateway stops.
LOOK_SECONDS = 1.0
#: And how soon again where the log moves: a turn that says much is not asked after with each word.
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.005, 0.1


TurnState = Literal["queued", "running", "completed", "cancelled", "failed", "stalled", "lost"]


@attrs.frozen(kw_only=True)
class Turn:
    """A turn. ``state``: queued, running, or its outcome."""

    id: str
    session_id: str
    state: TurnState
    stop_reason: str | None
    failure: str | None
    message: str | None
    #: What it will ask, as long as it waits; then the log has it.
    prompt: Any = attrs.field(repr=False)
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def from_row(cls, row: Row) -> "Turn":
        values = {field.name: row[field.name] for field in attrs.fields(cls)}
        prompt = None if row["prompt"] is None else parse_foreign_json(row["prompt"])
        return cls(**values | {"prompt": prompt})

    @property
    def is_open(self) -> bool:
        """Whether its end is still to come."""
        return self.state in ("queued", "running")


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
        folding: Folding,
        endings: Endings,
        starting: Starting,
        queue: Queue,
        cancelling: Cancelling,
        limits: Limits,
        injecting: Injecting,
    ) -> None:
        self._database = database
        self._log = log
        self._tails = tails
        self._folding = folding
        self._endings = endings
        self._starting = starting
        self._queue = queue
        self._cancelling = cancelling
        self._limits = limits
        self._injecting = injecting
        self._stopping = False
        self._tasks = Tasks()
        log.listen(self._fold_ended)

    async def start(
        self,
        project: Project,
        session: Session,
        user_id: str,
        blocks: Blocks,
        *,
        turn_id: str | None = None,
        queue: bool = False,
    ) -> Started | Queued:
        """Begin a turn: it is in the log, and its prompt is on its way. Run it in a task of its own.

        With ``queue`` it waits in a busy session, and where as many turns run as may; without, it is ``SessionBusy`` or
        ``TooManyTurns``. With the id of a turn that there is already, it is that turn, and nothing happens.
        """
        if turn_id is not None and (known := await self._find(project.id, turn_id)) is not None:
            return await self._as_it_was(known)
        if session.status == "ended":
            raise SessionEnded()
        whose = session.credential_user_id
        if whose not in (None, user_id):
            raise NotYourCredential(
                f"The session runs with {whose}'s credential, so only they may prompt it; you may "
                "watch it, answer its permission requests, cancel its turns, and make a session of your own."
            )
        asked = Asked(turn_id=turn_id or new_turn_id(), user_id=user_id, blocks=blocks)
        try:
            if session.turn_id is not None or session.queue:
                raise _busy(session)
            await self._limits.turn(project.id, user_id, turn_id, waits=queue)
            if whose is not None:
                await self._injecting.agree(project, session.agent_id, whose)
            return await self._begin(project, session, asked)
        except (SessionBusy, TooManyTurns):
            if not queue:
                raise
        if whose is not None:
            await self._injecting.agree(project, session.agent_id, whose)
        return await self._queue.add(project, session, asked)

    async def _begin(self, project: Project, session: Session, asked: Asked) -> Started | Queued:
        try:
            appended = await self._starting.begin(project, session, asked, effect="insert_turn")
        except UniqueViolation as exc:
            raise SessionBusy() from exc
        except EffectRefused as exc:
            now = await self._database.fetch_one("get_session", project_id=project.id, id=session.id)
            if now is not None and now["queue"]:
                raise _busy(Session.from_row(now)) from exc
            raise SessionEnded("The session has ended, or was taken up again, while the prompt came in.") from exc
        if not appended.events:
            # Stored by an attempt whose outcome was not told, or under a reserved id by somebody who was quicker.
            return await self._as_it_was(await self._row(project.id, asked.turn_id))
        before = appended.events[0].cursor
        return Started(turn_id=asked.turn_id, cursor=Cursor(before.epoch, before.seq - 1))

    async def _as_it_was(self, turn: Row) -> Started | Queued:
        if turn["state"] == "queued":
            return await self._queue.place(turn)
        return Started(turn_id=turn["id"], cursor=Cursor(turn["epoch"], turn["before_seq"]))

    async def get(self, project_id: str, turn_id: str) -> Turn:
        return Turn.from_row(await self._row(project_id, turn_id))

    async def of_session(self, session: Session, turn_id: str) -> Turn:
        """The turn, if it is one of this session's."""
        try:
            row = await self._find(session.project_id, turn_id)
        except UnstorableText as exc:
            raise TurnNotFound() from exc
        if row is None or row["session_id"] != session.id:
            raise TurnNotFound(f"There is no turn {turn_id!r} in this session.")
        return Turn.from_row(row)

    async def wait(self, project_id: str, turn_id: str, seconds: float) -> Turn:
        """The turn, once it has ended, after ``seconds``, or when the gateway stops."""
        deadline, pause = asyncio.get_running_loop().time() + seconds, FIRST_PAUSE_SECONDS
        async with self._tails.watch(project_id) as tail:
            while True:
                seen = Cursor(tail.epoch, tail.head)
                turn = await self.get(project_id, turn_id)
                left = deadline - asyncio.get_running_loop().time()
                if not turn.is_open or left <= 0 or self._stopping:
                    return turn
                await tail.wait(seen, min(left, LOOK_SECONDS))
                await asyncio.sleep(min(left, pause))
                pause = min(pause * 2, MAX_PAUSE_SECONDS)

    def stop_waiting(self) -> None:
        """The gateway is about to stop: whoever waits for a turn is told that it runs."""
        self._stopping = True

    async def cancel(self, project: Project, session: Session, user_id: str, turn_id: str | None = None) -> str | None:
        """Ask for the end of the running turn, or of the one that is named; gives its id, None where it is over.

        Its end comes as an event. Run it in a task of its own. A turn whose prompt has not been sent is ended instead
        of being sent, one that waits in the queue at once.
        """
        turn_id = turn_id or session.turn_id
        if turn_id is None:
            return None
        await self.of_session(session, turn_id)
        turn = await self._row(project.id, turn_id)
        if turn["state"] == "queued" and await self._queue.cancel(turn):
            return turn_id
        wanted = await self._cancelling.request(turn, user_id)
        turn = await self._row(project.id, turn_id)
        if not wanted or turn["ended_at"] is not None:
            return None
        if turn["sent_at"] is not None:
            self._tasks.start(self._ask_to_cancel(turn), name=f"cancel {turn_id}")
        return turn_id

    async def _ask_to_cancel(self, turn: Row) -> None:
        try:
            await self._cancelling.ask(turn)
        except GatewayError as exc:
            # The keeper goes on.
            logger.info("cancel not delivered yet", extra={"turn": turn["id"], "error": str(exc)})

    async def reconcile(self, project_id: str, facts: ContainerFacts, fence: int) -> None:
        """End the turns that were given to another boot of the container than is followed now: it does not run them.

        Under the follower's fence: a gateway that was paused since it asked may know an older boot than the turns'. One
        whose prompt is on its way is for whoever brings it: the boot that is there now may not know its session, and so
        have it sent to another.
        """
        for turn in await self._database.fetch_all("running_turns", project_id=project_id):
            is_brought = turn["delivered_at"] is not None or turn["unanswered_since"] is not None
            # What has no boots answers a prompt at the turn's end alone.
            if turn["container_boot_id"] != facts.boot_id and (is_brought or turn["container_boot_id"] is None):
                await self._endings.end(project_id, turn["id"], RESTARTED, fence=fence)

    async def close(self) -> None:
        await self._tasks.close()

    def _fold_ended(self, project_id: str, appended: Appended) -> None:
        for event in appended.of(TurnEnded.type):
            if event.session_id is not None:
                fold = self._folding.fold(project_id, event.session_id)
                self._tasks.start(fold, name=f"fold {event.session_id}")

    async def _find(self, project_id: str, turn_id: str) -> Row | None:
        return await self._database.fetch_one("get_turn", project_id=project_id, id=turn_id)

    async def _row(self, project_id: str, turn_id: str) -> Row:
        row = await self._find(project_id, turn_id)
        if row is None:
            raise TurnNotFound(f"There is no turn {turn_id!r} in this project.")
        return row


def _busy(session: Session) -> SessionBusy:
    return SessionBusy(turnId=session.turn_id) if session.turn_id else SessionBusy()
