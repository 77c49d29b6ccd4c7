"""Refuses unknown query parameters, because a mistyped one would silently change nothing."""

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import InvalidParameter
from gateway.web.destination import DESTINATION


@web.middleware
async def parameters(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse query parameters that the route table does not name."""
    endpoint = request[DESTINATION].endpoint
    if request.query_string and endpoint is not None and not endpoint.is_public and not endpoint.is_passed_on:
        _check(request, endpoint.query)
    return await handler(request)


def _check(request: web.Request, known: frozenset[str]) -> None:
    unknown = next((name for name in request.query if name not in known), None)
    if unknown is not None:
        there = " and ".join(f"?{name}=" for name in sorted(known))
        told = f"there {'are' if len(known) > 1 else 'is'} {there}" if known else "there are none"
        raise InvalidParameter(f"?{unknown[:40]}= is unknown here; {told}.")
