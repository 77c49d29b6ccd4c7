"""Turns: a prompt until its end. What is asked is in the log before the agent sees it, and each turn ends once."""

import asyncio
import re
import secrets
from functools import partial
from typing import Any

import attrs

from gateway.container.values import ContainerFacts
from gateway.db.due import Driver
from gateway.db.errors import UniqueViolation, UnstorableText
from gateway.errors import NotYourCredential, SessionBusy, SessionEnded, TooManyTurns, TurnNotFound
from gateway.injection.injecting import Injecting
from gateway.log.folding import Folding
from gateway.log.ids import LogId
from gateway.log.store import Appended, EffectRefused
from gateway.projects.limits import Limits
from gateway.projects.store import Project
from gateway.sessions.sessions import Session, Sessions
from gateway.sessions.turn import Turn
from gateway.stream.tail import Tails
from gateway.tasks import Tasks, wait_for
from gateway.turns import endings
from gateway.turns.cancelling import Cancelling
from gateway.turns.delivery import Blocks
from gateway.turns.queue import Queue, Queued
from gateway.turns.starting import NewTurn, Starting
from gateway.turns.store import TurnStore
from gateway.wire.events import Cursor, TurnEnded

#: How often those who wait for a turn look whether the gateway stops.
LOOK_SECONDS = 1.0


@attrs.frozen(kw_only=True)
class Started:
    """A turn that has begun, and the place in the log just before its first event."""

    turn_id: str
    cursor: Cursor


_TURN_ID = re.compile(r"trn_[0-9a-f]{20}")


def new_turn_id(digits: str | None = None) -> str:
    """An id; the same one for the same 20 hexadecimal digits."""
    return f"trn_{digits or secrets.token_hex(10)}"


def is_turn_id(value: Any) -> bool:
    return isinstance(value, str) and _TURN_ID.fullmatch(value) is not None


class Turns:
    """Starts turns, waits for them, cancels them."""

    def __init__(
        self,
        store: TurnStore,
        sessions: Sessions,
        tails: Tails,
        folding: Folding,
        starting: Starting,
        queue: Queue,
        cancelling: Cancelling,
        limits: Limits,
        injecting: Injecting,
        driver: Driver,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._tails = tails
        self._folding = folding
        self._starting = starting
        self._queue = queue
        self._cancelling = cancelling
        self._limits = limits
        self._injecting = injecting
        self._driver = driver
        self._stopping = False
        self._tasks = Tasks()

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
        if turn_id is not None and (known := await self._store.find(project.id, turn_id)) is not None:
            return await self._as_it_was(known)
        if session.status == "ended":
            raise SessionEnded()
        whose = session.credential_user_id
        if whose not in (None, user_id):
            raise NotYourCredential(
                f"The session runs with {whose}'s credential, so only they may prompt it; you may "
                "watch it, answer its permission requests, cancel its turns, and make a session of your own."
            )
        new = NewTurn(turn_id=turn_id or new_turn_id(), user_id=user_id, blocks=blocks)
        try:
            if session.turn_id is not None or session.queue:
                raise _busy(session)
            await self._limits.turn(project.id, user_id, turn_id, waits=queue)
            if whose is not None:
                await self._injecting.agree(project, session.agent_id, whose)
            return await self._begin(project, session, new)
        except (SessionBusy, TooManyTurns):
            if not queue:
                raise
        if whose is not None:
            await self._injecting.agree(project, session.agent_id, whose)
        return await self._queue.add(project, session, new)

    async def _begin(self, project: Project, session: Session, new: NewTurn) -> Started | Queued:
        try:
            appended = await self._starting.begin(project, session, new, effect="insert_turn")
        except UniqueViolation as exc:
            raise SessionBusy() from exc
        except EffectRefused as exc:
            now = await self._sessions.get(project.id, session.id)
            if now.queue:
                raise _busy(now) from exc
            raise SessionEnded("The session has ended, or was taken up again, while the prompt came in.") from exc
        if not appended.events:
            # Stored by an attempt whose outcome was not told, or under a reserved id by somebody who was quicker.
            return await self._as_it_was(await self._store.get(project.id, new.turn_id))
        before = appended.events[0].cursor
        return Started(turn_id=new.turn_id, cursor=Cursor(before.epoch, before.seq - 1))

    async def _as_it_was(self, turn: Turn) -> Started | Queued:
        if turn.state == "queued":
            return await self._queue.place(turn)
        return Started(turn_id=turn.id, cursor=turn.cursor)

    async def of_session(self, session: Session, turn_id: str) -> Turn:
        """The turn, if it is one of this session's. Raises ``TurnNotFound``."""
        try:
            turn = await self._store.find(session.project_id, turn_id)
        except UnstorableText as exc:
            raise TurnNotFound() from exc
        if turn is None or turn.session_id != session.id:
            raise TurnNotFound(f"There is no turn {turn_id!r} in this session.")
        return turn

    async def wait(self, project_id: str, turn_id: str, seconds: float) -> Turn:
        """The turn, once it has ended, after ``seconds``, or when the gateway stops."""
        async with self._tails.watch(LogId(project_id)) as tail:
            seen = Cursor(tail.epoch, tail.head)

            async def look() -> Turn:
                nonlocal seen
                seen = Cursor(tail.epoch, tail.head)
                return await self._store.get(project_id, turn_id)

            async def moved(pause: float) -> None:
                # A turn that says much is not asked after with each word.
                await asyncio.sleep(pause)
                await tail.wait(seen, LOOK_SECONDS)

            return await wait_for(
                look, seconds=seconds, until=lambda turn: not turn.is_open or self._stopping, wake=moved
            )

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
        turn = await self.of_session(session, turn_id)
        if turn.state == "queued" and await self._store.end_queued(turn, endings.CANCELLED_IN_QUEUE):
            return turn_id
        wanted = await self._store.request_cancel(turn, user_id)
        turn = await self._store.get(project.id, turn_id)
        if not wanted or not turn.is_open:
            return None
        if turn.sent_at is not None:
            self._driver.do(f"turn {turn_id}", partial(self._cancelling.ask, turn))
        return turn_id

    async def reconcile(self, project_id: str, facts: ContainerFacts, fence: int) -> None:
        """End the turns that were given to another boot of the container than is followed now: it does not run them.

        Under the follower's fence: a gateway that was paused since it asked may know an older boot than the turns'. A
        turn whose prompt is on its way is left to its delivery, which sends it to another session if the container does
        not know this one.
        """
        for turn in await self._store.running(project_id):
            is_brought = turn.delivered_at is not None or turn.unanswered_since is not None
            # A container without boots answers a prompt only at the turn's end.
            if turn.container_boot_id != facts.boot_id and (is_brought or turn.container_boot_id is None):
                await self._store.end(project_id, turn.id, endings.RESTARTED, fence=fence)

    async def close(self) -> None:
        await self._tasks.close()

    def appended(self, log_id: LogId, appended: Appended) -> None:
        """Fold the session of each turn that ended; for ``Log.listen``."""
        for event in appended.of(TurnEnded.type):
            if event.session_id is not None:
                fold = self._folding.fold(log_id.project_id, event.session_id)
                self._tasks.start(fold, name=f"fold {event.session_id}")


def _busy(session: Session) -> SessionBusy:
    return SessionBusy(turnId=session.turn_id) if session.turn_id else SessionBusy()
