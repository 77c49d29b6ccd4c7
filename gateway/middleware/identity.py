"""Who asks, and that it is not another site's page that uses this machine's browser."""

from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.config import is_loopback
from gateway.errors import Forbidden
from gateway.identity.caller import Presented
from gateway.keys import CALLER, IDENTITY, PUBLIC_ROUTES, USER
from gateway.middleware.hosts import project_of_host

#: Longer than any name of this machine.
MAX_ADDRESS = 300
_READING = {hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS}


@web.middleware
async def identity(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out who sends the request, unless it is another site's page that uses this machine's browser."""
    # Without the field (HTTP/1.0) no page asks, and request.host would be a blocking look-up of this machine's name.
    host = request.headers.get(hdrs.HOST, "localhost")
    if not _is_here(f"//{host}"):
        # A foreign name that resolves to this machine is how a web page gets around the same-origin policy.
        raise Forbidden(f"This gateway serves this machine only, not the host name {host[:100]!r}.")
    if request.method not in _READING or _is_upgrade(request):
        _refuse_foreign_pages(request)
    # On a project's own host every path is its container's.
    if request.match_info.route not in request.app[PUBLIC_ROUTES] or project_of_host(host) is not None:
        presented = Presented(headers=request.headers, peer=request.remote, to_loopback=True)
        caller = request[CALLER] = await request.app[IDENTITY].identify(presented)
        request[USER] = caller.user_id
    return await handler(request)


def _refuse_foreign_pages(request: web.Request) -> None:
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and not _is_welcome(origin, request.headers.get(hdrs.HOST, "")):
        raise Forbidden(f"Pages of {origin[:100]!r} may not change anything here.")
    if request.headers.get("Sec-Fetch-Site", "").lower() == "cross-site":
        raise Forbidden("Pages of other sites may not change anything here.")


def _is_welcome(origin: str, host: str) -> bool:
    """Whether a page of ``origin`` may ask ``host``. A container's page, on its project's host, may ask that alone."""
    try:
        page = urlsplit(origin)
        return _is_here(origin) and (page.netloc == host or project_of_host(page.netloc) is None)
    except ValueError:
        return False


def _is_here(address: str) -> bool:
    """Whether a URL names this machine, and in no way that could be read as another's."""
    return len(address) <= MAX_ADDRESS and _names_this_machine(address)


@lru_cache(maxsize=256)
def _names_this_machine(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return "@" not in parts.netloc and (
            is_loopback(parts.hostname or "") or project_of_host(parts.netloc) is not None
        )
    except ValueError:
        return False


def _is_upgrade(request: web.Request) -> bool:
    return hdrs.UPGRADE in request.headers
