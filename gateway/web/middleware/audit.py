"""Writes changes of projects, and refused requests, into the audit.

A request is a change by its method; if its handler says so, as for a login that returns by GET; and if a container
switches protocols, since what follows is not inspected.
"""

import asyncio

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.errors import GatewayError, Unauthenticated
from gateway.identity.audit import AuditOutcome, Entry
from gateway.identity.room import IDENTITY
from gateway.web.destination import DESTINATION
from gateway.web.keys import CALLER, CHANGED, PROJECT, REQUEST_ID
from gateway.web.middleware.paths import shown_path
from gateway.wire.codec import storable

_READING = {hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS}
MAX_PATH = 500
#: Refusals that may matter for security; others are mistakes of the client.
_TELLING = {401, 403, 429}


@web.middleware
async def audit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Record the request's outcome before it is answered."""
    changes = request.method not in _READING
    try:
        response = await handler(request)
        changes = changes or CHANGED in request
    except GatewayError as exc:
        _note_refusal(request, exc, changes)
        raise
    except Exception as exc:
        if changes and _project_of(request) is not None:
            status = exc.status if isinstance(exc, web.HTTPException) else 500
            request.app[IDENTITY].audit.put(_entry(request, _outcome(status), status, None))
        raise
    except asyncio.CancelledError:
        if changes and _project_of(request) is not None:
            request.app[IDENTITY].audit.put(_entry(request, "left", None, None))
        raise
    if changes and _project_of(request) is not None:
        await request.app[IDENTITY].audit.note(_entry(request, _outcome(response.status), response.status, None))
    return response


async def note_switch(request: web.Request, response: web.StreamResponse) -> None:
    """Record a WebSocket before it is open (``on_response_prepare``)."""
    if response.status == 101 and PROJECT in request:
        await request.app[IDENTITY].audit.note(_entry(request, "done", response.status, None))


def _note_refusal(request: web.Request, exc: GatewayError, changes: bool) -> None:
    project_id = _project_of(request)
    if isinstance(exc, Unauthenticated):
        # Requests without any credential are not recorded.
        is_noted = exc.error is not None
    else:
        is_noted = exc.status in _TELLING or exc.code == "project_not_found" or changes
        is_noted = is_noted and project_id is not None
    if is_noted:
        request.app[IDENTITY].audit.put(_entry(request, _outcome(exc.status), exc.status, exc.code))


def _entry(request: web.Request, outcome: AuditOutcome, status: int | None, code: str | None) -> Entry:
    caller, changed = request.get(CALLER), request.get(CHANGED)
    return Entry(
        project_id=_project_of(request),
        user_id=caller.user_id if caller else changed.user_id if changed else None,
        mode=caller.mode if caller else None,
        token_id=caller.token_id if caller else None,
        method=request.method,
        path=storable(shown_path(request)[:MAX_PATH]),
        outcome=outcome,
        status=status,
        code=code,
        address=request.app[IDENTITY].proxies.client_of(request.headers, request.remote),
        request_id=request[REQUEST_ID],
    )


def _outcome(status: int) -> AuditOutcome:
    return "done" if status < 400 else "refused" if status < 500 else "failed"


def _project_of(request: web.Request) -> str | None:
    """The id of the project in the request, which may not exist, or of the one just created."""
    if PROJECT in request:
        return request[PROJECT].id
    if CHANGED in request:
        return request[CHANGED].project_id
    project_id = request[DESTINATION].project_id
    return storable(project_id) if project_id is not None and len(project_id) <= 64 else None
