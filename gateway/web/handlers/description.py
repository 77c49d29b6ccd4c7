"""The OpenAPI document, and Swagger UI for it."""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Final

from aiohttp import web

from gateway.errors import NotFound
from gateway.web.handlers.files import PACKAGE, File, respond
from gateway.web.keys import API_DOCUMENT

#: Swagger UI as released (https://github.com/swagger-api/swagger-ui), and its start script.
PAGE: Final = PACKAGE / "apidoc" / "page"
INDEX: Final = "index.html"


async def openapi(request: web.Request) -> web.StreamResponse:
    """The OpenAPI document of this API."""
    # To write and pack it takes a tenth of a second, the first time.
    return respond(request, await asyncio.to_thread(_file, request.app[API_DOCUMENT]))


async def page(request: web.Request) -> web.StreamResponse:
    """Swagger UI."""
    return respond(request, (await _files())[INDEX])


async def page_file(request: web.Request) -> web.StreamResponse:
    """A file of Swagger UI."""
    name = request.match_info["name"]
    found = (await _files()).get(name)
    if found is None or name == INDEX:
        raise NotFound("The page has no such file.")
    return respond(request, found)


async def _files() -> dict[str, File]:
    # Compressing them takes a tenth of a second, the first time.
    return await asyncio.to_thread(_read_files)


@cache
def _read_files() -> dict[str, File]:
    return {path.name: File.read(path) for path in PAGE.iterdir()}


@cache
def _file(document: Callable[[], bytes]) -> File:
    return File.of(document(), "application/json")
