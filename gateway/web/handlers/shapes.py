"""The API's responses as types; the OpenAPI document is generated from them."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import attrs
from msgspec import UNSET, Meta, UnsetType

from gateway.identity.audit import AuditOutcome
from gateway.identity.roles import RoleWord
from gateway.permissions.requests import PermissionState
from gateway.projects.store import PermissionMode, PermissionRule, Retention
from gateway.sessions.turn import TurnState
from gateway.wire.messages import EventMessageType, MessageRole

#: The default of a member that a response may lack. `Any`, since msgspec's own type is none of the members' types.
ABSENT: Final[Any] = UNSET

CursorText = Annotated[
    str, Meta(pattern=r"^[0-9]{1,9}-[0-9]{1,18}$", description="A place in the project's log: `<epoch>-<seq>`.")
]
Next = Annotated[str | None, Meta(description="The `after` of the next page; null on the last page.")]


@attrs.frozen(kw_only=True)
class Project:
    """A project, which represents one container."""

    id: str
    name: str
    container_url: str
    acp_url: str | None
    default_agent_id: str | None
    retention: Retention | None
    permission_mode: PermissionMode
    permission_rules: list[PermissionRule]
    permission_timeout: float | None
    record_opencode_events: bool
    has_container_token: bool
    opencode_username: str | None
    has_opencode_password: bool
    owner_id: str
    role: Annotated[RoleWord, Meta(description="The caller's role.")]
    created_at: datetime
    updated_at: datetime


@attrs.frozen(kw_only=True)
class ProjectPage:
    """Projects, oldest first."""

    projects: list[Project]
    next: Next


@attrs.frozen(kw_only=True)
class Member:
    """A member of a project, or its owner."""

    user_id: str
    role: RoleWord
    owner: bool
    added_by: str | None
    added_at: datetime


@attrs.frozen(kw_only=True)
class MemberList:
    """A project's owner and members."""

    members: list[Member]


@attrs.frozen(kw_only=True)
class AuditEntry:
    """A change of a project, or a refused request."""

    id: str
    at: datetime
    user_id: Annotated[str | None, Meta(description="Null if unknown.")]
    mode: Annotated[str | None, Meta(description="How the caller was identified.")]
    token_id: Annotated[str | None, Meta(description="The API token that was used.")]
    method: str
    path: Annotated[str, Meta(description="Without the query.")]
    outcome: Annotated[AuditOutcome, Meta(description="`left`: the client disconnected before the response.")]
    status: int | None
    code: Annotated[str | None, Meta(description="The error's code.")]
    address: Annotated[str | None, Meta(description="The client's address.")]
    request_id: str
    repeats: Annotated[int, Meta(description="How many similar ones before it were left out.")]


@attrs.frozen(kw_only=True)
class AuditPage:
    """Audit entries, newest first."""

    entries: list[AuditEntry]
    next: Next


@attrs.frozen(kw_only=True)
class Agent:
    """An agent of a project's container; ``stale``: as last known, since the container is unreachable."""

    id: str
    name: str
    description: str | None
    status: Annotated[str, Meta(description="stopped, starting, running, error or auth_required")]
    stale: bool
    requires_auth: bool
    authenticated: bool
    error: str | None
    warning: Annotated[str | None, Meta(description="What its operator should know, although it can run.")]


@attrs.frozen(kw_only=True)
class AgentList:
    """A project's agents."""

    agents: list[Agent]
    default_agent_id: str | None
    stale: bool
    omitted: Annotated[int, Meta(description="How many further agents of the container were left out.")]


@attrs.frozen(kw_only=True)
class Spawned:
    """A started agent, as its container reports it."""

    id: Any = ABSENT
    status: Any = ABSENT
    started_at: Any = ABSENT


@attrs.frozen(kw_only=True)
class RunningTurn:
    """The turn that a session runs."""

    id: str
    started_at: datetime | None


@attrs.frozen(kw_only=True)
class Session:
    """A session; ``cursor`` is the log's end as of this response, from which a stream can continue."""

    id: str
    project_id: str
    agent_id: str
    title: str | None
    titled_by: Annotated[
        Literal["user", "agent"] | None, Meta(description="Who gave the title. An agent's gives way to a user's.")
    ]
    working_directory: str | None
    permissions: Annotated[
        str, Meta(description="The project's mode; `container` or `agent` if that decides by itself.")
    ]
    agent_mode: Annotated[str | None, Meta(description="The mode that the agent works in, if it has modes.")]
    status: Literal["idle", "running", "ended"]
    turn: RunningTurn | None
    queue: Annotated[list[str], Meta(description="Queued turns, the next one first.")]
    cursor: CursorText
    created_by: str
    credential_user_id: Annotated[
        str | None, Meta(description="Whose credential it uses; only they may prompt it. Null: nobody's.")
    ]
    created_at: datetime
    updated_at: Annotated[datetime, Meta(description="When it was active last.")]
    ended_at: datetime | None


