"""Where a container's events come from, and how they are numbered."""

import re

import attrs

from gateway.container.client import ContainerInfo
from gateway.log.lease import Lease
from gateway.log.store import Log
from gateway.wire.sse import OversizedEvent, SSEEvent

UNNUMBERED = "unnumbered"
#: What PostgreSQL's bigint takes, and Python reads as a number.
_NUMBER = re.compile(r"[0-9]{1,18}")


@attrs.define
class Source:
    """Where events come from, and how they are numbered: by the container, or else by this follower as they come."""

    numbered: bool
    #: What the lease remembers: the container's boot, or that it has none.
    boot: str
    #: Under which the log keeps its mark. Our own numbers begin anew with each fence.
    name: str
    last_event_id: str | None
    counted: int

    @classmethod
    async def of(cls, info: ContainerInfo, lease: Lease, log: Log) -> "Source":
        if info.numbers_events and info.boot_id is not None:
            mark = await log.mark(lease.project_id, info.boot_id)
            return cls(True, info.boot_id, info.boot_id, f"{info.boot_id}-{mark}", mark)
        name = f"{UNNUMBERED}-{lease.fence}"
        return cls(False, UNNUMBERED, name, None, await log.mark(lease.project_id, name))

    def number(self, event: SSEEvent | OversizedEvent) -> int | None:
        """The container's number of an event, ``<bootId>-<n>``; None where the event carries none of its own."""
        boot, _, number = (event.id or "").rpartition("-")
        if boot != self.boot or not _NUMBER.fullmatch(number) or event.event == "gap":
            return None
        return int(number)

    def count(self) -> int:
        self.counted += 1
        return self.counted
