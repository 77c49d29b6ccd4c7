"""Appends to the log, and reads from it. Nothing else appends.

An append is one transaction with its events and their ``effects`` (changes of turns, permissions, …). Listeners are
called after the commit. An append whose caller was cancelled meanwhile is found by polling the head.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from gateway.db.arrays import bytea_array, integer_array, text_array, time_array
from gateway.db.errors import LostRace, OutcomeUnknown, RaisedByDatabase, UnstorableText
from gateway.db.pool import Database, Row, Transaction
from gateway.db.timeline import Timeline
from gateway.errors import DatabaseUnavailable, GatewayError, ProjectNotFound
from gateway.log.blocks import Blocks, read_blocks, read_session_blocks
from gateway.log.entries import Appended as Appended
from gateway.log.entries import Effect as Effect
from gateway.log.entries import NewEvent as NewEvent
from gateway.log.ids import ACP, LogId
from gateway.log.packed import read_packed
from gateway.log.reading import Reading
from gateway.log.run import Run
from gateway.log.series import Series
from gateway.wire.events import Cursor, Event, Gap

T = TypeVar("T")

APPEND_ATTEMPTS = 3


class StaleFence(GatewayError):
    """Another gateway follows this container now."""

    status, code = 409, "stale_fence"


class EffectRefused(GatewayError):
    """An effect of the event is no longer possible."""

    status, code = 409, "effect_refused"


@attrs.frozen(kw_only=True)
class Head:
    """Where a log begins and ends: it has the events ``floor + 1`` to ``head``.

    ``former``: where a former epoch of it ended at a failover. Up to there its events are still those of that epoch.
    """

    epoch: int
    floor: int
    head: int
    former: Cursor | None = None

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.head)


Listener = Callable[[LogId, Appended], None]


class Log:
    """All logs of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading = Reading()
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call ``listener(log_id, appended)`` after each commit of this process; it must not block."""
        self._listeners.append(listener)

    async def append(
        self,
        log_id: LogId,
        events: Sequence[NewEvent],
        *,
        numbers: Sequence[int | None] | None = None,
        source: str | None = None,
        fence: int | None = None,
        effects: Sequence[Effect] = (),
    ) -> Appended:
        """Store ``events`` in this order, once; numbered ones of ``source`` only beyond its mark.

        ``numbers`` are the source's own, if the events do not carry them. An append with an unknown outcome is
        repeated: events with a number or a key are stored once. Raises ``StaleFence``, ``ProjectNotFound``,
        ``EffectRefused``, or what an effect violates.
        """
        numbered = [event.number for event in events] if numbers is None else numbers
        repeatable = all(number is not None or event.key for event, number in zip(events, numbered, strict=True))

        whose = {**log_id.params, "source": source, "fence": fence}
        series = Series.of(events, numbered) if source is not None and not effects else None
        # After a failover a source's numbers may begin too late.
        epoch = self.timeline.epoch if source is not None else None

        for attempt in range(1, APPEND_ATTEMPTS + 1):
            try:
                self.timeline.check(epoch)
                appended = await _append_series(self._database, whose, series) if series else None
                if appended is None:
                    self.timeline.check(epoch)
                    appended = await _append(self._database, whose, events, numbered, effects)
            except RaisedByDatabase as exc:
                raise _translate(exc, log_id) from exc
            except LostRace:
                if attempt == APPEND_ATTEMPTS:
                    raise
            except OutcomeUnknown as exc:
                if not repeatable or attempt == APPEND_ATTEMPTS:
                    raise DatabaseUnavailable() from exc
            else:
                self._tell(log_id, appended)
                return appended
        raise AssertionError("unreachable")

    async def change(self, log_id: LogId, work: Callable[[Transaction], Awaitable[tuple[T, Sequence[NewEvent]]]]) -> T:
        """Run ``work`` and append the events that it returns, in one transaction; returns its other value.

        For changes whose events depend on what was there before. As for every append the log's head is locked first:
        ``work`` must be short. Raises ``ProjectNotFound``.
        """

        async def whole(transaction: Transaction) -> tuple[T, Appended | None]:
            if await transaction.fetch_one("lock_head", **log_id.params) is None:
                raise ProjectNotFound(f"There is no project {log_id.project_id!r}.")
            result, events = await work(transaction)
            if not events:
                return result, None
            params = _params({**log_id.params, "source": None, "fence": None}, events, [None] * len(events))
            row = await _append_with_effects(transaction, events, params, ())
            assert row is not None
            return result, _appended(row, _stored(row, events))

        result, appended = await self._database.transaction(whole)
        if appended is not None:
            self._tell(log_id, appended)
        return result

    def _tell(self, log_id: LogId, appended: Appended) -> None:
        for listener in self._listeners:
            listener(log_id, appended)

    @property
    def timeline(self) -> Timeline:
        """Whether the database still has what it had."""
        return self._database.timeline

    async def head(self, log_id: LogId, *, former: int | None = None) -> Head:
        """Where the log begins and ends; ``former``: an epoch whose end is asked for, too."""
        row = await self._database.fetch_one("get_head", **log_id.params, former=former)
        if row is None:
            raise ProjectNotFound()
        ended = None if former is None or row["former_head"] is None else Cursor(former, row["former_head"])
        return Head(epoch=row["epoch"], floor=row["floor"], head=row["head"], former=ended)

    async def begin_epochs(self) -> None:
        """After a restore from a backup: all clients start anew, instead of missing what was lost."""
        await self._database.execute("begin_epochs", gap=Gap(reason="restored_from_backup").to_json())

    async def heads(self, log_ids: Collection[LogId]) -> dict[LogId, Cursor]:
        """The ends of those logs that exist."""
        params = {"project_ids": [one.project_id for one in log_ids], "logs": [one.name for one in log_ids]}
        rows = await self._database.fetch_all("get_heads", **params)
        return {LogId.of(row): Cursor(row["epoch"], row["head"]) for row in rows}

    async def read(
        self,
        log_id: LogId,
        after: Cursor,
        session_id: str | None = None,
        *,
        within: Transaction | None = None,
    ) -> list[Event]:
        """The next events after a place, at most about 1,000 and 512 KiB; of one session with what concerns them all.

        Raises ``NotKept`` if later events were deleted, and ``ProjectNotFound``.
        """
        return await self._reading.read(within or self._database, log_id, after, session_id)

    async def event(self, log_id: LogId, cursor: Cursor, session_id: str) -> Event | None:
        """The session's event at a place; None if it is not kept. Raises ``ProjectNotFound``."""
        return await self._reading.event(self._database, log_id, cursor, session_id)

    async def blocks(self, log_id: LogId, after: Cursor) -> Blocks | None:
        """Many events after a place, ready for a stream; None if they must be read one by one.

        Raises ``NotKept`` and ``ProjectNotFound`` as ``read`` does.
        """
        if log_id.name != ACP:
            # PostgreSQL frames only the project's own log.
            return None
        return await read_blocks(self._database, log_id, after)

    async def session_blocks(self, log_id: LogId, after: Cursor, session_id: str) -> Run | None:
        """The same for one session, with the project's gaps and changes."""
        return await read_session_blocks(self._database, log_id, after, session_id)

    async def packed(self, log_id: LogId, after: Cursor, session_id: str | None = None) -> tuple[Run, int] | None:
        """The frames of many packed events after a place, and how far they go; None if no pack is left.

        Raises ``NotKept`` and ``ProjectNotFound`` as ``read`` does.
        """
        return await read_packed(self._database, log_id, after, session_id)

    async def mark(self, log_id: LogId, source: str) -> int:
        """The number up to which a source's events are stored; 0 if none are."""
        row = await self._database.fetch_one("get_source_mark", **log_id.params, source=source)
        return row["mark"] if row else 0


