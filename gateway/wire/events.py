"""What can happen in a project, as values: the events of the log and of the streams.

An event's ``data`` is JSON kept as the bytes it came in. What the gateway itself says is a class below, one for each
kind; what a container says of ``session_update``, ``agent_status``, ``auth_required``, ``auth_complete`` and
``session_restored`` passes unchanged, and so do the kinds in ``WORK`` that have their form. Any other kind of the
container's is wrapped as ``container_event``.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar, Final

import attrs
import msgspec

from gateway.wire.codec import dump_foreign_json, to_camel
from gateway.wire.sse import encode_event
from gateway.wire.times import timestamp

#: A block whose data has no line breaks: epoch, seq, beginning (``begin_frame``), time, data.
FRAME: Final = b'id: %d-%d\n%b,"at":"%b","data":%b}\n\n'

#: What OpenCode itself says, recorded in a log of its own: clients get the data as it is, with an id.
OPENCODE_EVENT: Final = "opencode_event"

_CURSOR = re.compile(r"([0-9]{1,9})-([0-9]{1,18})")


@attrs.frozen
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


@attrs.frozen(kw_only=True)
class Event:
    """An entry of a project's log."""

    cursor: Cursor
    type: str
    session_id: str | None
    turn_id: str | None
    agent_id: str | None
    at: datetime
    data: bytes

    @property
    def seq(self) -> int:
        return self.cursor.seq

    def frame(self) -> bytes:
        """The event as a block of an event stream."""
        if self.type == OPENCODE_EVENT:
            return encode_event(event=None, id=str(self.cursor), data=self.data)
        if b"\n" in self.data or b"\r" in self.data:
            return encode_event(event=self.type, id=str(self.cursor), data=self.envelope())
        begun = begin_frame(self.type, self.session_id, self.turn_id, self.agent_id)
        cursor, at = self.cursor, timestamp(self.at).encode()
        return FRAME % (cursor.epoch, cursor.seq, begun, at, self.data)

    def envelope(self) -> bytes:
        """``{type, sessionId?, turnId?, agentId?, at, data}``, with ``data`` as it came."""
        members = _members(self.type, self.session_id, self.turn_id, self.agent_id)
        return b'%b,"at":"%b","data":%b}' % (members, timestamp(self.at).encode(), self.data)


@lru_cache(maxsize=4096)
def _members(type: str, session_id: str | None, turn_id: str | None, agent_id: str | None) -> bytes:
    """The members of an envelope that many events share; it is left open."""
    members = {"type": type, "sessionId": session_id, "turnId": turn_id, "agentId": agent_id}
    return msgspec.json.encode({name: value for name, value in members.items() if value is not None})[:-1]


@lru_cache(maxsize=4096)
def begin_frame(type: str, session_id: str | None, turn_id: str | None, agent_id: str | None) -> bytes:
    """A block after its id, up to the members that differ in each event."""
    return encode_event(event=type, data=_members(type, session_id, turn_id, agent_id)).removesuffix(b"\n\n")


@attrs.frozen(kw_only=True)
class EventData:
    """What the gateway itself writes into an event."""

    type: ClassVar[str]

    def to_json(self) -> bytes:
        # Values of agents are JSON already, and may be long: they are not parsed.
        return dump_foreign_json(
            {to_camel(field.name): getattr(self, field.name) for field in attrs.fields(type(self))}
        )


@attrs.frozen(kw_only=True)
class SessionCreated(EventData):
    """A session exists and can be prompted."""

    type: ClassVar[str] = "session_created"
    agent_id: str
    title: str | None
    working_directory: str | None
    created_by: str


@attrs.frozen(kw_only=True)
class SessionRestored(EventData):
    """A session that its container had lost goes on. ``how``: load, resume, or new (the agent has forgotten it).

    ``reason``: container_restarted, container_forgot, agent_restarted or credential_renewed. ``forgotten``: what the
    session has no more, of conversation and mcpServers. ``message``: why the agent did not take it up, where it was
    asked to.
    """

    type: ClassVar[str] = "session_restored"
    how: str
    reason: str
    forgotten: tuple[str, ...] = ()
    message: str | None = None


@attrs.frozen(kw_only=True)
class SessionRenamed(EventData):
    """Somebody has given a session another title; null: none."""

    type: ClassVar[str] = "session_renamed"
    title: str | None
    former_title: str | None
    renamed_by: str


@attrs.frozen(kw_only=True)
class SessionCleared(EventData):
    """Somebody has cleared a session's history: its messages begin here. Its events stay in the log."""

    type: ClassVar[str] = "session_cleared"
    cleared_by: str


@attrs.frozen(kw_only=True)
class SessionMode(EventData):
    """The session's agent works in another mode. ``agent_decides``: there the agent itself decides what it may do."""

    type: ClassVar[str] = "session_mode"
    mode: str | None
    agent_decides: bool


@attrs.frozen(kw_only=True)
class SessionEnded(EventData):
    """A session has ended and takes no more prompts."""

    type: ClassVar[str] = "session_ended"
    ended_by: str


