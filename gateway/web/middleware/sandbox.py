"""Whatever a container answers below the gateway's own host is never a page, or a script, of the gateway's origin.

That does not depend on what a request says of itself: a browser that has fetched something as data may show what it
has kept of it as a page later. So every answer below the prefix is sandboxed, of whatever kind and by whomever, and
none of them is kept.
"""

from typing import Final

from aiohttp import hdrs, web

from gateway.errors import Forbidden
from gateway.web.destination import DESTINATION

#: A page gets an origin of its own, and not the gateway's cookies and API.
_SANDBOX: Final = "sandbox allow-scripts allow-forms allow-popups allow-downloads"


async def sandbox(request: web.Request, response: web.StreamResponse) -> None:
    """``on_response_prepare``."""
    # What is refused before anybody looks at it, by its ``Expect``, may be for anything.
    if DESTINATION in request and not request[DESTINATION].is_below:
        return
    headers = response.headers
    headers["Content-Security-Policy"] = _SANDBOX
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if "no-store" not in headers.get(hdrs.CACHE_CONTROL, ""):
        headers[hdrs.CACHE_CONTROL] = "no-store"


def refuse_service_workers(request: web.Request) -> None:
    """A worker has the origin of its script's address, sandbox or not, and stays when its page is gone."""
    headers = request.headers
    if "Service-Worker" in headers or headers.get("Sec-Fetch-Dest") == "serviceworker":
        raise Forbidden("A container's script is no service worker of the gateway's host; its project's host may be.")
