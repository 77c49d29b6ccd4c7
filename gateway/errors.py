"""Everything that can go wrong, as one tree.

A class is one kind of failure: its docstring is the sentence a caller reads, ``status`` the HTTP status, ``code``
the stable word for programs. Only ``middleware.errors`` turns one into an answer (RFC 9457).

    GatewayError
    ├── BadRequest                 400  what the caller sent is wrong
    │   ├── InvalidBody            400
    │   ├── InvalidParameter       400
    │   ├── RefusedByContainer     400
    │   ├── BodyTooLarge           413
    │   ├── RequestStalled         408
    │   └── UnsupportedMediaType   415
    ├── Unauthenticated            401
    ├── Forbidden                  403
    │   ├── ProjectCreationDenied  403
    │   ├── RoleTooSmall           403
    │   └── TokenLimited           403
    ├── NotFound                   404  ProjectNotFound, SessionNotFound, TurnNotFound, AgentNotFound, …
    ├── Conflict                   409  ProjectExists, AddressTaken, SessionBusy, SessionEnded, PermissionSettled, …
    ├── TooManyRequests            429  TooManyTurns, TooManyStreams
    ├── PermissionGone             410
    ├── SignInLinkGone             410
    ├── IdempotencyKeyReused       422
    ├── NotImplementedYet          501
    ├── LoopDetected               508
    ├── UpstreamError              502  the container's side
    │   ├── UpstreamUnreachable    502
    │   ├── UpstreamForbidden      502
    │   ├── UpstreamFailed         502
    │   ├── UpstreamRefused        503
    │   ├── AgentUnavailable       503
    │   └── UpstreamTimeout        504
    ├── AuthRequired               401  ReauthRequired
    ├── LoginError                 400  a login at a provider: what its person can do something about
    │   ├── LoginUnknown           404
    │   ├── LoginDenied            403
    │   ├── LoginExpired           410
    │   └── LoginSuperseded        409  …
    ├── ProviderError              502  the provider's side
    │   ├── ProviderAnswerInvalid  502
    │   ├── ProviderMisconfigured  502
    │   └── ProviderUnavailable    503
    ├── DatabaseUnavailable        503
    ├── HistoryTooLong             503
    ├── VaultNotConfigured         503
    ├── VaultKeyMissing            503
    ├── SecretUnreadable           503
    └── ConfigError, StartError, UsageError, TokenNotFound   on the command line, never over HTTP
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class GatewayError(Exception):
    """The gateway could not do this."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(self, detail: str | None = None, *, headers: Mapping[str, str] | None = None, **members: Any):
        """``detail`` says what was wrong here; ``members`` are extra members of the problem document."""
        super().__init__(detail or self.title())
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    @classmethod
    def title(cls) -> str:
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]


class ConfigError(GatewayError):
    """The configuration is wrong."""

    code = "config_error"


class StartError(GatewayError):
    """The program cannot start."""

    code = "start_error"


class UsageError(GatewayError):
    """The command cannot be done as it was given."""

    code = "usage_error"


class TokenNotFound(GatewayError):
    """There is no such API token."""

    code = "token_not_found"


class BadRequest(GatewayError):
    """The request is malformed."""

    status, code = 400, "bad_request"


class InvalidBody(BadRequest):
    """The request's body is not what this route takes."""

    code = "invalid_body"


class InvalidParameter(BadRequest):
    """A query parameter or header has a value that this route does not take."""

    code = "invalid_parameter"


class RefusedByContainer(BadRequest):
    """The project's container does not take this."""

    code = "refused_by_container"


class BodyTooLarge(BadRequest):
    """The request's body is larger than this gateway accepts."""

    status, code = 413, "body_too_large"


class RequestStalled(BadRequest):
    """The request's body stopped arriving."""

    status, code = 408, "request_stalled"


class UnsupportedMediaType(BadRequest):
    """The request's body must be JSON."""

    status, code = 415, "unsupported_media_type"


class Unauthenticated(GatewayError):
    """The gateway does not know who asks."""

    status, code = 401, "unauthenticated"

    def __init__(self, detail: str, *, error: str | None = None) -> None:
        """``error``: what is wrong with a credential that was shown, by RFC 6750 3.1."""
        self.error = error
        challenge = 'Bearer realm="acp-gateway"' + (f', error="{error}"' if error else "")
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class TooManyRequests(GatewayError):
    """Too many requests; come back later."""

    status, code = 429, "too_many_requests"


