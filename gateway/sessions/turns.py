"""Turns: a prompt until its end. What is asked is in the log before the agent sees it, and each turn ends once."""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs

from gateway.container.client import ContainerInfo, ContainerRefused
from gateway.db.errors import UniqueViolation, UnstorableText
from gateway.db.pool import Database, Row
from gateway.errors import (
    GatewayError,
    InvalidBody,
    NotFound,
    SessionBusy,
    SessionEnded,
    TurnNotFound,
    UpstreamError,
    UpstreamRefused,
)
from gateway.log.followers import Followers
from gateway.log.store import Appended, Effect, EffectRefused, Log, NewEvent
from gateway.log.tail import Tails
from gateway.log.transcript import Transcript
from gateway.projects import Project
from gateway.sessions.containers import Containers
from gateway.sessions.endings import all_endings, failed
from gateway.sessions.revival import Revival
from gateway.sessions.sessions import Session
from gateway.tasks import Tasks
from gateway.wire.events import Cursor, TurnEnded, TurnStarted

logger = logging.getLogger(__name__)

#: A prompt as ACP's content blocks.
Blocks = Sequence[dict[str, Any]]

#: A container without ``end-turn`` answers the prompt on one connection and sends the turn's events on another: the
#: turn is over once nothing has come for this long, or after so many looks.
QUIET_SECONDS, QUIET_LOOKS = 0.2, 10
#: Between the attempts to deliver a prompt that may have arrived already.
RETRY_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
#: How long a cancelled turn may take to end by itself.
CANCEL_SECONDS = 10.0
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


