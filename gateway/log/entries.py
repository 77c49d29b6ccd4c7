"""What is to be appended to a log, and what an append has stored."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import attrs
import msgspec

from gateway.wire.events import Cursor, Event, EventData


@attrs.frozen
class Effect:
    """A named statement that must come true together with an event."""

    query: str
    params: Mapping[str, Any]
    #: Whether the append is to fail, with ``EffectRefused``, where the statement finds nothing to change.
    required: bool = False


#: The type of what is not stored: its source's number alone counts, so that it stands for no gap.
NOTHING: Final = ""


def _now() -> datetime:
    return datetime.now(UTC)


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is to be appended. A Struct, because making a frozen attrs value took as long as reading one.

    ``key``: an event of this key is stored once, whoever reports it. ``number``: its source's own number.
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
    """What an append stored, in order, and the cursor behind it.

    Its events are made when somebody asks for them: nobody does for most of what a container says unwatched.
    """

    cursor: Cursor
    #: How many events they are.
    count: int
    #: The types of its events, and maybe more.
    types: frozenset[str]
    _make: Callable[[], tuple[Event, ...]] = attrs.field(alias="make")

    @cached_property
    def events(self) -> tuple[Event, ...]:
        return self._make()

    def of(self, type: str) -> tuple[Event, ...]:
        """Those of one type."""
        return tuple(event for event in self.events if event.type == type) if type in self.types else ()
