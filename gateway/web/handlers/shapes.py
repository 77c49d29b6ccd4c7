"""What the API answers, as types: an answer is made from these, and so is its description."""

from datetime import datetime
from typing import Annotated, Any, Literal

import attrs
from msgspec import UNSET, Meta, UnsetType

from gateway.identity.audit import AuditOutcome
from gateway.identity.roles import RoleWord
from gateway.permissions.requests import PermissionState
from gateway.projects.store import PermissionMode, PermissionRule, Retention
from gateway.sessions.turn import TurnState
from gateway.wire.messages import EventMessageType, MessageRole

CursorText = Annotated[
    str, Meta(pattern=r"^[0-9]{1,9}-[0-9]{1,18}$", description="A place in the project's log: `<epoch>-<seq>`.")
]
Next = Annotated[str | None, Meta(description="The `after` of the page that follows; null on the last one.")]


@attrs.frozen(kw_only=True)
class Project:
    """A project: it stands for one container."""

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
    owner_id: str
    role: Annotated[RoleWord, Meta(description="What the asker may do in it.")]
    created_at: datetime
    updated_at: datetime


@attrs.frozen(kw_only=True)
class ProjectPage:
    """Projects, oldest first."""

    projects: list[Project]
    next: Next


@attrs.frozen(kw_only=True)
class Member:
    """Who may use a project, and as what."""

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
    """What somebody did to a project, or tried."""

    id: str
    at: datetime
    user_id: Annotated[str | None, Meta(description="Null where nobody knows.")]
    mode: Annotated[str | None, Meta(description="How they had identified themselves.")]
    token_id: Annotated[str | None, Meta(description="The API token that they had shown.")]
    method: str
    path: Annotated[str, Meta(description="Without its query.")]
    outcome: Annotated[AuditOutcome, Meta(description="`left`: the client had gone before there was an answer.")]
    status: int | None
    code: Annotated[str | None, Meta(description="Of the problem that it was answered with.")]
    address: Annotated[str | None, Meta(description="Where it came from.")]
    request_id: str
    repeats: Annotated[int, Meta(description="How many like it came before, and are not here.")]


@attrs.frozen(kw_only=True)
class AuditPage:
    """What was done to a project, newest first."""

    entries: list[AuditEntry]
    next: Next


@attrs.frozen(kw_only=True)
class Agent:
    """An agent of a project's container; ``stale``: as it was when the container was last there."""

    id: str
    name: str
    description: str | None
    status: Annotated[str, Meta(description="stopped, starting, running, error or auth_required")]
    stale: bool
    requires_auth: bool
    authenticated: bool
    error: str | None


@attrs.frozen(kw_only=True)
class AgentList:
    """A project's agents."""

    agents: list[Agent]
    default_agent_id: str | None
    stale: bool
    omitted: Annotated[int, Meta(description="How many more the container lists than are taken of one.")]


@attrs.frozen(kw_only=True)
class Spawned:
    """An agent's process that was started, as its container tells."""

    id: Any = UNSET
    status: Any = UNSET
    started_at: Any = UNSET


@attrs.frozen(kw_only=True)
class RunningTurn:
    """The turn that a session runs."""

    id: str
    started_at: datetime | None


@attrs.frozen(kw_only=True)
class Session:
    """A session; ``cursor`` is where the project's log ends now, where a stream that follows this begins."""

    id: str
    project_id: str
    agent_id: str
    title: str | None
    working_directory: str | None
    permissions: Annotated[str, Meta(description="The project's mode, or `container`: that answers by itself.")]
    status: Literal["idle", "running", "ended"]
    turn: RunningTurn | None
    queue: Annotated[list[str], Meta(description="The turns that wait, the next one first.")]
    cursor: CursorText
    created_by: str
    credential_user_id: Annotated[
        str | None, Meta(description="Whose credential it runs with: they alone prompt it. Null: nobody's.")
    ]
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None


@attrs.frozen(kw_only=True)
class SessionPage:
    """Sessions, newest first."""

    sessions: list[Session]
    next: Next


@attrs.frozen(kw_only=True)
class Turn:
    """A turn: a prompt until its end."""

    id: str
    state: TurnState
    stop_reason: Annotated[str | None, Meta(description="The agent's own (ACP).")]
    failure: Annotated[str | None, Meta(description="The class of what went wrong.")]
    message: str | None
    prompt: Annotated[Any, Meta(description="What it will ask, as long as it waits.")]
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None


@attrs.frozen(kw_only=True)
class Accepted:
    """A prompt that was stored. ``cursor`` is the place just before it; ``turn`` stands with ``Prefer: wait``."""

    turn_id: str
    cursor: CursorText
    state: Literal["queued"] | UnsetType = UNSET
    position: int | UnsetType = UNSET
    turn: Turn | UnsetType = UNSET


@attrs.frozen(kw_only=True)
class Cancelling:
    """The turn that is cancelled; null where it is over."""

    turn_id: str | None