@attrs.frozen(kw_only=True)
class SessionPage:
    """Sessions, the last active first."""

    sessions: list[Session]
    next: Next


@attrs.frozen(kw_only=True)
class Turn:
    """A turn: a prompt and the agent's work on it."""

    id: str
    state: TurnState
    stop_reason: Annotated[str | None, Meta(description="ACP's stop reason.")]
    failure: Annotated[str | None, Meta(description="The kind of failure.")]
    message: str | None
    prompt: Annotated[Any, Meta(description="The prompt, while it is queued.")]
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None


@attrs.frozen(kw_only=True)
class Accepted:
    """An accepted prompt. ``cursor`` is just before it; ``turn`` is present with ``Prefer: wait``."""

    turn_id: str
    cursor: CursorText
    state: Literal["queued"] | UnsetType = UNSET
    position: int | UnsetType = UNSET
    turn: Turn | UnsetType = UNSET


@attrs.frozen(kw_only=True)
class Cancelling:
    """The turn that is being cancelled; null if none runs."""

    turn_id: str | None


@attrs.frozen(kw_only=True)
class Reference:
    """A large value of a message, which has the beginning of a text, or an empty value, in its place."""

    path: Annotated[str, Meta(description="Where the value stands in the message: a JSON pointer (RFC 6901).")]
    url: Annotated[str, Meta(description="The path that has the value; it may be cached.")]
    media_type: Annotated[
        str, Meta(description="`text/plain`, `application/json`, or what the agent says that base64 is.")
    ]
    size: Annotated[int, Meta(description="Bytes; of base64: decoded.")]


@attrs.frozen(kw_only=True)
class ExitStatus:
    """How a command ended: with a code, or by a signal."""

    exit_code: int | None
    signal: str | None


@attrs.frozen(kw_only=True)
class Terminal:
    """A command that was run for an agent."""

    terminal_id: str
    command: Annotated[str, Meta(description="Absent where its beginning is not known.")] = ABSENT
    args: list[str] = ABSENT
    cwd: str | None = None
    output: Annotated[str, Meta(description="What it has written to both outputs.")]
    omitted_bytes: Annotated[int, Meta(description="How much of what followed was too much to keep.")]
    output_end: Annotated[str, Meta(description="What came after these bytes.")] = ABSENT
    exit_status: Annotated[ExitStatus | None, Meta(description="null while it runs.")]
    through: Annotated[str, Meta(description="The `seq` of the last event that is in it.")]


@attrs.frozen(kw_only=True)
class Filled:
    """What was said or done where a gap is; the members as those of a message."""

    role: Literal["assistant", "thought", "tool"]
    content: list[Any] = ABSENT
    message_id: Any = UNSET
    tool_call: Any = UNSET
    omitted: list[str] = ABSENT


@attrs.frozen(kw_only=True)
class Message:
    """A message; its members depend on its role."""

    id: str
    role: MessageRole
    turn_id: str | None
    at: datetime
    updated_at: datetime
    content: Annotated[list[Any], Meta(description="ACP content blocks (user, assistant, thought).")] = ABSENT
    message_id: Annotated[Any, Meta(description="The agent's own id for it, if any.")] = UNSET
    tool_call: Annotated[Any, Meta(description="ACP's tool call with all updates applied (tool).")] = UNSET
    omitted: Annotated[list[str], Meta(description="Members of the tool call that were too large to keep.")] = ABSENT
    terminal: Terminal = ABSENT
    entries: Annotated[Any, Meta(description="ACP's plan entries, of plan.")] = UNSET
    author: Annotated[str, Meta(description="Who wrote the prompt, of user.")] = ABSENT
    event: Annotated[EventMessageType, Meta(description="The type of the event, of event.")] = ABSENT
    data: Annotated[Any, Meta(description="The data that `Event` has for this type, of event.")] = UNSET
    filled: Annotated[list[Filled], Meta(description="What the agent's own history had of a gap.")] = ABSENT
    through: Annotated[str, Meta(description="The `seq` of the last event that is in `filled`.")] = ABSENT
    references: Annotated[list[Reference], Meta(description="Values that were too large for a page.")] = ABSENT


@attrs.frozen(kw_only=True)
class MessagePage:
    """A page of messages."""

    messages: list[Message]
    next: Next


@attrs.frozen(kw_only=True)
class Permission:
    """A permission request of an agent."""

    id: str
    session_id: str
    turn_id: str | None
    agent_id: str | None
    tool_call: Annotated[Any, Meta(description="ACP's tool call, completed from the log.")]
    options: Annotated[Any, Meta(description="ACP's permission options, as the agent sent them.")]
    state: PermissionState
    option_id: str | None
    resolved_by: Annotated[str | None, Meta(description="A user's id, or `rule`, `timeout`, `container` or `gateway`.")]
    rule: Annotated[Any, Meta(description="The rule or mode that answered it.")]
    requested_at: datetime
    expires_at: datetime | None
    resolved_at: datetime | None