class SignInLinkGone(GatewayError):
    """The sign-in link has been used, has expired, or was ended by a start of the gateway; print another."""

    status, code = 410, "sign_in_link_gone"


class IdentityUnavailable(GatewayError):
    """Who asks cannot be found out just now."""

    status, code = 503, "identity_unavailable"


class Forbidden(GatewayError):
    """This is not allowed."""

    status, code = 403, "forbidden"


class ProjectCreationDenied(Forbidden):
    """You may not register containers here."""

    code = "project_creation_denied"


class RoleTooSmall(Forbidden):
    """The caller's role in this project does not allow this."""

    code = "role_too_small"


class TokenLimited(Forbidden):
    """The API token is limited to some projects, and this concerns all that its user has."""

    code = "token_limited"


class NotYourCredential(Forbidden):
    """The session runs with another person's credential, so only that person may prompt it."""

    code = "not_your_credential"


class NotFound(GatewayError):
    """There is no such thing."""

    status, code = 404, "not_found"


class ProjectNotFound(NotFound):
    """There is no such project."""

    code = "project_not_found"


class MemberNotFound(NotFound):
    """There is no such member of this project."""

    code = "member_not_found"


class AgentNotFound(NotFound):
    """The project's container knows no such agent."""

    code = "agent_not_found"


class SessionNotFound(NotFound):
    """There is no such session in this project."""

    code = "session_not_found"


class TurnNotFound(NotFound):
    """There is no such turn in this session."""

    code = "turn_not_found"


class PermissionNotFound(NotFound):
    """There is no such permission request in this project."""

    code = "permission_not_found"


class MethodNotAllowed(GatewayError):
    """This route does not take that method."""

    status, code = 405, "method_not_allowed"


class Conflict(GatewayError):
    """The request does not fit the present state."""

    status, code = 409, "conflict"


class ProjectExists(Conflict):
    """A project with this id exists already."""

    code = "project_exists"


class AddressTaken(Conflict):
    """Another project has this container."""

    code = "address_taken"


class TooManyProjects(Conflict):
    """You own as many projects as one user may have."""

    code = "too_many_projects"


class OwnerIsAdmin(Conflict):
    """The project's owner is its admin and cannot be anything else."""

    code = "owner_is_admin"


class TooManyMembers(Conflict):
    """The project has as many members as it can have."""

    code = "too_many_members"


class SessionBusy(Conflict):
    """The session is running a turn; wait for its end or cancel it."""

    code = "session_busy"


class QueueFull(Conflict):
    """Too many prompts wait in this session already."""

    code = "queue_full"


class SessionEnded(Conflict):
    """The session has ended; create a new one."""

    code = "session_ended"


class PermissionSettled(Conflict):
    """The permission request has been settled already."""

    code = "permission_settled"


class TooManyTurns(TooManyRequests):
    """As many turns run as may run at once."""

    code = "too_many_turns"


class TooManyStreams(TooManyRequests):
    """As many event streams are open as one user may have."""

    code = "too_many_streams"


class TooManySessions(Conflict):
    """The project has as many living sessions as it may have."""

    code = "too_many_sessions"


class PromptTooLarge(BadRequest):
    """The prompt is larger than prompts may be here."""

    status, code = 413, "prompt_too_large"


class PermissionGone(GatewayError):
    """Nobody waits for an answer to this permission request any more."""

    status, code = 410, "permission_gone"


class AgentInUse(Conflict):
    """The agent's one process in this container runs with another person's credential, or with none."""

    code = "agent_in_use"


class CredentialUnusable(Conflict):
    """Your credential for the agent is not of a kind that it can be given here."""

    code = "credential_unusable"


class ContainerMoved(Conflict):
    """The project is at another container than the one that you last had your credential used at."""

    code = "container_moved"


class IdempotencyKeyInUse(Conflict):
    """The same call is still being worked on; ask again for its answer."""

    code = "idempotency_key_in_use"


class IdempotencyKeyReused(GatewayError):
    """This Idempotency-Key has been used for another call, of another route or with another body; take a new key."""

    status, code = 422, "idempotency_key_reused"


class NoDefaultAgent(Conflict):
    """No agent was named and the project has no default agent."""

    code = "no_default_agent"


class ConflictInContainer(Conflict):
    """The request does not fit the present state of the project's container."""

    code = "conflict_in_container"


