"""Append to the log, and read from it. This is the only room that appends.

An append is one transaction: its events, and the ``effects`` that must come true with them (a turn's row, a
permission's). Those who listen are told once it is committed; an append whose caller was cancelled meanwhile is
found by polling the head.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from gateway.db.arrays import bytea_array, integer_array, text_array, time_array
from gateway.db.errors import LostRace, OutcomeUnknown, RaisedByDatabase
from gateway.db.pool import Database, Row, Transaction
from gateway.errors import DatabaseUnavailable, GatewayError, ProjectNotFound
from gateway.log.blocks import Blocks, read_blocks
from gateway.log.packed import read_packed
from gateway.log.reading import Reading
from gateway.log.run import Run
from gateway.wire.events import Cursor, Event, EventData, Gap

APPEND_ATTEMPTS = 3


class StaleFence(GatewayError):
    """Somebody else follows this container now."""

    status, code = 409, "stale_fence"


class EffectRefused(GatewayError):
    """What was to come true together with an event cannot any more."""

    status, code = 409, "effect_refused"


@attrs.frozen
class Effect:
    """A named statement that must come true together with an event."""

    query: str
    params: Mapping[str, Any]
    #: Whether the append is to fail, with ``EffectRefused``, where the statement finds nothing to change.
    required: bool = False


def _now() -> datetime:
    return datetime.now(UTC)


@attrs.frozen(kw_only=True)
class NewEvent:
    """An event that is to be appended.

    ``key``: an event of this key is stored once, whoever reports it. ``number``: its source's own number.
    """

    type: str
    data: bytes
    session_id: str | None = None
    turn_id: str | None = None
    agent_id: str | None = None
    at: datetime = attrs.field(factory=_now)
    key: str | None = None
    number: int | None = None
    effects: tuple[Effect, ...] = ()

    @classmethod
    def of(cls, data: EventData, **members: Any) -> "NewEvent":
        return cls(type=data.type, data=data.to_json(), **members)


@attrs.frozen(kw_only=True)
class Head:
    """Where a project's log begins and ends: events ``floor + 1`` to ``head`` are there."""

    epoch: int
    floor: int
    head: int

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.head)


@attrs.frozen(kw_only=True)
class Appended:
    """What an append stored, in order, and the cursor behind it."""

    events: tuple[Event, ...]
    cursor: Cursor


Listener = Callable[[str, Appended], None]


