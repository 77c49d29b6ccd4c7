"""Sessions and turns as the host remembers them."""

import asyncio
import secrets
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import attrs

from gateway.agenthost.link import AgentLink
from gateway.agenthost.modes import Decider
from gateway.agenthost.slots import Slot
from gateway.wire.masking import RunningText
from gateway.wire.times import timestamp

SessionStatus = Literal["active", "processing", "idle", "error", "ended"]

_REMEMBERED_TURNS = 100


@attrs.define(eq=False, kw_only=True)
class Turn:
    """One prompt until its end."""

    id: str = attrs.field(factory=lambda: secrets.token_urlsafe(12))
    #: The data of `session_end_turn`: ``{turnId, stopReason …}`` or ``{turnId, error: {code, message}}``.
    end: "asyncio.Future[dict[str, Any]]" = attrs.field(factory=lambda: asyncio.get_running_loop().create_future())
    cancelled: bool = False
    #: Whether the agent has the prompt and must be told of a cancellation.
    sent: bool = False


@attrs.define(eq=False, kw_only=True)
class Session:
    """A conversation with one agent; it outlives the agent's process."""

    agent_id: str
    cwd: Path
    id: str = attrs.field(factory=lambda: secrets.token_urlsafe(12))
    #: The agent's own id for it; events have ours.
    acp_id: str = ""
    #: The client's own name for it.
    reference: str | None = None
    #: Variables of a process of its own; None: it shares the agent's process.
    env: dict[str, str] | None = attrs.field(default=None, repr=False)
    #: Whose credential its process has; None: nobody's.
    owner: str | None = None
    #: The slot of its own processes.
    own: Slot | None = None
    mcp_servers: list[dict[str, Any]] = attrs.field(factory=list, repr=False)
    #: The mode that its agent works in, and who decides there what the agent may do; None until it is known.
    mode: str | None = None
    decider: Decider | None = None
    #: Options that a client has set.
    options: dict[str, str | bool] = attrs.field(factory=dict)
    #: The process that has it; after its end, the next prompt finds another.
    link: AgentLink | None = None
    #: Masks secrets that are split over several chunks.
    running: RunningText = attrs.field(factory=RunningText, repr=False)
    status: SessionStatus = "active"
    created_at: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    last_activity: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    message_count: int = 0
    turn: Turn | None = None
    #: The last turns by id, so that a repeated prompt is run once.
    turns: OrderedDict[str, Turn] = attrs.field(factory=OrderedDict, repr=False)
    turn_task: "asyncio.Task[None] | None" = None
    #: While the agent replays history that clients already have.
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
        """For `GET /session/{id}`."""
        return {
            "id": self.id,
            "agentId": self.agent_id,
            "status": self.status,
            "createdAt": timestamp(self.created_at),
            "lastActivity": timestamp(self.last_activity),
            "messageCount": self.message_count,
            "acpSessionId": self.acp_id,
            "workingDirectory": str(self.cwd),
            "reference": self.reference,
            "modeId": self.mode,
            "decides": self.decider,
        }