class NotImplementedYet(GatewayError):
    """This part of the interface does not exist yet."""

    status, code = 501, "not_implemented"


class LoopDetected(GatewayError):
    """The request goes round in a circle."""

    status, code = 508, "loop_detected"


class UpstreamError(GatewayError):
    """The project's container could not be used."""

    status, code = 502, "upstream_error"
    #: There was no connection: what was to be sent has had no effect for certain.
    unsent = False


class UpstreamUnreachable(UpstreamError):
    """The project's container could not be reached."""

    code = "upstream_unreachable"


class UpstreamForbidden(UpstreamError):
    """The project's container is at an address that this gateway does not connect to."""

    code = "upstream_forbidden"
    unsent = True


class UpstreamFailed(UpstreamError):
    """The project's container answered with an error."""

    code = "upstream_failed"


class UpstreamRefused(UpstreamError):
    """The project's container refused the connection."""

    status, code = 503, "upstream_refused"
    unsent = True


class AgentUnavailable(UpstreamError):
    """The agent's program is not installed in the project's container."""

    status, code = 503, "agent_unavailable"


class UpstreamTimeout(UpstreamError):
    """The project's container did not answer in time."""

    status, code = 504, "upstream_timeout"


class DatabaseUnavailable(GatewayError):
    """The database cannot be used right now."""

    status, code = 503, "database_unavailable"


class HistoryTooLong(GatewayError):
    """The session has just said more than can be told at once; ask again in a moment."""

    status, code = 503, "history_too_long"


class VaultNotConfigured(GatewayError):
    """This gateway has no key to seal secrets with."""

    status, code = 503, "vault_not_configured"

    def __init__(self) -> None:
        super().__init__(
            "This gateway has no key to seal secrets with, so it stores none. Its operator makes one with "
            '"acp-gateway key new --config FILE", where FILE names it as key_file of [vault], and starts the gateway '
            "again."
        )


class VaultKeyMissing(GatewayError):
    """The key that sealed this secret is not among this gateway's keys."""

    status, code = 503, "vault_key_missing"


class SecretUnreadable(GatewayError):
    """A stored secret cannot be opened; store it again."""

    status, code = 503, "secret_unreadable"


class AuthRequired(GatewayError):
    """The agent needs an account that you have not connected."""

    status, code = 401, "auth_required"


class ReauthRequired(AuthRequired):
    """The account that you have connected can be used no more; connect it again."""


class NoLoginHere(Conflict):
    """There is no such way to log in for this agent."""

    code = "no_login_here"


class CredentialRefused(BadRequest):
    """This is not a credential that the agent can use."""

    code = "credential_refused"


class LoginError(BadRequest):
    """The login could not be completed."""

    code = "login_failed"


class LoginUnknown(LoginError):
    """This login is unknown, has been completed, or is somebody else's."""

    status, code = 404, "login_unknown"


class LoginUnreadable(LoginError):
    """What was pasted is no answer of a provider."""

    code = "login_unreadable"


class LoginIssuerMismatch(LoginError):
    """The answer comes from another provider than the one that was asked."""

    code = "login_issuer_mismatch"


class LoginRefused(LoginError):
    """The provider did not accept this login."""

    code = "login_refused"


class LoginDenied(LoginError):
    """The login was declined at the provider."""

    status, code = 403, "login_denied"


class LoginExpired(LoginError):
    """The login was not completed in time."""

    status, code = 410, "login_expired"


class LoginSuperseded(LoginError):
    """Another login has been started since."""

    status, code = 409, "login_superseded"


class LoginNotPending(LoginError):
    """No login of yours waits for a code here."""

    status, code = 409, "login_not_pending"


class LoginAmbiguous(LoginError):
    """More than one login of yours waits for a code."""

    status, code = 409, "login_ambiguous"


class ProviderError(GatewayError):
    """The provider of the account could not be used."""

    status, code = 502, "provider_error"


class ProviderAnswerInvalid(ProviderError):
    """The provider gave an answer that makes no sense."""

    code = "provider_answer_invalid"


class ProviderMisconfigured(ProviderError):
    """The provider does not accept this gateway as it is configured; its operator can mend that."""

    code = "provider_misconfigured"


class DeviceFlowDisabled(ProviderMisconfigured):
    """The provider has the login with a code switched off for this gateway."""

    code = "device_flow_disabled"


class ProviderUnavailable(ProviderError):
    """The provider cannot be used right now; try again later."""

    status, code = 503, "provider_unavailable"