class Log:
    """All projects' logs in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading = Reading()
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Have ``listener(project_id, appended)`` called after each commit of this process; it must not block."""
        self._listeners.append(listener)

    async def append(
        self,
        project_id: str,
        events: Sequence[NewEvent],
        *,
        numbers: Sequence[int | None] | None = None,
        source: str | None = None,
        fence: int | None = None,
        effects: Sequence[Effect] = (),
    ) -> Appended:
        """Store ``events`` in this order, once; numbered ones of ``source`` are stored up to its mark only once.

        ``numbers`` are the source's own, one for each event, where the events do not carry them.
        An append whose outcome is unknown is repeated: what has a number or a key changes nothing the second time.
        Raises ``StaleFence``, ``ProjectNotFound``, ``EffectRefused``, or what an effect violates.
        """
        numbered = [event.number for event in events] if numbers is None else numbers
        repeatable = all(number is not None or event.key for event, number in zip(events, numbered, strict=True))

        params = _params(project_id, events, numbered, source, fence)
        plain = not effects and not any(event.effects for event in events)

        async def work(transaction: Transaction) -> Appended:
            return await _append(transaction, events, params, effects)

        for attempt in range(1, APPEND_ATTEMPTS + 1):
            try:
                # A statement alone is a transaction, too, in one round trip; and whoever is paused holds no lock.
                appended = (
                    await _append_alone(self._database, events, params)
                    if plain
                    else await self._database.transaction(work)
                )
            except RaisedByDatabase as exc:
                raise _translate(exc, project_id) from exc
            except LostRace:
                if attempt == APPEND_ATTEMPTS:
                    raise
            except OutcomeUnknown as exc:
                if not repeatable or attempt == APPEND_ATTEMPTS:
                    raise DatabaseUnavailable() from exc
            else:
                for listener in self._listeners:
                    listener(project_id, appended)
                return appended
        raise AssertionError("unreachable")

    async def head(self, project_id: str) -> Head:
        row = await self._database.fetch_one("get_head", project_id=project_id)
        if row is None:
            raise ProjectNotFound()
        return Head(epoch=row["epoch"], floor=row["floor"], head=row["head"])

    async def begin_epochs(self) -> None:
        """After the database was restored from a backup: all clients begin anew instead of missing what was lost."""
        await self._database.execute("begin_epochs")

    async def heads(self, project_ids: Sequence[str]) -> dict[str, Cursor]:
        rows = await self._database.fetch_all("get_heads", project_ids=list(project_ids))
        return {row["project_id"]: Cursor(row["epoch"], row["head"]) for row in rows}

    async def read(
        self,
        project_id: str,
        after: Cursor,
        session_id: str | None = None,
        *,
        within: Transaction | None = None,
    ) -> list[Event]:
        """The next events after a place, at most some 1,000 and 512 KiB; of one session with the project's gaps.

        Raises ``NotKept`` where events after that place have been deleted, and ``ProjectNotFound``.
        """
        return await self._reading.read(within or self._database, project_id, after, session_id)

    async def blocks(self, project_id: str, after: Cursor) -> Blocks | None:
        """Many of the events after a place, ready for a stream; None where they have to be read one by one.

        Raises ``NotKept`` and ``ProjectNotFound`` as ``read`` does.
        """
        return await read_blocks(self._database, project_id, after)

    async def packed(self, project_id: str, after: Cursor, session_id: str | None = None) -> tuple[Run, int] | None:
        """The frames of many packed events after a place, and how far they go; None where no pack is left.

        Raises ``NotKept`` and ``ProjectNotFound`` as ``read`` does.
        """
        return await read_packed(self._database, project_id, after, session_id)

    async def mark(self, project_id: str, source: str) -> int:
        """The number up to which a source's events are stored; 0 where none is."""
        row = await self._database.fetch_one("get_source_mark", project_id=project_id, source=source)
        return row["mark"] if row else 0


def _params(
    project_id: str, events: Sequence[NewEvent], numbers: Sequence[int | None], source: str | None, fence: int | None
) -> dict[str, Any]:
    return {
        "project_id": project_id,
        "fence": fence,
        "source": source,
        "numbers": integer_array(numbers),
        "types": text_array([event.type for event in events]),
        "sessions": text_array([event.session_id for event in events]),
        "turns": text_array([event.turn_id for event in events]),
        "agents": text_array([event.agent_id for event in events]),
        "ats": time_array([event.at for event in events]),
        "keys": text_array([event.key for event in events]),
        "payloads": bytea_array([event.data for event in events]),
    }


async def _append_alone(database: Database, events: Sequence[NewEvent], params: Mapping[str, Any]) -> Appended:
    row = await database.fetch_one("append_events", **params)
    assert row is not None
    return _appended(row, _stored(row, events))


async def _append(
    transaction: Transaction, events: Sequence[NewEvent], params: Mapping[str, Any], effects: Sequence[Effect]
) -> Appended:
    row = await transaction.fetch_one("append_events", **params)
    assert row is not None
    stored = _stored(row, events)
    wanted = [effect for place in row["places"] if place > 0 for effect in events[place - 1].effects]
    for effect in (*wanted, *effects):
        changed = await transaction.execute(effect.query, **effect.params)
        if effect.required and not changed:
            raise EffectRefused()
    return _appended(row, stored)


def _appended(row: Row, stored: tuple[Event, ...]) -> Appended:
    return Appended(events=stored, cursor=Cursor(row["epoch"], row["base"] + len(stored)))


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


def _translate(exc: RaisedByDatabase, project_id: str) -> GatewayError:
    if exc.sqlstate == "AG404":
        return ProjectNotFound(f"There is no project {project_id!r}.")
    return StaleFence()
