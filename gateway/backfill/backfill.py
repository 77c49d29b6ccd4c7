"""OpenCode's own history of a session, where it can be matched with the log for certain: how a turn ended whose answer
nobody heard, and what a break of its container's stream has lost.

Certain is: the agent's id of the session is OpenCode's, in the same directory; OpenCode has been given as many prompts
in it as the gateway has sent, and the newest ones are the same, word for word. Somebody who prompts the same session
past the gateway makes it uncertain; then the gap stays as it is, and the log says why.
"""

import logging
import posixpath
from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from gateway.backfill.missing import Uncertain, gap_in, missing
from gateway.container.containers import Containers
from gateway.container.opencode import Exchange
from gateway.db.pool import Database, Row
from gateway.errors import GatewayError
from gateway.log.ids import LogId
from gateway.log.store import Appended, Log, NewEvent
from gateway.projects.store import Project
from gateway.tasks import Tasks, in_slices
from gateway.wire.codec import dump_foreign_json, parse_foreign_json, storable
from gateway.wire.events import ContainerEvent, Cursor, Event, Gap, HistoryFilled, TurnEnded, TurnStarted

logger = logging.getLogger(__name__)

#: The agent whose containers have OpenCode's API beside ACP's.
OPENCODE = "opencode"
#: So many of the newest prompts are compared word for word; the ones before that are counted.
COMPARED = 5
MAX_EVENTS = 200_000
#: Updates that are filled in, and bytes of them: in one statement, for which all else that the container says waits.
MAX_FILLED, MAX_FILLED_BYTES = 2_000, 4_194_304

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "content-filter": "refusal"}


@attrs.frozen(kw_only=True)
class _Turn:
    """A turn, by what of it is compared. ``before_seq``: where the log ended before it began."""

    id: str
    session_id: str
    container_session_id: str | None
    before_seq: int

    @classmethod
    def from_row(cls, row: Row) -> "_Turn":
        return cls(**{field.name: row[field.name] for field in attrs.fields(cls)})


@attrs.frozen(kw_only=True)
class _Session:
    """A session of OpenCode, by what of it is compared."""

    acp_session_id: str
    container_session_id: str | None
    working_directory: str


