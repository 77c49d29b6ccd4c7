"""Events as values, and the places between them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_CURSOR: Final = re.compile(r"([0-9]{1,9})-([0-9]{1,18})")


@dataclass(frozen=True)
class Cursor:
    """A place in a project's log: after event ``seq`` of the log's ``epoch``. As text ``<epoch>-<seq>``."""

    epoch: int
    seq: int

    @classmethod
    def parse(cls, text: str) -> "Cursor | None":
        match = _CURSOR.fullmatch(text)
        return cls(int(match[1]), int(match[2])) if match else None

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


@dataclass(frozen=True, kw_only=True)
class StreamEvent:
    """An event as a stream brings it; ``data`` is what its envelope has in ``data``."""

    cursor: Cursor
    type: str
    session_id: str | None
    turn_id: str | None
    agent_id: str | None
    at: str
    data: Any
    #: The whole envelope.
    envelope: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, data: str, cursor: Cursor) -> "StreamEvent":
        envelope = json.loads(data)
        return cls(
            cursor=cursor,
            type=envelope["type"],
            session_id=envelope.get("sessionId"),
            turn_id=envelope.get("turnId"),
            agent_id=envelope.get("agentId"),
            at=envelope["at"],
            data=envelope["data"],
            envelope=envelope,
        )
