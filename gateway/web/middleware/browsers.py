"""Protects from web pages: checks the Host and the page's origin, and answers CORS for allowed origins."""

from collections.abc import Sequence

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.errors import Forbidden
from gateway.identity.room import IDENTITY
from gateway.identity.sites import ANY_SCHEME, Asked
from gateway.web.destination import DESTINATION
from gateway.wire.pages import foreign_page

_READING = {hdrs.METH_GET, hdrs.METH_HEAD}
#: Fields beyond the CORS-safelisted ones (https://fetch.spec.whatwg.org/#cors-safelisted-request-header).
_SENT = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer"
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_READ = "X-Request-Id, Location, Retry-After, WWW-Authenticate, Preference-Applied"
#: How long browsers cache a preflight; none caches longer than two hours.
_PREFLIGHT_SECONDS = "7200"


@web.middleware
async def browsers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests of pages of other origins, before authentication."""
    asked = request[DESTINATION].asked
    if not asked.is_known:
        # DNS rebinding: a foreign name that resolves to this machine.
        raise Forbidden(
            f"The Host '{asked.host}' is none of this gateway's: it answers to this machine's names and to those "
            "(without ports) in identity.allowed_hosts."
        )
    origins = request.headers.getall(hdrs.ORIGIN, [])
    if origins and request.app[IDENTITY].sites.origins.issuperset(origins):
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            # Preflights have no credentials.
            return _preflight()
    else:
        _refuse_other_pages(request, asked, origins)
    return await handler(request)


async def share(request: web.Request, response: web.StreamResponse) -> None:
    """Let allowed pages read the response (``on_response_prepare``); containers cannot."""
    origins = request.app[IDENTITY].sites.origins
    if not origins:
        return
    # Caches must not give one page's response to another.
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
    """GET is refused, too: in a container it may do anything, and scripts and images need no CORS."""
    sites = request.headers.getall("Sec-Fetch-Site", [])
    # With "same-origin" the browser has compared the schemes. Otherwise only a known proxy can tell that it
    # terminates TLS.
    is_compared = {site.lower() for site in sites} == {"same-origin"}
    schemes = ANY_SCHEME if is_compared else (browser_scheme(request),)

    def is_own(origin: str) -> bool:
        return request.app[IDENTITY].sites.welcome(origin, asked.host, schemes)

    page = foreign_page(origins, [] if _is_link(request) else sites, is_own)
    if page is not None:
        raise Forbidden(
            f"{page} may only link to this gateway. Pages of its own scheme, host and port may do more, and those in "
            "identity.allowed_origins; behind a proxy with TLS, set server.public_url."
        )


def _is_link(request: web.Request) -> bool:
    """Whether the browser navigates to it, as by a link."""
    headers = request.headers
    return (
        request.method in _READING
        and hdrs.UPGRADE not in headers
        and headers.get("Sec-Fetch-Mode") == "navigate"
        and headers.get("Sec-Fetch-Dest") == "document"
        and "prefetch" not in headers.get("Sec-Purpose", "")
    )


def browser_scheme(request: web.Request) -> str:
    """The scheme that the browser uses, as far as the gateway knows."""
    seen = request.app[IDENTITY].proxies.scheme_of(request.headers, request.remote, request.scheme)
    return request.app[IDENTITY].sites.scheme(request[DESTINATION].asked.host, seen)
