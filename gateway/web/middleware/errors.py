"""Answers every failure with a problem document (RFC 9457) that has a stable code and the request's id."""

import itertools
import logging
import secrets
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.db.errors import ForeignKeyViolation
from gateway.errors import BodyTooLarge, GatewayError, MethodNotAllowed, NotFound, ProjectNotFound
from gateway.telemetry.context import begin_request
from gateway.web.destination import DESTINATION
from gateway.web.keys import REQUEST_ID
from gateway.web.middleware.comeback import come_back, must_come_back
from gateway.web.middleware.paths import shown_path
from gateway.wire.codec import dump_foreign_json

logger = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
#: Bytes of a problem document, and characters of the detail if it would be larger.
MAX_PROBLEM, MAX_DETAIL = 16_384, 1000
_ALWAYS = ("type", "title", "status", "code", "detail", "instance", "requestId")
#: A request's id is its process's id and a number: a random one for each would cost a system call.
_PROCESS = secrets.token_hex(4)
_NUMBERS = itertools.count(1)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, and turn exceptions into responses."""
    request[REQUEST_ID] = request_id = f"{_PROCESS}{next(_NUMBERS):08x}"
    begin_request(request_id, request.match_info)
    try:
        if (wrong := request[DESTINATION].wrong) is not None:
            raise wrong
        response = await handler(request)
    except Exception as exc:
        if request.writer.output_size > 0:
            # The response has begun: aiohttp aborts the connection, so that it does not look complete.
            raise
        return _answer(request, _as_problem(request, exc))
    if not response.prepared:
        response.headers["X-Request-Id"] = request[REQUEST_ID]
    return response


def _answer(request: web.Request, exc: GatewayError) -> web.Response:
    if exc.status >= 500:
        logger.warning("request refused", extra={**_where(request), "code": exc.code, "reason": str(exc)})
    response = come_back(request) if must_come_back(request, exc) else _problem(request, exc)
    response.headers["X-Request-Id"] = request[REQUEST_ID]
    return response


def _problem(request: web.Request, exc: GatewayError) -> web.Response:
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": exc.title(),
        "status": exc.status,
        "code": exc.code,
        "detail": exc.detail or exc.title(),
        "instance": shown_path(request),
        "requestId": request[REQUEST_ID],
        **exc.members,
    }
    body = dump_foreign_json(problem) + b"\n"
    if len(body) > MAX_PROBLEM:
        # Long details quote clients or containers; the beginning says what is wrong.
        problem["detail"] = f"{problem['detail'][:MAX_DETAIL]}…"
        body = dump_foreign_json({name: problem[name] for name in _ALWAYS}) + b"\n"
    return web.Response(status=exc.status, body=body, content_type=PROBLEM, headers=exc.headers)


def _as_problem(request: web.Request, exc: Exception) -> GatewayError:
    match exc:
        case ForeignKeyViolation():
            # All foreign keys lead to the project.
            return ProjectNotFound("The project has been deleted meanwhile.")
        case GatewayError():
            return exc
        case web.HTTPRequestEntityTooLarge():
            return BodyTooLarge()
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(exc.allowed_methods))
            return MethodNotAllowed(
                f"{request.method} is not allowed here; allowed: {allowed}.", headers={hdrs.ALLOW: allowed}
            )
        case web.HTTPNotFound():
            return NotFound(f"There is no route {request.method} {shown_path(request)}.")
        case web.HTTPException():
            return _Http(exc.status, exc.reason)
        case _:
            logger.error("request failed", exc_info=exc, extra=_where(request))
            return GatewayError("This is a bug in the gateway; its log has details under the request's id.")


class _Http(GatewayError):
    """The request cannot be served."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status  # type: ignore[misc]  # one class for all other statuses of aiohttp
        self.code = "http_error"  # type: ignore[misc]


def _where(request: web.Request) -> dict[str, str]:
    return {"request": request[REQUEST_ID], "method": request.method, "path": shown_path(request)}