@attrs.frozen(kw_only=True)
class Message:
    """A message of the transcript; which members it has depends on its role."""

    id: str
    role: MessageRole
    turn_id: str | None
    at: datetime
    updated_at: datetime
    content: Annotated[list[Any], Meta(description="ACP content blocks, of user, assistant and thought.")] = UNSET  # type: ignore[assignment]
    message_id: Annotated[Any, Meta(description="The agent's own id for it, where it gave one.")] = UNSET
    tool_call: Annotated[Any, Meta(description="ACP's tool call with all its updates, of tool.")] = UNSET
    omitted: Annotated[list[str], Meta(description="Members of the tool call that were too large to keep.")] = UNSET  # type: ignore[assignment]
    entries: Annotated[Any, Meta(description="ACP's plan entries, of plan.")] = UNSET
    author: Annotated[str, Meta(description="Who wrote the prompt, of user.")] = UNSET  # type: ignore[assignment]
    event: Annotated[EventMessageType, Meta(description="The type of the event, of event.")] = UNSET  # type: ignore[assignment]
    data: Annotated[Any, Meta(description="The data that `Event` has for this type, of event.")] = UNSET


@attrs.frozen(kw_only=True)
class MessagePage:
    """A page of the transcript."""

    messages: list[Message]
    next: Next


@attrs.frozen(kw_only=True)
class Permission:
    """A permission request: an agent asks whether it may run a tool."""

    id: str
    session_id: str
    turn_id: str | None
    agent_id: str | None
    tool_call: Annotated[Any, Meta(description="ACP's tool call, with what the log knows of it.")]
    options: Annotated[Any, Meta(description="ACP's permission options, the agent's own.")]
    state: PermissionState
    option_id: str | None
    resolved_by: Annotated[str | None, Meta(description="A user's id, or `rule`, `timeout`, `container` or `gateway`.")]
    rule: Annotated[Any, Meta(description="The rule or mode that answered it.")]
    requested_at: datetime
    expires_at: datetime | None
    resolved_at: datetime | None


@attrs.frozen(kw_only=True)
class PermissionList:
    """Permission requests that wait, oldest first."""

    permissions: list[Permission]


@attrs.frozen(kw_only=True)
class Snapshot:
    """A session as it is at ``cursor``: what streams on from there misses nothing and repeats nothing."""

    session: Session
    turn: RunningTurn | None
    permissions: list[Permission]
    messages: list[Message]
    next: Next
    cursor: CursorText


@attrs.frozen(kw_only=True)
class LoginBegun:
    """What the person must do: open ``authorizeUrl``, enter ``userCode``, or bring a key to ``tokenUrl``."""

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
    """A person's account for an agent; of its secrets a fingerprint alone."""

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
class CredentialList:
    """The caller's own credentials, for all agents."""

    credentials: list[Credential]


@attrs.frozen(kw_only=True)
class LoginState:
    """The newest login, and how it ended."""

    id: str
    flow: str
    provider: str | None
    state: str | None
    code: Annotated[str | None, Meta(description="An error's code, where it ended with one.")]
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


@attrs.frozen(kw_only=True)
class LoginWay:
    """A way in which an account can be connected."""

    flow: str
    provider: str | UnsetType = UNSET
    provider_name: str | UnsetType = UNSET
    token_type: str | UnsetType = UNSET
    asks: str | UnsetType | None = UNSET


AuthState = Literal["none", "pending", "authorized", "denied", "expired", "failed", "needs_reauth"]


@attrs.frozen(kw_only=True)
class AuthStatus:
    """What became of the login, and what the account is."""

    agent_id: str
    state: AuthState
    credential: Credential | None
    login: LoginState | None
    ways: list[LoginWay]


@attrs.frozen(kw_only=True)
class Revocation:
    """What the provider said when it was told that the account is over."""

    outcome: str
    message: str | None


@attrs.frozen(kw_only=True)
class Disconnected:
    """What was taken away."""

    agent_id: str
    deleted: bool
    login_cancelled: bool
    revocation: Revocation | None


@attrs.frozen(kw_only=True)
class Ticket:
    """What opens one event stream, once."""

    ticket: str
    expires_at: datetime
    url: Annotated[str, Meta(description="The path of the stream, with the ticket.")]


@attrs.frozen(kw_only=True)
class SignedIn:
    """What a sign-in link was exchanged for: an API token that is good in this browser alone."""

    token: Annotated[str, Meta(description="It opens together with the cookie that comes with this answer.")]
    user_id: str
    expires_at: datetime | None


@attrs.frozen(kw_only=True)
class Health:
    """The process lives."""

    status: Literal["alive"]


@attrs.frozen(kw_only=True)
class Part:
    """A part that a gateway depends on."""

    ready: bool
    reason: Annotated[str | UnsetType, Meta(description="Why it is not ready.")] = UNSET
    note: Annotated[str | UnsetType, Meta(description="What it cannot do although it is ready.")] = UNSET


@attrs.frozen(kw_only=True)
class Readiness:
    """Whether requests should be sent to this gateway."""

    status: Literal["ready", "not_ready"]
    parts: dict[str, Part]
