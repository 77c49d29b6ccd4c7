"""What the host remembers of a session and of its turn."""

import asyncio
import secrets
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import attrs

from gateway.agenthost.link import AgentLink
from gateway.agenthost.slots import Slot
from gateway.wire.masking import RunningText
from gateway.wire.times import timestamp

SessionStatus = Literal["active", "processing", "idle", "error", "ended"]

_REMEMBERED_TURNS = 100


@attrs.define(eq=False, kw_only=True)
class Turn:
    """One prompt, from its arrival to its end."""

    id: str = attrs.field(factory=lambda: secrets.token_urlsafe(12))
    #: What `session_end_turn` says: ``{turnId, stopReason …}`` or ``{turnId, error: {code, message}}``.
    end: "asyncio.Future[dict[str, Any]]" = attrs.field(factory=lambda: asyncio.get_running_loop().create_future())
    cancelled: bool = False
    #: Whether the agent has the prompt, so that a cancellation must be told to it.
    sent: bool = False


@attrs.define(eq=False, kw_only=True)
class Session:
    """A conversation with one agent. It outlives the agent's process."""

    agent_id: str
    cwd: Path
    id: str = attrs.field(factory=lambda: secrets.token_urlsafe(12))
    #: The agent's own id for it; events carry ours.
    acp_id: str = ""
    #: What an agent process of its own was given; None shares the agent's process.
    env: dict[str, str] | None = attrs.field(default=None, repr=False)
    #: Whose credential its process has; None: nobody's.
    owner: str | None = None
    #: Where its own processes run.
    own: Slot | None = None
    mcp_servers: list[dict[str, Any]] = attrs.field(factory=list, repr=False)
    #: The process that knows it; when that has ended, the next prompt finds it another.
    link: AgentLink | None = None
    #: What its agent says in pieces, for the secrets that are split over them.
    running: RunningText = attrs.field(factory=RunningText, repr=False)
    status: SessionStatus = "active"
    created_at: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    last_activity: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    message_count: int = 0
    turn: Turn | None = None
    #: The last turns by id, so that a prompt that is sent twice is run once.
    turns: OrderedDict[str, Turn] = attrs.field(factory=OrderedDict, repr=False)
    turn_task: "asyncio.Task[None] | None" = None
    #: While the agent loads the session and tells its history again, which is in the journal's readers' hands already.
    muted: bool = False
    #: Held while the session moves from one process to another.
    moving: asyncio.Lock = attrs.field(factory=asyncio.Lock, repr=False)

    def begin(self, turn_id: str | None) -> Turn:
        """A new turn, remembered."""
        turn = Turn() if turn_id is None else Turn(id=turn_id)
        self.turn = self.turns[turn.id] = turn
        while len(self.turns) > _REMEMBERED_TURNS:
            self.turns.popitem(last=False)
        self.status = "processing"
        self.message_count += 1
        self.touch()
        return turn

    def touch(self) -> None:
        self.last_activity = datetime.now(UTC)

    def describe(self) -> dict[str, Any]:
        """As `GET /session/{id}` tells it."""
        return {
            "id": self.id,
            "agentId": self.agent_id,
            "status": self.status,
            "createdAt": timestamp(self.created_at),
            "lastActivity": timestamp(self.last_activity),
            "messageCount": self.message_count,
            "acpSessionId": self.acp_id,
            "workingDirectory": str(self.cwd),
        }