class Turns:
    """Starts turns, waits for them, cancels them. Owns the tasks that wait for containers' answers."""

    def __init__(
        self,
        database: Database,
        log: Log,
        tails: Tails,
        containers: Containers,
        followers: Followers,
        transcript: Transcript,
        *,
        alone: bool = False,
    ) -> None:
        """``alone``: no other gateway uses this database, so that a turn that is not waited for here is by nobody."""
        self._database = database
        self._log = log
        self._tails = tails
        self._containers = containers
        self._followers = followers
        self._transcript = transcript
        self._revival = Revival(database, log, containers)
        self._alone = alone
        #: The turns whose prompt this process has sent and whose answer it has not got.
        self._sent: set[str] = set()
        self._stopping = False
        self._tasks = Tasks()
        log.listen(self._fold_ended)

    async def start(self, project: Project, session: Session, user_id: str, blocks: Blocks) -> Started:
        """Begin a turn: it is in the log, and its prompt is on its way. Run it in a task of its own."""
        if session.status == "ended":
            raise SessionEnded()
        if session.turn_id is not None:
            raise _busy(session.turn_id)
        info = await self._containers.info(project)
        if not info.takes_content_blocks and any(block.get("type") != "text" for block in blocks):
            raise InvalidBody("$.prompt: this project's container takes text only")
        await self._followers.connected(project.id)
        container_session_id = await self._revival.container_session(project, session, info)
        turn_id = f"trn_{secrets.token_hex(10)}"
        key = {"project_id": project.id, "id": turn_id, "session_id": session.id}
        event = NewEvent.of(
            TurnStarted(prompt=list(blocks), started_by=user_id),
            session_id=session.id,
            turn_id=turn_id,
            agent_id=session.agent_id,
            key=f"turn_started:{turn_id}",
            effects=(
                Effect(
                    "insert_turn",
                    key
                    | {
                        "user_id": user_id,
                        "container_session_id": container_session_id,
                        "container_boot_id": info.boot_id,
                    },
                    required=True,
                ),
            ),
        )
        self._sent.add(turn_id)
        try:
            appended = await self._log.append(project.id, [event])
        except UniqueViolation as exc:
            self._sent.discard(turn_id)
            raise _busy(None) from exc
        except EffectRefused as exc:
            self._sent.discard(turn_id)
            raise SessionEnded("The session has ended, or was taken up again, while the prompt came in.") from exc
        except BaseException:
            self._sent.discard(turn_id)
            raise
        self._tasks.start(self._run(project, container_session_id, turn_id, blocks, info), name=f"turn {turn_id}")
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

    async def cancel(self, project: Project, session: Session) -> str | None:
        """Ask the agent to stop; gives the turn that is asked, None where none is running.

        A turn that has not ended after ten seconds is ended here: then what became of it is not known.
        """
        row = await self._database.fetch_one("request_cancel", project_id=project.id, session_id=session.id)
        if row is None:
            return None
        turn_id: str = row["id"]
        self._tasks.start(self._end_cancelled(project.id, turn_id), name=f"cancel {turn_id}")
        if row["container_session_id"] is not None:
            await self._containers.of(project).cancel(row["container_session_id"])
        return turn_id

    async def finish(self, project_id: str, turn_id: str, ended: TurnEnded) -> None:
        """End a turn, unless it has ended already."""
        turn = await self._row(project_id, turn_id)
        if turn["state"] == "running":
            await self._log.append(project_id, await all_endings(self._database, turn, ended))

    async def reconcile(self, project_id: str, info: ContainerInfo) -> None:
        """End the turns that nobody will tell the end of, now that the container is followed (again).

        A container's boot runs no turn that another was given. One that tells no end of a turn answers the gateway
        that sent the prompt: once that gateway is gone, nobody hears it.
        """
        running = await self._database.fetch_all("running_turns", project_id=project_id)
        if info.boot_id is not None:
            message = "The container restarted while the turn was running."
            ended = TurnEnded(outcome="failed", failure="container_restarted", message=message)
            await self._end_all([turn for turn in running if turn["container_boot_id"] != info.boot_id], ended)
        elif self._alone and not info.tells_end_of_turn:
            message = (
                "The gateway restarted while the turn was running, and its container tells only once how it ended."
            )
            ended = TurnEnded(outcome="lost", failure="gateway_restarted", message=message)
            await self._end_all([turn for turn in running if turn["id"] not in self._sent], ended)

    async def _end_all(self, turns: list[Row], ended: TurnEnded) -> None:
        for turn in turns:
            await self._log.append(turn["project_id"], await all_endings(self._database, turn, ended))

    async def close(self) -> None:
        await self._tasks.close()

    async def _run(
        self, project: Project, container_session_id: str, turn_id: str, blocks: Blocks, info: ContainerInfo
    ) -> None:
        """Send the prompt and, where its answer is the end of the turn, end the turn. No client can cancel this."""
        try:
            await self._send(project, container_session_id, turn_id, blocks, info)
        finally:
            self._sent.discard(turn_id)

    async def _send(
        self, project: Project, container_session_id: str, turn_id: str, blocks: Blocks, info: ContainerInfo
    ) -> None:
        try:
            container_turn_id = await self._deliver(project, container_session_id, turn_id, blocks, info)
        except UpstreamError as exc:
            await self._finish_surely(project.id, turn_id, failed(exc))
            return
        if container_turn_id is None:
            await self._finish_surely(project.id, turn_id, None)
        elif container_turn_id != turn_id:
            await self._database.execute(
                "set_container_turn", project_id=project.id, id=turn_id, container_turn_id=container_turn_id
            )

    async def _deliver(
        self, project: Project, container_session_id: str, turn_id: str, blocks: Blocks, info: ContainerInfo
    ) -> str | None:
        """Have the container take the prompt: once, unless it knows a prompt again by its turn's id.

        A connection that breaks before the answer leaves open whether the prompt was taken.
        """
        container = self._containers.of(project)
        for pause in (*RETRY_PAUSES, None):
            try:
                return await container.prompt(container_session_id, blocks, turn_id, info)
            except (ContainerRefused, UpstreamRefused):
                raise
            except UpstreamError:
                if pause is None or not info.takes_turn_ids:
                    raise
            await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def _answered(self, project_id: str, turn_id: str) -> TurnEnded:
        cancelled = (await self._row(project_id, turn_id))["cancel_requested_at"] is not None
        return TurnEnded(outcome="cancelled" if cancelled else "completed")

    async def _until_quiet(self, project_id: str) -> None:
        head = None
        for _ in range(QUIET_LOOKS):
            latest = await self._log.head(project_id)
            if latest == head:
                return
            head = latest
            await asyncio.sleep(QUIET_SECONDS)

    async def _finish_surely(self, project_id: str, turn_id: str, ended: TurnEnded | None) -> None:
        """End the turn even if the database is away just now; None: as the prompt's plain answer says."""
        backoff = 0.1
        while True:
            try:
                if ended is None:
                    await self._until_quiet(project_id)
                    ended = await self._answered(project_id, turn_id)
                await self.finish(project_id, turn_id, ended)
                return
            except NotFound:
                return  # the project has been deleted
            except GatewayError as exc:
                logger.warning("turn not ended yet", extra={"turn": turn_id, "error": str(exc)})
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, 5.0)

    async def _end_cancelled(self, project_id: str, turn_id: str) -> None:
        turn = await self.wait(project_id, turn_id, CANCEL_SECONDS)
        if turn.state == "running" and not self._stopping:
            message = f"The turn was cancelled and did not end within {CANCEL_SECONDS:g} s."
            ended = TurnEnded(outcome="lost", failure="cancel_unanswered", message=message)
            await self._finish_surely(project_id, turn_id, ended)

    def _fold_ended(self, project_id: str, appended: Appended) -> None:
        for event in appended.events:
            if event.type == TurnEnded.type and event.session_id is not None:
                fold = self._transcript.fold(project_id, event.session_id)
                self._tasks.start(fold, name=f"fold {event.session_id}")

    async def _row(self, project_id: str, turn_id: str) -> Row:
        row = await self._database.fetch_one("get_turn", project_id=project_id, id=turn_id)
        if row is None:
            raise TurnNotFound(f"There is no turn {turn_id!r} in this project.")
        return row


def _busy(turn_id: str | None) -> SessionBusy:
    return SessionBusy(turnId=turn_id) if turn_id else SessionBusy()
