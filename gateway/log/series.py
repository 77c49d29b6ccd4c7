"""Consecutive events of one source, the usual case, appended at half the cost.

What they share is sent to PostgreSQL once, and their payloads as one string if they are UTF-8 that PostgreSQL can
store. Otherwise they are appended one by one.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

import attrs

from gateway.db.arrays import integer_array, text_array
from gateway.log.entries import NOTHING, Appended, NewEvent
from gateway.wire.events import Cursor, Event

#: With more kinds it is not faster, since PostgreSQL looks each event's kind up.
MAX_KINDS = 32

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Type, session, turn and agent.
_Kind = tuple[str, str | None, str | None, str | None]


@attrs.frozen(kw_only=True)
class Series:
    """The events, and the kind of each, from 1."""

    events: Sequence[NewEvent]
    kinds: Mapping[_Kind, int]
    places: Sequence[int]
    first: int
    payloads: str

    @classmethod
    def of(cls, events: Sequence[NewEvent], numbers: Sequence[int | None]) -> "Series | None":
        """None if a number is missing, or an event has a key or an effect."""
        first = numbers[0] if numbers else None
        if first is None or list(numbers) != list(range(first, first + len(numbers))):
            return None
        kinds: dict[_Kind, int] = {}
        places = []
        for event in events:
            if event.key is not None or event.effects or event.type == NOTHING:
                return None
            kind = (event.type, event.session_id, event.turn_id, event.agent_id)
            places.append(kinds.setdefault(kind, len(kinds) + 1))
        if len(kinds) > MAX_KINDS:
            return None
        try:
            payloads = b"".join([event.data for event in events]).decode()
        except UnicodeDecodeError:
            return None
        return cls(events=events, kinds=kinds, places=places, first=first, payloads=payloads)

    def params(self) -> dict[str, Any]:
        """For ``append_series``, except the log and source."""
        types, sessions, turns, agents = zip(*self.kinds, strict=True)
        lengths = [len(event.data) for event in self.events]
        return {
            "first": self.first,
            "types": text_array(types),
            "sessions": text_array(sessions),
            "turns": text_array(turns),
            "agents": text_array(agents),
            "kinds": integer_array(self.places),
            "ats": integer_array([_microseconds(event.at) for event in self.events]),
            "begins": integer_array(accumulate(lengths[:-1], initial=1)),
            "lengths": integer_array(lengths),
            "payloads": self.payloads,
        }

    def stored(self, epoch: int, base: int, turns: Sequence[str | None]) -> Appended:
        """What was stored; ``turns`` by kind."""

        def make() -> tuple[Event, ...]:
            return tuple(
                Event(
                    cursor=Cursor(epoch, seq),
                    type=event.type,
                    session_id=event.session_id,
                    turn_id=turns[place - 1],
                    agent_id=event.agent_id,
                    at=event.at,
                    data=event.data,
                )
                for seq, (event, place) in enumerate(zip(self.events, self.places, strict=True), start=base + 1)
            )

        cursor = Cursor(epoch, base + len(self.events))
        return Appended(
            cursor=cursor,
            count=len(self.events),
            size=sum(len(event.data) for event in self.events),
            types=frozenset(type for type, *_ in self.kinds),
            make=make,
        )


def _microseconds(at: datetime) -> int:
    """Since 1970."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
