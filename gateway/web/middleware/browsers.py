"""What browsers may: the gateway's names, pages of other origins, and CORS for the pages that are allowed."""

from collections.abc import Sequence

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.errors import Forbidden
from gateway.identity.room import IDENTITY
from gateway.identity.sites import ANY_SCHEME, Asked
from gateway.web.destination import DESTINATION
from gateway.wire.pages import foreign_page

_READING = {hdrs.METH_GET, hdrs.METH_HEAD}
#: What a page may send and read beyond what any page may (https://fetch.spec.whatwg.org/#cors-safelisted-request-header).
_SENT = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer"
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_READ = "X-Request-Id, Location, Retry-After, WWW-Authenticate, Preference-Applied"
#: For how long a browser need not ask again; none keeps it longer than two hours.
_PREFLIGHT_SECONDS = "7200"


@web.middleware
async def browsers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a web page of another origin may be behind, before anybody is asked who they are."""
    asked = request[DESTINATION].asked
    if not asked.is_known:
        # A foreign name that resolves to this machine is how a web page gets around the same-origin policy.
        raise Forbidden(
            f"The Host '{asked.host}' is none of this gateway's; it has those of this machine, and the names (without "
            "ports) in identity.allowed_hosts."
        )
    origins = request.headers.getall(hdrs.ORIGIN, [])
    if origins and request.app[IDENTITY].sites.origins.issuperset(origins):
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            # It comes without credentials, so nobody can be asked who they are.
            return _preflight()
    else:
        _refuse_other_pages(request, asked, origins)
    return await handler(request)


async def share(request: web.Request, response: web.StreamResponse) -> None:
    """Let an allowed page read the answer, of whatever kind (``on_response_prepare``). A container has no say in it."""
    origins = request.app[IDENTITY].sites.origins
    if not origins:
        return
    # Whatever is between must not give one page's answer to another.
    response.headers.add(hdrs.VARY, hdrs.ORIGIN)
    origin = request.headers.get(hdrs.ORIGIN)
    if origin in origins:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_CREDENTIALS] = "true"
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _READ


def _preflight() -> web.Response:
    return web.Response(
        status=204,
        headers={
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: _METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _SENT,
            hdrs.ACCESS_CONTROL_MAX_AGE: _PREFLIGHT_SECONDS,
        },
    )


def _refuse_other_pages(request: web.Request, asked: Asked, origins: Sequence[str]) -> None:
    """Reading is refused, too: in a container a GET may do anything, and a script or an image is read as it is run."""
    sites = request.headers.getall("Sec-Fetch-Site", [])
    # A browser that says "same-origin" has compared the schemes. Else only a proxy that is known can tell that it has
    # taken TLS away.
    is_compared = {site.lower() for site in sites} == {"same-origin"}
    schemes = ANY_SCHEME if is_compared else (browser_scheme(request),)

    def is_own(origin: str) -> bool:
        return request.app[IDENTITY].sites.welcome(origin, asked.host, schemes)

    page = foreign_page(origins, [] if _is_link(request) else sites, is_own)
    if page is not None:
        raise Forbidden(
            f"{page} may do nothing here but link to this one. Pages of the gateway's own scheme, host and port may, "
            "and those in identity.allowed_origins; behind a proxy with TLS, set server.public_url."
        )


def _is_link(request: web.Request) -> bool:
    """Whether the browser opens a page of its own for it: what a link may do anywhere."""
    headers = request.headers
    return (
        request.method in _READING
        and hdrs.UPGRADE not in headers
        and headers.get("Sec-Fetch-Mode") == "navigate"
        and headers.get("Sec-Fetch-Dest") == "document"
        and "prefetch" not in headers.get("Sec-Purpose", "")
    )


def browser_scheme(request: web.Request) -> str:
    """The scheme by which the browser has asked, as far as it is known here."""
    seen = request.app[IDENTITY].proxies.scheme_of(request.headers, request.remote, request.scheme)
    return request.app[IDENTITY].sites.scheme(request[DESTINATION].asked.host, seen)
