"""Events of one source that follow one another: what containers say most of the time, appended at half the cost.

What many of them share goes to PostgreSQL once, and their payloads in one piece. Its text is their bytes, where they
are UTF-8 and the database can hold it; whatever is not has to be appended one by one.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

import attrs

from gateway.db.arrays import integer_array, text_array
from gateway.log.entries import NOTHING, Appended, NewEvent
from gateway.wire.events import Cursor, Event

#: More kinds are no series any more: PostgreSQL counts its way through them for each event.
MAX_KINDS = 32

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Type, session, turn and agent.
_Kind = tuple[str, str | None, str | None, str | None]


@attrs.frozen(kw_only=True)
class Series:
    """Such events, and which kind each of them is of, from 1."""

    events: Sequence[NewEvent]
    kinds: Mapping[_Kind, int]
    places: Sequence[int]
    first: int
    payloads: str

    @classmethod
    def of(cls, events: Sequence[NewEvent], numbers: Sequence[int | None]) -> "Series | None":
        """None where they are none: a number is missing, or something has to be looked at or comes true with one."""
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
        """For ``append_series``, all but whose they are."""
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
        """What became of them; ``turns`` is of each kind."""

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
            cursor=cursor, count=len(self.events), types=frozenset(type for type, *_ in self.kinds), make=make
        )


def _microseconds(at: datetime) -> int:
    """Since 1970."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
