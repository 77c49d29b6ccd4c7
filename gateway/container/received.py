"""One event of a container, with its session found: what the rooms that make sense of it start from."""

from functools import cached_property
from typing import Any

import attrs

from gateway.wire.census import Census
from gateway.wire.codec import members_of, parse_foreign_json

#: Values in one member. Ids and texts are one; an error has a few.
MAX_READ = 1000


@attrs.frozen(kw_only=True, slots=False)
class ReceivedEvent:
    """What a container said."""

    project_id: str
    type: str
    #: The container numbers no events.
    numberless: bool
    session_id: str | None
    container_session_id: str | None
    agent_id: str | None
    #: JSON as it came.
    raw: bytes
    #: Members of every NewEvent made from it.
    common: dict[str, Any]

    @cached_property
    def _members(self) -> dict[str, bytes]:
        return members_of(self.raw)

    def member(self, name: str) -> Any:
        """None, too, where there is more in it than in anything that is read."""
        raw = self._members.get(name, b"null")
        return None if Census(raw).has_more_than(MAX_READ) else parse_foreign_json(raw)

    def raw_member(self, name: str) -> bytes:
        """As it came, with nothing made of what is in it; null where there is none."""
        return self._members.get(name, b"null")
