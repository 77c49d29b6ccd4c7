"""The audit of a project."""

from aiohttp import web

from gateway.identity.room import IDENTITY
from gateway.web.handlers import shapes, views
from gateway.web.handlers.parameters import AFTER_PLACE
from gateway.web.handlers.requests import number, page_size
from gateway.web.keys import PROJECT


async def list_all(request: web.Request) -> web.Response:
    """Changes of the project and refused requests, newest first."""
    size = page_size(request)
    before = number(request, AFTER_PLACE)
    found = await request.app[IDENTITY].audit.page(request[PROJECT].id, before=before, limit=size + 1)
    page, after = views.listed([views.audit_entry(one) for one in found], size)
    return views.answer(shapes.AuditPage(entries=page, next=after))
