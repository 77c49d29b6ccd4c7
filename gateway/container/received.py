"""An event of a container with its session: the input of the rooms that interpret it."""

from functools import cached_property
from typing import Any, Final

import attrs

from gateway.wire.census import Census
from gateway.wire.codec import members_of, parse_foreign_json

#: Events that change something beside the log. One that is too large is cut, and still does.
WITH_EFFECT: Final = frozenset(
    ("agent_status", "auth_complete", "auth_required", "permission_request", "permission_resolved")
) | {"session_begin_turn", "session_end_turn", "session_restored"}
#: Values in one member that is read. Ids and texts are one; an error has a few.
MAX_READ = 1000


@attrs.frozen(kw_only=True, slots=False)
class ReceivedEvent:
    """An event from a container."""

    project_id: str
    type: str
    #: It was too large; the beginnings of what is in it are left.
    is_cut: bool = False
    #: The container's events have no ids.
    numberless: bool
    session_id: str | None
    container_session_id: str | None
    agent_id: str | None
    #: Unparsed JSON.
    raw: bytes
    #: Members of every NewEvent made from it.
    common: dict[str, Any]

    @cached_property
    def _members(self) -> dict[str, bytes]:
        return members_of(self.raw)

    def member(self, name: str) -> Any:
        """None also if it has more values than anything that is read."""
        raw = self._members.get(name, b"null")
        return None if Census(raw).has_more_than(MAX_READ) else parse_foreign_json(raw)

    def has(self, name: str) -> bool:
        return name in self._members

    def raw_member(self, name: str) -> bytes:
        """Unparsed; null if there is none."""
        return self._members.get(name, b"null")
