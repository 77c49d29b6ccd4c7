"""What is appended to a log, and what an append has stored."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import attrs
import msgspec

from gateway.wire.events import Cursor, Event, EventData


@attrs.frozen
class Effect:
    """A named statement that is executed in the same transaction as an event."""

    query: str
    params: Mapping[str, Any]
    #: Whether the append fails with ``EffectRefused`` if the statement changes nothing.
    required: bool = False


#: The type of an event that is not stored, and whose source's number only advances the mark.
NOTHING: Final = ""


def _now() -> datetime:
    return datetime.now(UTC)


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event to append. A Struct, because creating a frozen attrs value took as long as reading one.

    An event with a ``key`` is stored once. ``number`` is its source's own number.
    """

    type: str
    data: bytes
    session_id: str | None = None
    turn_id: str | None = None
    agent_id: str | None = None
    at: datetime = msgspec.field(default_factory=_now)
    key: str | None = None
    number: int | None = None
    effects: tuple[Effect, ...] = ()

    @classmethod
    def of(cls, data: EventData, **members: Any) -> "NewEvent":
        return cls(type=data.type, data=data.to_json(), **members)


@attrs.frozen(kw_only=True, eq=False)
class Appended:
    """What an append has stored, in order, and the cursor after it.

    Event objects are created on demand, because most events have no watcher.
    """

    cursor: Cursor
    count: int
    #: Bytes of their data.
    size: int
    #: The types of its events, and possibly more.
    types: frozenset[str]
    _make: Callable[[], tuple[Event, ...]] = attrs.field(alias="make")

    @cached_property
    def events(self) -> tuple[Event, ...]:
        return self._make()

    def of(self, type: str) -> tuple[Event, ...]:
        return tuple(event for event in self.events if event.type == type) if type in self.types else ()
