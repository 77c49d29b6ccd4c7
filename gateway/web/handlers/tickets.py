"""Tickets, with which a browser's ``EventSource`` or ``WebSocket`` opens a stream without a header."""

import re
from typing import Final

import attrs
from aiohttp import web

from gateway.errors import InsufficientRole, InvalidBody
from gateway.identity.roles import Role
from gateway.identity.room import IDENTITY
from gateway.identity.stream_tickets import StreamOf
from gateway.sessions.room import SESSIONS
from gateway.web.handlers import shapes, views
from gateway.web.handlers.requests import read_body
from gateway.web.keys import CALLER, PASSTHROUGH_TICKET, PROJECT, ROLE, STREAM_TICKET
from gateway.wire.opencode import EVENT_STREAMS

#: A forwarded path (RFC 3986 3.3), without a query.
_PATH = re.compile(r"/(opencode|acp)/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{1,500}")
#: The streams of OpenCode that a project may record.
_RECORDED: Final = frozenset(f"/opencode{stream.path}" for stream in EVENT_STREAMS.values())


@attrs.frozen(kw_only=True)
class TicketBody:
    """Body of ``POST …/events/ticket``: a session, or the path of a container's stream or WebSocket below the project;
    without either, the project's stream."""

    session_id: str | None = None
    path: str | None = None


async def issue(request: web.Request) -> web.Response:
    """Issue a ticket for one stream, valid once for 30 seconds. Open the stream at ``url``."""
    body = await read_body(request, TicketBody)
    if body.path is not None:
        stream, parameter = _passed_through(request, body), PASSTHROUGH_TICKET
    else:
        if body.session_id is not None:
            await request.app[SESSIONS].sessions.get(request[PROJECT].id, body.session_id)
        stream, parameter = StreamOf.events(request[PROJECT].id, body.session_id), STREAM_TICKET
    ticket, until = await request.app[IDENTITY].stream_tickets.issue(request[CALLER], stream)
    shown = shapes.Ticket(ticket=ticket, expires_at=until, url=f"{stream.path}?{parameter}={ticket}")
    return views.answer(shown, status=201, headers={"Cache-Control": "no-store"})


def _passed_through(request: web.Request, body: TicketBody) -> StreamOf:
    if body.session_id is not None:
        raise InvalidBody("$: give either sessionId or path")
    if body.path is None or not _PATH.fullmatch(body.path) or "/.." in body.path:
        raise InvalidBody(
            "$.path: must be a path below the project, such as /opencode/event, percent-encoded and without a query"
        )
    is_recorded = body.path in _RECORDED and request[PROJECT].record_opencode_events
    if request[ROLE] < Role.OPERATOR and not is_recorded:
        role, needed = request[ROLE].word, Role.OPERATOR.word
        raise InsufficientRole(
            f"Streams of the container need the role {needed}; yours is {role}.", role=role, needed=needed
        )
    return StreamOf.passed_through(request[PROJECT].id, f"/api/projects/{request[PROJECT].id}{body.path}")
