"""Tickets: how a browser's ``EventSource`` opens an event stream without sending a header."""

import attrs
from aiohttp import web

from gateway.handlers import shapes, views
from gateway.handlers.requests import read_body
from gateway.identity.passes import StreamOf
from gateway.keys import CALLER, PASSES, PROJECT, SESSIONS


@attrs.frozen(kw_only=True)
class TicketBody:
    """What ``POST …/events/ticket`` takes: the session whose stream is meant; without one, the project's own."""

    session_id: str | None = None


async def issue(request: web.Request) -> web.Response:
    """A ticket for one event stream, good once and for half a minute; the stream is opened at ``url``."""
    body = await read_body(request, TicketBody)
    if body.session_id is not None:
        await request.app[SESSIONS].get(request[PROJECT].id, body.session_id)
    stream = StreamOf(request[PROJECT].id, body.session_id)
    ticket, until = await request.app[PASSES].issue(request[CALLER], stream)
    shown = shapes.Ticket(ticket=ticket, expires_at=until, url=f"{stream.path}?ticket={ticket}")
    return views.answer(shown, status=201, headers={"Cache-Control": "no-store"})
