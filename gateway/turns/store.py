"""Turns in the database: queries with values instead of rows."""

from collections.abc import Callable, Sequence

from gateway.db.pool import Database, Row
from gateway.db.retry import retry_until_stored
from gateway.errors import NotFound, TurnNotFound
from gateway.log.ids import LogId
from gateway.log.store import Effect, EffectRefused, Log, NewEvent
from gateway.sessions.endings import all_endings, as_asked, queued_turn_ended
from gateway.sessions.turn import Turn
from gateway.turns.machine import Facts
from gateway.wire.events import TurnCancelling, TurnEnded


class TurnStore:
    """All turns in one database, as the process ``gateway_id`` works on them."""

    def __init__(self, database: Database, log: Log, *, gateway_id: str) -> None:
        self._database = database
        self._log = log
        self._gateway_id = gateway_id

    async def find(self, project_id: str, turn_id: str) -> Turn | None:
        row = await self._database.fetch_one("get_turn", project_id=project_id, id=turn_id)
        return None if row is None else Turn.from_row(row)

    async def get(self, project_id: str, turn_id: str) -> Turn:
        """Raises ``TurnNotFound``."""
        turn = await self.find(project_id, turn_id)
        if turn is None:
            raise TurnNotFound(f"There is no turn {turn_id!r} in this project.")
        return turn

    async def running(self, project_id: str) -> list[Turn]:
        rows = await self._database.fetch_all("running_turns", project_id=project_id)
        return [Turn.from_row(row) for row in rows]

    async def to_drive(self, held: Sequence[str], *, precision: float) -> list[tuple[Turn, Facts]]:
        """The turns that this process has to look after: those of ``held`` projects, and those that name it.

        What their sessions said is noted no more often than every ``precision`` seconds.
        """
        begin = await self._database.fetch_all("turns_to_begin", project_ids=list(held))
        run = await self._database.fetch_all("turns_to_drive", gateway_id=self._gateway_id, project_ids=list(held))
        news = [row for row in run if row["leads"] and _heard(row) and _noted_before(row, precision)]
        if news:
            await self._database.execute(
                "note_newest",
                project_ids=[row["project_id"] for row in news],
                ids=[row["id"] for row in news],
                seqs=[row["newest_seq"] for row in news],
            )
        return [(Turn.from_row(row), _facts(row)) for row in (*begin, *run)]

    async def queued_ids(self, project_id: str, session_id: str) -> list[str]:
        """The turns that wait in a session, the next one first."""
        rows = await self._database.fetch_all("queued_turns", project_id=project_id, session_id=session_id)
        return [row["id"] for row in rows]

    async def next_queued(self, project_id: str, session_id: str) -> Turn | None:
        """What a session that runs nothing begins next."""
        row = await self._database.fetch_one("next_queued_turn", project_id=project_id, session_id=session_id)
        return None if row is None else Turn.from_row(row)

    async def claim(self, turn: Turn) -> Turn | None:
        """The turn, if this process is to deliver its prompt from now on."""
        key = {"project_id": turn.project_id, "id": turn.id}
        row = await self._database.fetch_one("claim_turn", gateway_id=self._gateway_id, **key)
        return None if row is None else Turn.from_row(row)

    async def reclaim(self, turn_ids: Sequence[str]) -> None:
        """This process waits for the answers to these prompts, although it was taken for dead."""
        await self._database.execute("reclaim_turns", ids=list(turn_ids), gateway_id=self._gateway_id)

    async def mark_sent(self, project_id: str, turn_id: str) -> bool:
        """Whether the prompt may be sent now; see the statement for what speaks against it."""
        key = {"project_id": project_id, "id": turn_id, "gateway_id": self._gateway_id}
        return bool(await retry_until_stored(lambda: self._database.execute("mark_sent", **key)))

    async def move(
        self, project_id: str, turn_id: str, *, container_session_id: str, container_boot_id: str | None
    ) -> bool:
        """Send the prompt to another container session; the last one did not know it. False if the turn has ended."""
        key = {"project_id": project_id, "id": turn_id, "gateway_id": self._gateway_id}
        place = {"container_session_id": container_session_id, "container_boot_id": container_boot_id}
        return bool(await retry_until_stored(lambda: self._database.execute("move_turn", **key, **place)))

    async def mark_delivered(self, project_id: str, turn_id: str, container_turn_id: str) -> None:
        key = {"project_id": project_id, "id": turn_id, "container_turn_id": container_turn_id}
        await retry_until_stored(lambda: self._database.execute("set_delivered", **key))

    async def mark_unanswered(self, project_id: str, turn_id: str) -> None:
        key = {"project_id": project_id, "id": turn_id}
        await retry_until_stored(lambda: self._database.execute("set_unanswered", **key))

    async def mark_cancel_sent(self, turn: Turn, *, sent: bool) -> bool:
        """Note that the container is being asked to cancel, or could not be. False if the turn has ended."""
        key = {"project_id": turn.project_id, "id": turn.id}
        return bool(await self._database.execute("set_cancel_sent", sent=sent, **key))

    async def request_cancel(self, turn: Turn, user_id: str) -> bool:
        """Note that somebody wants a running turn to stop. False if it has ended."""
        key = {"project_id": turn.project_id, "id": turn.id}
        event = NewEvent.of(
            TurnCancelling(requested_by=user_id),
            session_id=turn.session_id,
            turn_id=turn.id,
            key=f"turn_cancelling:{turn.id}",
            effects=(Effect("request_cancel", key, required=True),),
        )
        try:
            await self._log.append(LogId(turn.project_id), [event])
        except EffectRefused:
            return False
        return True

    async def others_of_agent(self, turn: Turn, agent_id: str) -> list[str]:
        """What else an agent runs in the turn's project."""
        key = {"project_id": turn.project_id, "id": turn.id}
        return [row["id"] for row in await self._database.fetch_all("turns_of_agent", agent_id=agent_id, **key)]

    async def container_sessions(self, project_id: str, agent_id: str) -> list[str]:
        """Under which ids the container knows an agent's sessions."""
        key = {"project_id": project_id, "agent_id": agent_id}
        rows = await self._database.fetch_all("container_sessions_of_agent", **key)
        return [row["container_session_id"] for row in rows]

    async def end(
        self,
        project_id: str,
        turn_id: str,
        ended: TurnEnded | Callable[[Turn], TurnEnded],
        *,
        fence: int | None = None,
    ) -> None:
        """End a running turn, unless it has ended already; ``fence``: of a caller that knows it as the follower."""
        turn = await self.find(project_id, turn_id)
        if turn is not None and turn.state == "running":
            how = ended if isinstance(ended, TurnEnded) else ended(turn)
            await self._log.append(
                LogId(project_id), await all_endings(self._database, turn, as_asked(turn, how)), fence=fence
            )

    async def end_known_here(
        self, project_id: str, turn_id: str, ended: TurnEnded | Callable[[Turn], TurnEnded]
    ) -> None:
        """The same for an end that only this process knows: even if the database is away, however long that takes."""
        try:
            await retry_until_stored(lambda: self.end(project_id, turn_id, ended))
        except NotFound:
            return  # deleted with its project

    async def end_queued(self, turn: Turn, ended: TurnEnded) -> bool:
        """End a turn that waits. False if it does not wait any more."""
        try:
            await self._log.append(LogId(turn.project_id), [queued_turn_ended(turn, ended)])
        except EffectRefused:
            return False
        return True


def _heard(row: Row) -> bool:
    # What is packed away makes an older event the newest that is seen; that is nothing new.
    is_new = row["said_at"] is None or (row["newest_seq"] or 0) > (row["said_seq"] or 0)
    return is_new or row["waits_for_people"]


def _noted_before(row: Row, seconds: float) -> bool:
    return row["said_at"] is None or (row["now"] - row["said_at"]).total_seconds() > seconds


def _facts(row: Row) -> Facts:
    queued = row["state"] == "queued"
    return Facts(
        now=row["now"],
        agent_id=row["agent_id"],
        container_session_id=row["session_in_container"],
        leads=row["leads"],
        may_deliver=row["may_deliver"],
        connected=row["connected"],
        session_ended=row["session_ended"],
        is_next=queued,
        heard=not queued and _heard(row),
        warned=row["warned"],
    )
