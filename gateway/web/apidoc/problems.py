"""Which errors an endpoint can answer: its own, and those that its path, body and headers bring."""

from collections.abc import Iterable, Mapping
from typing import Final

from gateway import errors
from gateway.db.errors import LostRace, OutcomeUnknown, QueryTimeout, StatementFailed, UnstorableText
from gateway.web.apidoc.endpoint import Endpoint

Error = type[errors.GatewayError]

#: Every endpoint except pages uses the database.
_DATABASE: Final[tuple[Error, ...]] = (
    *(errors.DatabaseUnavailable, QueryTimeout, LostRace, OutcomeUnknown, StatementFailed, UnstorableText),
    errors.GatewayError,
)
_IN_PATH: Final[Mapping[str, Error]] = {
    "{project_id}": errors.ProjectNotFound,
    "{session_id}": errors.SessionNotFound,
    "{turn_id}": errors.TurnNotFound,
    "{permission_id}": errors.PermissionNotFound,
    "{agent_id}": errors.AgentNotFound,
}
#: Errors that set a header.
HEADERS: Final[Mapping[Error, str]] = {
    errors.Unauthenticated: "WWW-Authenticate",
    errors.DatabaseUnavailable: "Retry-After",
    OutcomeUnknown: "Retry-After",
    errors.IdempotencyKeyInUse: "Retry-After",
    errors.TooManyRequests: "Retry-After",
    errors.TooManyTurns: "Retry-After",
}


def errors_of(endpoint: Endpoint) -> list[Error]:
    """Sorted by status, without duplicates."""
    found = {*endpoint.errors, *_common(endpoint)}
    if endpoint.is_stream:
        # A busy gateway ends the stream instead: browsers give up on any other status.
        found = {error for error in found if error.status < 429 or error is errors.LoopDetected}
    return sorted(found, key=lambda error: (error.status, error.code, error.__name__))


def _common(endpoint: Endpoint) -> Iterable[Error]:
    # Possible on every path: an invalid host, a page of another origin, a forwarding loop.
    yield from (errors.Forbidden, errors.LoopDetected)
    if errors.BadRequest.status not in endpoint.answers:  # by a page
        yield errors.BadRequest
    if not endpoint.is_public:
        yield errors.InvalidParameter
        yield from (errors.Unauthenticated, errors.TooManyRequests, errors.IdentityUnavailable)
        yield from _DATABASE
    if endpoint.role is not None:
        yield errors.InsufficientRole
    if endpoint.of_user is not None:
        yield from (errors.InsufficientRole, errors.TokenLimited)
    yield from (error for name, error in _IN_PATH.items() if name in endpoint.path)
    if endpoint.body is not None:
        yield from errors.BODY
    if any(parameter.name == "Idempotency-Key" for parameter in endpoint.parameters):
        yield from errors.IDEMPOTENCY
    if endpoint.reaches_container:
        yield from _all(errors.UpstreamError)
        # To unseal the container's own secret.
        yield from (errors.VaultKeyMissing, errors.SecretUnreadable)


def _all(error: Error) -> Iterable[Error]:
    yield error
    for below in error.__subclasses__():
        yield from _all(below)
