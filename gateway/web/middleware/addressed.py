"""What a request is addressed to, read once and strictly; nobody behind this reads the ``Host`` field."""

import re

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.errors import BadRequest
from gateway.identity.room import IDENTITY
from gateway.identity.sites import UNNAMED, Asked
from gateway.web.keys import ASKED
from gateway.wire.hosts import parse_host

#: RFC 9112 3.2.2: what a proxy is asked; a server must understand it, too.
_ABSOLUTE_FORM = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)


@web.middleware
async def addressed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a request whose host cannot be told for certain."""
    request[ASKED] = _asked(request)
    return await handler(request)


def _asked(request: web.Request) -> Asked:
    field, target = request.headers.get(hdrs.HOST), request.raw_path
    if not target.startswith("/") and target != "*":
        field = _of_absolute_form(target, field)
    if field is None:
        return UNNAMED
    asked = request.app[IDENTITY].sites.asked(field)
    if asked is None:
        raise BadRequest(f"The Host {field[:100]!r} is no host name with or without a port.")
    return asked


def _of_absolute_form(target: str, field: str | None) -> str:
    """The ``Host`` field, which alone is checked and told to containers; the target's host where there is none.

    RFC 9112 3.2.2 has a server believe the target, and has clients send the same in both.
    """
    found = _ABSOLUTE_FORM.match(target)
    if found is None:
        raise BadRequest("The request's target must be a path, or begin with http:// or https://.")
    if parse_host(found[1]) is None:
        raise BadRequest("The request's target names no host.")
    return found[1] if field is None else field
