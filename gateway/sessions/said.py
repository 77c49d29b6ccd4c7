"""One event of a container, with its session found: what the rooms that make sense of it start from."""

from typing import Any

import attrs

from gateway.wire.codec import parse_foreign_json


@attrs.frozen(kw_only=True)
class Said:
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

    def member(self, name: str) -> Any:
        data = parse_foreign_json(self.raw)
        return data.get(name) if isinstance(data, dict) else None