async def _append_series(database: Database, whose: Mapping[str, Any], series: Series) -> Appended | None:
    """None if nothing was stored, because the source's mark or the payloads do not fit."""
    try:
        row = await database.fetch_one("append_series", **whose, **series.params())
    except UnstorableText:
        return None
    assert row is not None
    return None if row["base"] is None else series.stored(row["epoch"], row["base"], row["turns"])


async def _append(
    database: Database,
    whose: Mapping[str, Any],
    events: Sequence[NewEvent],
    numbers: Sequence[int | None],
    effects: Sequence[Effect],
) -> Appended:
    params = _params(whose, events, numbers)

    async def work(transaction: Transaction) -> Row | None:
        return await _append_with_effects(transaction, events, params, effects)

    if effects or any(event.effects for event in events):
        row = await database.transaction(work)
    else:
        # A single statement is a transaction in one round trip, and holds no lock if this process is paused.
        row = await database.fetch_one("append_events", **params)
    assert row is not None
    return _appended(row, _stored(row, events))


def _params(whose: Mapping[str, Any], events: Sequence[NewEvent], numbers: Sequence[int | None]) -> dict[str, Any]:
    return {
        **whose,
        "numbers": integer_array(numbers),
        "types": text_array([event.type for event in events]),
        "sessions": text_array([event.session_id for event in events]),
        "turns": text_array([event.turn_id for event in events]),
        "agents": text_array([event.agent_id for event in events]),
        "ats": time_array([event.at for event in events]),
        "keys": text_array([event.key for event in events]),
        "payloads": bytea_array([event.data for event in events]),
    }


async def _append_with_effects(
    transaction: Transaction, events: Sequence[NewEvent], params: Mapping[str, Any], effects: Sequence[Effect]
) -> Row | None:
    row = await transaction.fetch_one("append_events", **params)
    assert row is not None
    wanted = [effect for place in row["places"] if place > 0 for effect in events[place - 1].effects]
    for effect in (*wanted, *effects):
        changed = await transaction.execute(effect.query, **effect.params)
        if effect.required and not changed:
            raise EffectRefused()
    return row


def _appended(row: Row, stored: tuple[Event, ...]) -> Appended:
    return Appended(
        cursor=Cursor(row["epoch"], row["base"] + len(stored)),
        count=len(stored),
        size=sum(len(event.data) for event in stored),
        types=frozenset(event.type for event in stored),
        make=lambda: stored,
    )


def _stored(row: Row, events: Sequence[NewEvent]) -> tuple[Event, ...]:
    gaps = iter(row["gaps"])
    stored = []
    for step, (place, turn_id) in enumerate(zip(row["places"], row["turns"], strict=True), start=1):
        event = events[abs(place) - 1]
        cursor = Cursor(row["epoch"], row["base"] + step)
        if place < 0:
            event = NewEvent(type=Gap.type, data=bytes(next(gaps)), at=event.at)
        stored.append(
            Event(
                cursor=cursor,
                type=event.type,
                session_id=event.session_id,
                turn_id=turn_id,
                agent_id=event.agent_id,
                at=event.at,
                data=event.data,
            )
        )
    return tuple(stored)


def _translate(exc: RaisedByDatabase, log_id: LogId) -> GatewayError:
    if exc.sqlstate == "AG404":
        return ProjectNotFound(f"There is no project {log_id.project_id!r}.")
    return StaleFence()