class Histories:
    """Asks containers' OpenCode. Owns the tasks that do."""

    def __init__(self, database: Database, log: Log, containers: Containers) -> None:
        self._database = database
        self._log = log
        self._containers = containers
        self._tasks = Tasks()

    async def how_it_ended(self, project: Project, turn_id: str) -> TurnEnded | None:
        """How a running turn has ended, where OpenCode knows it for certain; None where it has not, or cannot be told.

        What the log lacks of it is filled in: before the end, where it belongs.
        """
        try:
            row = await self._database.fetch_one("get_turn", project_id=project.id, id=turn_id)
            turn = None if row is None else _Turn.from_row(row)
            exchange = turn and await self._exchange(project, turn)
            ended = exchange and _ended(exchange)
            if turn and ended:
                await self._fill_turn(project, turn)
            return ended or None
        except (Uncertain, GatewayError) as exc:
            logger.info("turn not found in OpenCode's history", extra={"turn": turn_id, "reason": str(exc)})
            return None

    def connected(self, project_id: str) -> None:
        """The container is followed again: what a gateway that died has left unfilled may be had now."""
        self._tasks.start(self._fill(project_id, None), name=f"fill gaps of {project_id}")

    async def close(self) -> None:
        await self._tasks.close()

    def appended(self, log_id: LogId, appended: Appended) -> None:
        """Fill the gaps of turns that have ended; for ``Log.listen``."""
        for event in appended.of(TurnEnded.type):
            if event.agent_id in (None, OPENCODE) and event.turn_id is not None:
                fill = self._fill(log_id.project_id, event.turn_id)
                self._tasks.start(fill, name=f"fill gaps of {event.turn_id}")

    async def _fill(self, project_id: str, turn_id: str | None) -> None:
        """Fill what is missing in this turn, or in any that ended lately."""
        try:
            rows = await self._database.fetch_all("turns_with_gaps", project_id=project_id, turn_id=turn_id)
            if rows:
                project = await self._containers.project(project_id)
                for turn in map(_Turn.from_row, rows):
                    await self._fill_turn(project, turn)
        except GatewayError as exc:
            logger.info("gaps not filled", extra={"project": project_id, "error": str(exc)})

    async def _fill_turn(self, project: Project, turn: _Turn) -> None:
        """Put what OpenCode remembers and the log lacks of a turn into the log, once; or why that cannot be done."""
        events, end = await self._events(project.id, turn)
        gap = gap_in(events)
        if gap is None:
            return
        updates: list[bytes] = []
        reason = None
        try:
            if len(events) > MAX_EVENTS:
                raise Uncertain("the turn is too long to be compared")
            exchange = await self._exchange(project, turn)
            if exchange is None:
                return  # not an OpenCode that has it
            if not exchange.over:
                raise Uncertain("OpenCode has not stored the end of the turn")
            updates = _bounded(await in_slices(missing(exchange, events)))
        except Uncertain as exc:
            reason = str(exc)
        # A gap behind the turn's end may have taken the last that was said, and mostly has not.
        if updates or end is None or gap < end:
            await self._append(project.id, turn, gap, updates, reason)

    async def _append(
        self, project_id: str, turn: _Turn, gap: int, updates: Sequence[bytes], reason: str | None
    ) -> None:
        key = f"reconciled:{turn.id}"
        members: dict[str, Any] = {"session_id": turn.session_id, "turn_id": turn.id, "agent_id": OPENCODE}
        filled = [
            NewEvent.of(
                HistoryFilled(gap=gap, source=OPENCODE, update=msgspec.Raw(update)), key=f"{key}:{number}", **members
            )
            for number, update in enumerate(updates)
        ]
        data = {"from": OPENCODE, "gap": gap, "updates": len(updates), "uncertain": reason}
        said = NewEvent.of(ContainerEvent(event="turn_reconciled", data=data), key=key, **members)
        await self._log.append(LogId(project_id), [*filled, said])
        logger.info("turn reconciled", extra={"project": project_id, "turn": turn.id, **data})

    async def _exchange(self, project: Project, turn: _Turn) -> Exchange | None:
        """The turn as OpenCode remembers it; None where no OpenCode has its session. Raises ``Uncertain``."""
        session = await self._session(project.id, turn)
        if session is None:
            return None
        bound = turn.container_session_id
        if bound is None or bound != session.container_session_id:
            raise Uncertain("the session was taken up again since")
        history = await self._containers.opencode(project).history(session.acp_session_id)
        if history is None:
            return None
        facts = (await self._containers.get(project)).facts
        directory = posixpath.join(facts.working_directory or "", session.working_directory)
        if posixpath.isabs(directory) and posixpath.normpath(directory) != posixpath.normpath(history.directory):
            raise Uncertain("OpenCode has the session in another directory")
        rows = await self._database.fetch_all("prompts_sent", project_id=project.id, container_session_id=bound)
        sent = [_Turn.from_row(row) for row in rows]
        ids = [one.id for one in sent]
        if turn.id not in ids or len(ids) != len(history.exchanges):
            raise Uncertain("OpenCode has been given other prompts than the gateway has sent")
        place = ids.index(turn.id)
        compared = {*range(len(ids))[-COMPARED:], place}
        for number in sorted(compared):
            if await self._prompt(project.id, sent[number]) != history.exchanges[number].prompt:
                raise Uncertain("OpenCode has been given another prompt than the gateway has sent")
        return history.exchanges[place]

    async def _session(self, project_id: str, turn: _Turn) -> _Session | None:
        """None where it is none of OpenCode's that it could be asked for."""
        row = await self._database.fetch_one("get_session", project_id=project_id, id=turn.session_id)
        if row is None or row["agent_id"] != OPENCODE or row["acp_session_id"] is None:
            return None
        return _Session(
            acp_session_id=row["acp_session_id"],
            container_session_id=row["container_session_id"],
            working_directory=row["working_directory"] or "",
        )

    async def _prompt(self, project_id: str, turn: _Turn) -> str | None:
        """The text of a turn's prompt, as a container of the base contract is given it."""
        for event in (await self._read(project_id, turn, turn.before_seq))[:1]:
            if event.type == TurnStarted.type and event.turn_id == turn.id:
                blocks = parse_foreign_json(event.data)["prompt"]
                return "".join(block.get("text", "") for block in blocks if block.get("type") == "text")
        return None

    async def _events(self, project_id: str, turn: _Turn) -> tuple[Sequence[Event], int | None]:
        """The updates of a turn and the gaps among them, with the first one behind its end; and the seq of its end."""
        found: list[Event] = []
        after, end = turn.before_seq, None
        while batch := await self._read(project_id, turn, after):
            after = batch[-1].seq
            for event in batch:
                if event.type == Gap.type:
                    found.append(event)
                    if end is not None:
                        return found, end
                elif event.turn_id == turn.id:
                    end = event.seq if event.type == TurnEnded.type else end
                    found += [event] if event.type in ("session_update", HistoryFilled.type) else []
            if len(found) > MAX_EVENTS:
                break
        return found, end

    async def _read(self, project_id: str, turn: _Turn, after: int) -> list[Event]:
        head = await self._log.head(LogId(project_id))
        return await self._log.read(LogId(project_id), Cursor(head.epoch, after), turn.session_id)


def _bounded(updates: Sequence[dict[str, Any]]) -> list[bytes]:
    """Each as JSON. Raises ``Uncertain`` where it is more than is filled in."""
    filled: list[bytes] = []
    if len(updates) <= MAX_FILLED:
        filled = [dump_foreign_json(update) for update in updates]
    if len(filled) < len(updates) or sum(map(len, filled)) > MAX_FILLED_BYTES:
        raise Uncertain("more is missing than is filled in")
    return filled


def _ended(exchange: Exchange) -> TurnEnded | None:
    if exchange.error is not None:
        name, message = exchange.error
        if name == "MessageAbortedError":
            return TurnEnded(outcome="cancelled", stop_reason="cancelled")
        return TurnEnded(outcome="failed", failure="agent_failed", message=storable(message[:2000]))
    if exchange.finish is None:
        return None
    return TurnEnded(outcome="completed", stop_reason=_STOP_REASONS.get(exchange.finish, "end_turn"))
