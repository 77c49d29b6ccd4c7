"""The console's static files. They contain no data: the page calls the API."""

import asyncio
from functools import cache
from typing import Final

from aiohttp import hdrs, web

from gateway.errors import NotFound
from gateway.web.handlers.files import PACKAGE, POLICY, File, respond

HOME: Final = PACKAGE / "console"
INDEX: Final = "index.html"
#: Type declarations for the checks of the sources.
_NOT_SERVED: Final = {".ts", ".mts"}
#: No string becomes HTML or script, so agents' text cannot run.
CONSOLE_POLICY: Final = f"{POLICY}; require-trusted-types-for 'script'; trusted-types 'none'"


@cache
def files() -> dict[str, File]:
    """All files of the console by relative path. The first call compresses them, which takes a while."""
    paths = (path for path in HOME.rglob("*") if path.is_file() and path.suffix not in _NOT_SERVED)
    return {path.relative_to(HOME).as_posix(): File.read(path) for path in paths}


async def page(request: web.Request) -> web.Response:
    """The console's page."""
    return respond(request, (await asyncio.to_thread(files))[INDEX], policy=CONSOLE_POLICY)


async def file(request: web.Request) -> web.Response:
    """A file of the console."""
    path = request.match_info["path"]
    if not path:
        return _to("../console")
    found = (await asyncio.to_thread(files)).get(path)
    if found is None or path == INDEX:
        raise NotFound("The console has no such file.")
    return respond(request, found, policy=CONSOLE_POLICY)


async def home(request: web.Request) -> web.Response:
    """Redirect to the console."""
    return _to("console")


def _to(path: str) -> web.Response:
    # Relative, for proxies that strip a prefix.
    return web.Response(status=302, headers={hdrs.LOCATION: path, hdrs.CACHE_CONTROL: "no-cache"})
