"""What is wrong with a request, whatever it asks for."""

from typing import Final

from gateway.errors.base import GatewayError


class BadRequest(GatewayError):
    """The request is malformed."""

    status, code = 400, "bad_request"


class InvalidBody(BadRequest):
    """The request's body is not what this route takes."""

    code = "invalid_body"


class InvalidParameter(BadRequest):
    """A query parameter or header has a value that this route does not take."""

    code = "invalid_parameter"


class BodyTooLarge(BadRequest):
    """The request's body is larger than this gateway accepts."""

    status, code = 413, "body_too_large"


class RequestStalled(BadRequest):
    """The request's body stopped arriving."""

    status, code = 408, "request_stalled"


class UnsupportedMediaType(BadRequest):
    """The request's body must be JSON."""

    status, code = 415, "unsupported_media_type"


class NotFound(GatewayError):
    """There is no such thing."""

    status, code = 404, "not_found"


class MethodNotAllowed(GatewayError):
    """This route does not take that method."""

    status, code = 405, "method_not_allowed"


class Conflict(GatewayError):
    """The request does not fit the present state."""

    status, code = 409, "conflict"


class IdempotencyKeyInUse(Conflict):
    """The same call is still being worked on; ask again for its answer."""

    code = "idempotency_key_in_use"


class IdempotencyKeyReused(GatewayError):
    """This Idempotency-Key has been used for another call, of another route or with another body; take a new key."""

    status, code = 422, "idempotency_key_reused"


class TooManyRequests(GatewayError):
    """Too many requests; come back later."""

    status, code = 429, "too_many_requests"


class NotImplementedYet(GatewayError):
    """This part of the interface does not exist yet."""

    status, code = 501, "not_implemented"


class LoopDetected(GatewayError):
    """The request goes round in a circle."""

    status, code = 508, "loop_detected"


#: What a body may be refused for.
BODY: Final = (BadRequest, InvalidBody, BodyTooLarge, RequestStalled, UnsupportedMediaType)
#: Where an ``Idempotency-Key`` may come with the request.
IDEMPOTENCY: Final = (IdempotencyKeyInUse, IdempotencyKeyReused, Conflict)
