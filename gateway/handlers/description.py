"""The API's description of itself."""

from functools import lru_cache

from aiohttp import web

from gateway.handlers.files import File, respond
from gateway.keys import API_DOCUMENT


async def openapi(request: web.Request) -> web.StreamResponse:
    """The OpenAPI document of this API."""
    return respond(request, _file(request.app[API_DOCUMENT]))


@lru_cache(maxsize=1)
def _file(document: bytes) -> File:
    return File.of(document, "application/json")
