"""Who asks. With no identity configured that is one local user, and only this machine can ask."""

from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.config import is_loopback
from gateway.errors import Forbidden
from gateway.keys import USER

LOCAL_USER = "local"
_READING = {hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS}


@web.middleware
async def identity(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take the request for the local user's, unless it is another site's that uses this machine's browser."""
    host = urlsplit(f"//{request.host}").hostname or ""
    if not is_loopback(host):
        # A foreign name that resolves to this machine is how a web page gets around the same-origin policy.
        raise Forbidden(f"This gateway serves this machine only, not the host name {host!r}.")
    if request.method not in _READING or _is_upgrade(request):
        _refuse_foreign_pages(request)
    request[USER] = LOCAL_USER
    return await handler(request)


def _refuse_foreign_pages(request: web.Request) -> None:
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and not is_loopback(urlsplit(origin).hostname or ""):
        raise Forbidden(f"Pages of {origin} may not change anything here.")
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        raise Forbidden("Pages of other sites may not change anything here.")


def _is_upgrade(request: web.Request) -> bool:
    return hdrs.UPGRADE in request.headers