@attrs.frozen(kw_only=True)
class TurnStarted(EventData):
    """A prompt is about to be sent; ``prompt`` is its ACP content blocks.

    ``started_by``: None for a turn that was lost in a failover, and is known from its container.
    """

    type: ClassVar[str] = "turn_started"
    prompt: list[dict[str, Any]]
    started_by: str | None


@attrs.frozen(kw_only=True)
class TurnEnded(EventData):
    """A turn is over. ``outcome``: completed, cancelled, failed, stalled or lost.

    ``stop_reason`` is the agent's own (ACP), where it gave one; ``failure`` the class of what went wrong and
    ``message`` a sentence about it.
    """

    type: ClassVar[str] = "turn_ended"
    outcome: str
    stop_reason: str | None = None
    failure: str | None = None
    message: str | None = None


@attrs.frozen(kw_only=True)
class TurnQueued(EventData):
    """A prompt waits for the turns before it; once it begins comes its ``turn_started``."""

    type: ClassVar[str] = "turn_queued"
    queued_by: str


@attrs.frozen(kw_only=True)
class TurnCancelling(EventData):
    """Somebody wants the turn to stop; its end comes as ``turn_ended``."""

    type: ClassVar[str] = "turn_cancelling"
    requested_by: str


@attrs.frozen(kw_only=True)
class TurnStalling(EventData):
    """A turn's session has said nothing for a long time (seconds); if that goes on, the turn is ended as stalled."""

    type: ClassVar[str] = "turn_stalling"
    silent_for: float
    ends_after: float


@attrs.frozen(kw_only=True)
class AgentStopping(EventData):
    """The turn did not end when it was cancelled: its agent is stopped. ``other_turns`` of the agent fail with it."""

    type: ClassVar[str] = "agent_stopping"
    agent_id: str
    reason: str
    other_turns: list[str]


@attrs.frozen(kw_only=True)
class PermissionRequest(EventData):
    """An agent asks whether it may run a tool; ``options`` are its own.

    ``resolved_by`` says who has decided already: a container that only tells of what it allows, or a rule, which is
    ``rule``. Else nobody, and it waits for an answer.
    """

    type: ClassVar[str] = "permission_request"
    permission_id: str
    tool_call: Any
    options: Any
    resolved_by: str | None = None
    rule: Any = None


@attrs.frozen(kw_only=True)
class PermissionResolved(EventData):
    """A permission request is settled. ``outcome``: selected (with ``option_id``) or cancelled.

    ``resolved_by``: a user, ``timeout``, ``container``, ``gateway`` or ``rule``; then ``rule`` is the rule or mode.
    """

    type: ClassVar[str] = "permission_resolved"
    permission_id: str
    outcome: str
    option_id: str | None
    resolved_by: str
    rule: Any = None


@attrs.frozen(kw_only=True)
class TerminalStarted(EventData):
    """A command runs for an agent in a terminal of its client's; a tool call names it by ``terminal_id``."""

    type: ClassVar[str] = "terminal_started"
    terminal_id: str
    command: str
    args: tuple[str, ...] = ()
    cwd: str | None = None


@attrs.frozen(kw_only=True)
class TerminalOutput(EventData):
    """What the command has written next; ``omitted_bytes`` before ``text`` were too many to be kept."""

    type: ClassVar[str] = "terminal_output"
    terminal_id: str
    text: str
    omitted_bytes: int = 0


@attrs.frozen(kw_only=True)
class TerminalEnded(EventData):
    """The command has ended, with ``exit_code`` or by ``signal`` (its name)."""

    type: ClassVar[str] = "terminal_ended"
    terminal_id: str
    exit_code: int | None = None
    signal: str | None = None


@attrs.frozen(kw_only=True)
class FileRead(EventData):
    """An agent read a file through its client: ``size`` bytes; ``line`` and ``limit`` are what it asked for."""

    type: ClassVar[str] = "file_read"
    path: str
    size: int
    line: int | None = None
    limit: int | None = None


@attrs.frozen(kw_only=True)
class FileWritten(EventData):
    """An agent wrote a file of ``size`` bytes through its client. ``old_text`` is null where there was none.

    ``omitted``: which of the texts are null because they are too large, or no text.
    """

    type: ClassVar[str] = "file_written"
    path: str
    size: int
    old_text: str | None
    new_text: str | None
    omitted: tuple[str, ...] = ()


#: What a container does for its agents, as it tells it.
WORK: Final[Mapping[str, type[EventData]]] = {
    cls.type: cls for cls in (TerminalStarted, TerminalOutput, TerminalEnded, FileRead, FileWritten)
}


@attrs.frozen(kw_only=True)
class ProjectChanged(EventData):
    """Somebody has changed a project's settings.

    ``changed``: the names of its members that are others now. ``settings`` and ``former`` have their values, but for
    addresses and secrets. ``changed_by``: a user, or ``gateway`` for a command of the operator's.
    """

    type: ClassVar[str] = "project_changed"
    changed: list[str]
    settings: dict[str, Any]
    former: dict[str, Any]
    changed_by: str


