"""Where a container's events come from, and how they are numbered."""

import attrs

from gateway.container.values import ContainerFacts
from gateway.log.ids import LogId
from gateway.log.store import Log
from gateway.wire.sse import OversizedEvent, SSEEvent

UNNUMBERED = "unnumbered"
#: PostgreSQL's bigint has room for these digits.
MAX_DIGITS = 18


@attrs.define
class Source:
    """A source of events, numbered by the container or else by this follower in order of arrival."""

    numbered: bool
    #: As in the lease: the container's boot, or that it has none.
    boot: str
    #: The key of the mark in the log. Our own numbers start again with each fence.
    name: str
    last_event_id: str | None
    counted: int
    #: The database's epoch (see ``Timeline``) in which the mark was read.
    epoch: int | None
    _prefix: str = attrs.field(init=False)

    @_prefix.default
    def _of_boot(self) -> str:
        return f"{self.boot}-"

    @classmethod
    async def of(cls, facts: ContainerFacts, fence: int, log_id: LogId, log: Log) -> "Source":
        epoch = log.timeline.epoch
        if (boot := facts.journal) is not None:
            mark = await log.mark(log_id, boot)
            return cls(True, boot, boot, f"{boot}-{mark}", mark, epoch)
        name = f"{UNNUMBERED}-{fence}"
        return cls(False, UNNUMBERED, name, None, await log.mark(log_id, name), epoch)

    def number(self, event: SSEEvent | OversizedEvent) -> int | None:
        """The container's number of an event, from ``<bootId>-<n>``; None if it has none of this boot."""
        id = event.id
        if id is None or not self.numbered or not id.startswith(self._prefix) or event.event == "gap":
            return None
        number = id[len(self._prefix) :]
        return int(number) if len(number) <= MAX_DIGITS and number.isascii() and number.isdigit() else None

    def count(self) -> int:
        self.counted += 1
        return self.counted
