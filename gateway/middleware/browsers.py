"""What browsers may: the gateway's names, pages of other sites, and CORS for the pages that are allowed."""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gateway.errors import Forbidden
from gateway.middleware.hosts import project_of_host
from gateway.middleware.sites import SITES

_READING = {hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS}
#: What a page may send and read beyond what any page may (https://fetch.spec.whatwg.org/#cors-safelisted-request-header).
_SENT = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer"
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_READ = "X-Request-Id, Location, Retry-After, WWW-Authenticate, Preference-Applied"
#: For how long a browser need not ask again; none keeps it longer than two hours.
_PREFLIGHT_SECONDS = "7200"


@web.middleware
async def browsers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a web page of another site may be behind, before anybody is asked who they are."""
    sites = request.app[SITES]
    # Without the field (HTTP/1.0) no page asks, and request.host would be a blocking look-up of this machine's name.
    host = request.headers.get(hdrs.HOST, "localhost")
    if not sites.are_asked_by(host):
        # A foreign name that resolves to this machine is how a web page gets around the same-origin policy.
        raise Forbidden(
            f"The Host {host[:100]!r} is none of this gateway's; it has those of this machine, and the names (without "
            "ports) in identity.allowed_hosts."
        )
    origin = request.headers.get(hdrs.ORIGIN)
    if origin in sites.origins:
        if request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers:
            # It comes without credentials, so nobody can be asked who they are.
            return _preflight()
    elif request.method not in _READING or hdrs.UPGRADE in request.headers:
        _refuse_foreign_pages(request, origin, host)
    return await handler(request)


async def share(request: web.Request, response: web.StreamResponse) -> None:
    """Let an allowed page read the answer, of whatever kind (``on_response_prepare``). A container has no say in it."""
    origins = request.app[SITES].origins
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


def _refuse_foreign_pages(request: web.Request, origin: str | None, host: str) -> None:
    if origin is not None and not request.app[SITES].welcome(origin, host):
        raise Forbidden(f"Pages of {origin[:100]!r} may not change anything here.")
    if request.headers.get("Sec-Fetch-Site", "").lower() == "cross-site":
        raise Forbidden("Pages of other sites may not change anything here.")


def for_gateways_own_host(name: str) -> bool:
    """Whether a field of a container's answer would act on the gateway's own pages and cookies."""
    return name in _OWN or (name.startswith(_PREFIXES) and name != _BUFFERING)


def for_whoever_is_in_front(name: str) -> bool:
    """Whether a field of a container's answer decides who may read it, or commands a proxy in front of the gateway."""
    return name in _COMMANDS or (name.startswith(_PREFIXES) and name != _BUFFERING)


_PREFIXES = ("access-control-", "x-accel-")
#: How the answer is to be sent, which is the container's to say.
_BUFFERING = "x-accel-buffering"
_COMMANDS = frozenset({"x-sendfile", "x-lighttpd-send-file", "x-reproxy-url"})
_OWN = _COMMANDS | {"set-cookie", "clear-site-data", "service-worker-allowed", "strict-transport-security"}


def is_page_on_gateways_host(request: web.Request) -> bool:
    """Whether a browser would show the answer as a page that has the gateway's own origin.

    Browsers tell what they ask for on https and on this machine alone: elsewhere one that asks for pages may show any.
    """
    purpose = request.headers.get("Sec-Fetch-Dest")
    told = purpose in ("document", "iframe", "frame", "embed", "object")
    shown = told or (purpose is None and "text/html" in request.headers.get(hdrs.ACCEPT, ""))
    return shown and project_of_host(request.headers.get(hdrs.HOST, "")) is None