@attrs.frozen(kw_only=True)
class MemberAdded(EventData):
    """A user has become a member of the project."""

    type: ClassVar[str] = "member_added"
    user_id: str
    role: str
    added_by: str


@attrs.frozen(kw_only=True)
class MemberRoleChanged(EventData):
    """A member of the project has another role."""

    type: ClassVar[str] = "member_role_changed"
    user_id: str
    role: str
    former_role: str
    changed_by: str


@attrs.frozen(kw_only=True)
class MemberRemoved(EventData):
    """A user is no member of the project any more. Who leaves has removed themselves."""

    type: ClassVar[str] = "member_removed"
    user_id: str
    role: str
    removed_by: str


@attrs.frozen(kw_only=True)
class CredentialConnected(EventData):
    """A person has connected an account for an agent, maybe in the place of another."""

    type: ClassVar[str] = "credential_connected"
    user_id: str
    token_type: str
    provider: str | None
    scopes: tuple[str, ...]
    expires_at: str | None


@attrs.frozen(kw_only=True)
class CredentialRenewed(EventData):
    """A person's credential for an agent has been renewed ahead of its end."""

    type: ClassVar[str] = "credential_renewed"
    user_id: str
    provider: str | None
    expires_at: str | None


@attrs.frozen(kw_only=True)
class CredentialNeedsReauth(EventData):
    """A person's credential can be used no more until they connect the account again.

    ``reason``: refused, lost (the answer to a renewal never came), account_changed or expired; ``message`` a sentence.
    """

    type: ClassVar[str] = "credential_needs_reauth"
    user_id: str
    provider: str | None
    reason: str
    message: str


@attrs.frozen(kw_only=True)
class CredentialDisconnected(EventData):
    """A person has taken an account away from an agent."""

    type: ClassVar[str] = "credential_disconnected"
    user_id: str
    provider: str | None


@attrs.frozen(kw_only=True)
class LoginEnded(EventData):
    """A login that a person began has ended without an account. ``outcome``: denied, expired or failed."""

    type: ClassVar[str] = "login_ended"
    user_id: str
    provider: str
    outcome: str
    code: str
    message: str


@attrs.frozen(kw_only=True)
class Gap(EventData):
    """Here something is missing: what came between ``from`` and ``to`` of ``source`` cannot be had.

    ``source`` is the container's boot; where it numbers nothing, all is null but the reason. ``message`` is what can be
    told of what is missing.
    """

    type: ClassVar[str] = "gap"
    reason: str
    source: str | None = None
    from_: int | None = attrs.field(default=None, alias="from_")
    to: int | None = None
    count: int | None = None
    message: str | None = None

    def to_json(self) -> bytes:
        told = {"reason": self.reason, "source": self.source, "from": self.from_, "to": self.to, "count": self.count}
        return msgspec.json.encode(told | ({"message": self.message} if self.message is not None else {}))


@attrs.frozen(kw_only=True)
class HistoryFilled(EventData):
    """What a gap lost of a turn, as the agent's own history has it: it belongs in the gap's place.

    ``gap``: the seq of the gap's event. ``source``: whose history. ``update``: an ACP update.
    """

    type: ClassVar[str] = "history_filled"
    gap: int
    source: str
    update: Any


#: Events of the project that streams of its sessions have, too.
FOR_EVERY_SESSION: Final = frozenset((Gap.type, ProjectChanged.type))


@attrs.frozen(kw_only=True)
class ContainerEvent(EventData):
    """Something that a container said and this gateway has no word for."""

    type: ClassVar[str] = "container_event"
    event: str
    data: Any


@attrs.frozen(kw_only=True)
class Reset(EventData):
    """To one client: its cursor cannot be continued; start again from what the API tells now. Never stored."""

    type: ClassVar[str] = "reset"
    epoch: int
    floor: int
    head: int
    reason: str

    def frame(self) -> bytes:
        """The reset as a block of an event stream; its id is the head, where the client goes on."""
        now = timestamp(datetime.now(UTC))
        data = b'{"type":"reset","at":"%s","data":%s}' % (now.encode(), self.to_json())
        return encode_event(event=self.type, id=str(Cursor(self.epoch, self.head)), data=data)


@attrs.frozen(kw_only=True)
class Heartbeat(EventData):
    """To one client: the stream lives, and this is its cursor. Never stored."""

    type: ClassVar[str] = "heartbeat"

    @classmethod
    def frame(cls, cursor: Cursor | None, *, retry: int | None = None) -> bytes:
        """As a block of an event stream; without ``cursor`` the client keeps the one that it has.

        ``retry`` (milliseconds) stands in a block with data, since one of its own makes some clients emit an
        empty event.
        """
        data = b'{"type":"heartbeat","at":"%b","data":{}}' % timestamp(datetime.now(UTC)).encode()
        return encode_event(event=cls.type, id=None if cursor is None else str(cursor), retry=retry, data=data)
