"""Which errors an endpoint can answer with: what its path, body and headers bring, and what is its own."""

from collections.abc import Iterable, Mapping
from typing import Final

from gateway.db.errors import LostRace, OutcomeUnknown, QueryTimeout, StatementFailed, UnstorableText
from gateway.errors import (
    AgentNotFound,
    BadRequest,
    BodyTooLarge,
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    GatewayError,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    IdentityUnavailable,
    InvalidBody,
    InvalidParameter,
    LoopDetected,
    PermissionNotFound,
    ProjectNotFound,
    RequestStalled,
    RoleTooSmall,
    SecretUnreadable,
    SessionNotFound,
    TokenLimited,
    TooManyRequests,
    TooManyTurns,
    TurnNotFound,
    Unauthenticated,
    UnsupportedMediaType,
    UpstreamError,
    VaultKeyMissing,
)
from gateway.web.apidoc.endpoint import Endpoint

Error = type[GatewayError]

#: Where the database is asked, which is everywhere but on pages.
_DATABASE: Final[tuple[Error, ...]] = (
    DatabaseUnavailable, QueryTimeout, LostRace, OutcomeUnknown, StatementFailed, UnstorableText, GatewayError,
)  # fmt: skip
_BODY: Final[tuple[Error, ...]] = (
    BadRequest, InvalidBody, BodyTooLarge, RequestStalled, UnsupportedMediaType,
)  # fmt: skip
_IN_PATH: Final[Mapping[str, tuple[Error, ...]]] = {
    "{project_id}": (ProjectNotFound,),
    "{session_id}": (SessionNotFound,),
    "{turn_id}": (TurnNotFound,),
    "{permission_id}": (PermissionNotFound,),
    "{agent_id}": (AgentNotFound,),
}
_WITH_KEY: Final[tuple[Error, ...]] = (IdempotencyKeyInUse, IdempotencyKeyReused, Conflict)
#: Errors that tell their caller something in a header.
HEADERS: Final[Mapping[Error, str]] = {
    Unauthenticated: "WWW-Authenticate",
    DatabaseUnavailable: "Retry-After",
    OutcomeUnknown: "Retry-After",
    IdempotencyKeyInUse: "Retry-After",
    TooManyRequests: "Retry-After",
    TooManyTurns: "Retry-After",
}


def errors_of(endpoint: Endpoint) -> list[Error]:
    """In the order of their statuses; each once."""
    found = {*endpoint.errors, *_common(endpoint)}
    if endpoint.is_stream:
        # What passes is told by a stream that ends: for another status browsers would give up.
        found = {error for error in found if error.status < 429 or error is LoopDetected}
    return sorted(found, key=lambda error: (error.status, error.code, error.__name__))


def _common(endpoint: Endpoint) -> Iterable[Error]:
    # Wherever a request leads: a host that is none, a page of another origin, a request that comes around.
    yield from (Forbidden, LoopDetected)
    if BadRequest.status not in endpoint.answers:  # by a page
        yield BadRequest
    if not endpoint.is_public:
        yield InvalidParameter
        yield from (Unauthenticated, TooManyRequests, IdentityUnavailable)
        yield from _DATABASE
    if endpoint.role is not None:
        yield RoleTooSmall
    if endpoint.of_user is not None:
        yield from (RoleTooSmall, TokenLimited)
    for name, errors in _IN_PATH.items():
        if name in endpoint.path:
            yield from errors
    if endpoint.body is not None:
        yield from _BODY
    if any(parameter.name == "Idempotency-Key" for parameter in endpoint.parameters):
        yield from _WITH_KEY
    if endpoint.reaches_container:
        yield from _all(UpstreamError)
        # The container's own secret is opened for it.
        yield from (VaultKeyMissing, SecretUnreadable)


def _all(error: Error) -> Iterable[Error]:
    yield error
    for below in error.__subclasses__():
        yield from _all(below)
