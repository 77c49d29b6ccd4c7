"""Responses of containers on the gateway's own host never become pages or scripts of the gateway's origin.

Every response below the prefix is sandboxed and not cached, whatever the request says: a browser may show as a page
what it once fetched as data.
"""

from typing import Final

from aiohttp import hdrs, web

from gateway.errors import Forbidden
from gateway.web.destination import DESTINATION

#: A page gets an opaque origin, without the gateway's cookies and API.
_SANDBOX: Final = "sandbox allow-scripts allow-forms allow-popups allow-downloads"


async def sandbox(request: web.Request, response: web.StreamResponse) -> None:
    """``on_response_prepare``."""
    # Requests refused for their ``Expect`` are not classified, so they count as below.
    if DESTINATION in request and not request[DESTINATION].is_below:
        return
    headers = response.headers
    if "Content-Security-Policy" in headers:
        # A handler's own, which is stricter: none of a container's is returned here.
        return
    headers["Content-Security-Policy"] = _SANDBOX
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if "no-store" not in headers.get(hdrs.CACHE_CONTROL, ""):
        headers[hdrs.CACHE_CONTROL] = "no-store"


def refuse_service_workers(request: web.Request) -> None:
    """A service worker has the origin of its script's address, sandboxed or not, and outlives its page."""
    headers = request.headers
    if "Service-Worker" in headers or headers.get("Sec-Fetch-Dest") == "serviceworker":
        raise Forbidden("Containers cannot register service workers on the gateway's host, only on the project's own.")