@attrs.frozen(kw_only=True)
class PermissionPage:
    """Open permission requests, oldest first."""

    permissions: list[Permission]
    next: Next


@attrs.frozen(kw_only=True)
class Snapshot:
    """A session as of ``cursor``: a stream from there misses nothing and repeats nothing."""

    session: Session
    turn: RunningTurn | None
    permissions: list[Permission]
    messages: list[Message]
    next: Next
    cursor: CursorText


@attrs.frozen(kw_only=True)
class LoginBegun:
    """What the user must do: open ``authorizeUrl``, enter ``userCode``, or send a key to ``tokenUrl``."""

    flow: str
    login_id: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    provider_name: str | UnsetType = UNSET
    scopes: list[str] | UnsetType = UNSET
    expires_at: datetime | UnsetType = UNSET
    authorize_url: str | UnsetType | None = UNSET
    redirect_uri: str | UnsetType | None = UNSET
    paste_back: bool | UnsetType = UNSET
    user_code: str | UnsetType | None = UNSET
    verification_uri: str | UnsetType | None = UNSET
    verification_uri_complete: str | UnsetType | None = UNSET
    interval: Annotated[float | None, Meta(description="Seconds.")] | UnsetType = UNSET
    token_type: str | UnsetType | None = UNSET
    token_url: str | UnsetType = UNSET
    message: str | UnsetType | None = UNSET


@attrs.frozen(kw_only=True)
class Credential:
    """A user's credential for an agent, with a fingerprint in place of the secret."""

    agent_id: str
    token_type: str
    provider: str | None
    subject: str | None
    scopes: list[str]
    expires_at: datetime | None
    renewable: bool
    state: str
    reason: str | None
    fingerprint: str | None
    created_at: datetime
    updated_at: datetime


@attrs.frozen(kw_only=True)
class CredentialPage:
    """The caller's own credentials, by agent."""

    credentials: list[Credential]
    next: Next


@attrs.frozen(kw_only=True)
class LoginState:
    """The newest login, and how it ended."""

    id: str
    flow: str
    provider: str | None
    state: str | None
    code: Annotated[str | None, Meta(description="An error's code, if it failed.")]
    title: str | None
    detail: str | None
    scopes: list[str]
    expires_at: datetime
    created_at: datetime
    ended_at: datetime | None
    user_code: str | UnsetType | None = UNSET
    verification_uri: str | UnsetType | None = UNSET
    verification_uri_complete: str | UnsetType | None = UNSET
    interval: float | UnsetType | None = UNSET
    message: Annotated[str, Meta(description="What the agent says of a login that it runs itself.")] | UnsetType = UNSET


@attrs.frozen(kw_only=True)
class LoginWay:
    """A way to connect an account."""

    flow: str
    provider: str | UnsetType = UNSET
    provider_name: str | UnsetType = UNSET
    token_type: str | UnsetType = UNSET
    asks: str | UnsetType | None = UNSET


AuthState = Literal["none", "pending", "authorized", "denied", "expired", "failed", "needs_reauth"]


@attrs.frozen(kw_only=True)
class AuthStatus:
    """The state of the login and the account."""

    agent_id: str
    state: AuthState
    credential: Credential | None
    login: LoginState | None
    ways: list[LoginWay]


@attrs.frozen(kw_only=True)
class Revocation:
    """The provider's answer to the revocation."""

    outcome: str
    message: str | None


@attrs.frozen(kw_only=True)
class Disconnected:
    """What was deleted."""

    agent_id: str
    deleted: bool
    login_cancelled: bool
    revocation: Revocation | None


@attrs.frozen(kw_only=True)
class Ticket:
    """A ticket that opens one event stream once."""

    ticket: str
    expires_at: datetime
    url: Annotated[str, Meta(description="The path of the stream, with the ticket.")]


@attrs.frozen(kw_only=True)
class SignedIn:
    """The API token that a sign-in link was exchanged for; it is valid only in this browser."""

    token: Annotated[str, Meta(description="Valid only together with the cookie of this response.")]
    user_id: str
    expires_at: datetime | None


@attrs.frozen(kw_only=True)
class Health:
    """The process is alive."""

    status: Literal["alive"]


@attrs.frozen(kw_only=True)
class Part:
    """A part that the gateway depends on."""

    ready: bool
    reason: Annotated[str | UnsetType, Meta(description="Why it is not ready.")] = UNSET
    note: Annotated[str | UnsetType, Meta(description="What does not work although it is ready.")] = UNSET


@attrs.frozen(kw_only=True)
class Readiness:
    """Whether requests should be sent to this gateway."""

    status: Literal["ready", "not_ready"]
    parts: dict[str, Part]
