"""Which header fields are forwarded to containers, and which of a container's response to the client.

Requests: an allow list, because single sign-on proxies add users' names and tokens in fields that nobody can list.
Responses on the gateway's host: an allow list, because many fields affect a whole origin, and browsers add new ones.
Responses on a project's own host, which is an origin of its own: a deny list of what has effects beyond that origin.
"""

from functools import lru_cache
from typing import Final

from aiohttp import hdrs, web
from multidict import CIMultiDict

from gateway.config.schema import MAX_FIELD_NAME
from gateway.errors import UpstreamUnreachable
from gateway.proxy.answer import Answer
from gateway.proxy.headers import Passes, to_client
from gateway.web.middleware.cookies import for_browser

#: Fields about the message, the wanted response, tracing, and the page that the request is part of.
_TO_CONTAINER: Final = frozenset(
    {
        # RFC 9110 8, 9530: the body.
        *("content-type", "content-length", "content-encoding", "content-language", "content-location"),
        *("content-range", "content-disposition", "content-digest", "content-md5", "digest", "repr-digest"),
        # RFC 9110 12 to 14: the wanted response.
        *("accept", "accept-charset", "accept-encoding", "accept-language", "range", "if-range"),
        *("if-match", "if-none-match", "if-modified-since", "if-unmodified-since"),
        *("want-content-digest", "want-digest", "want-repr-digest", "prefer", "priority", "save-data"),
        # RFC 9110 7 and 10, 9111: the client and the route.
        *("user-agent", "referer", "origin", "date", "via", "max-forwards", "cache-control", "pragma"),
        *("dnt", "sec-gpc", "sec-purpose", "purpose", "upgrade-insecure-requests"),
        *("access-control-request-headers", "access-control-request-method", "service-worker"),
        # Event streams, idempotent retries, tracing.
        *("last-event-id", "idempotency-key", "traceparent", "tracestate", "x-request-id", "x-correlation-id"),
        # Protection against cross-site request forgery.
        *("x-requested-with", "x-csrf-token", "x-csrftoken", "x-xsrf-token"),
        # RFC 4918: WebDAV.
        *("depth", "destination", "if", "lock-token", "overwrite", "timeout"),
    }
)
#: Fields that only browsers set, and those of OpenCode, ACP and MCP.
_PREFIXES_TO_CONTAINER: Final = ("sec-fetch-", "sec-ch-", "sec-websocket-", "x-opencode-", "acp-", "mcp-")
#: About the requesting page. The gateway has checked it, and agent hosts refuse pages.
_OF_PAGES: Final = frozenset({"origin", "sec-fetch-"})
#: They lead to 304 responses.
_CONDITIONS: Final = frozenset({"if-none-match", "if-modified-since"})

#: Fields about the response alone.
_ON_GATEWAYS_HOST: Final = frozenset(
    {
        *("content-type", "content-length", "content-encoding", "content-language", "content-location"),
        *("content-range", "content-disposition", "content-digest", "content-md5", "digest", "repr-digest"),
        *("accept-patch", "accept-post", "accept-ranges", "allow", "date", "etag", "last-modified", "location"),
        *("preference-applied", "retry-after", "server", "vary", "via", "warning", "deprecation", "sunset"),
        *("ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
        *("x-request-id", "x-correlation-id", "x-next-cursor", "dav", "lock-token"),
        # Whether a proxy in front may buffer the response, which the container knows best.
        "x-accel-buffering",
    }
)
_PREFIXES_ON_GATEWAYS_HOST: Final = ("sec-websocket-", "x-opencode-", "acp-", "mcp-")

#: Fields with effects beyond the project's host.
_KEPT_FROM_PROJECTS_HOST: Final = frozenset(
    {
        # The gateway authenticates; containers do not get credentials.
        *("www-authenticate", "authentication-info"),
        # The gateway decides which pages may read or embed a response.
        *("cross-origin-resource-policy", "timing-allow-origin"),
        # Connections belong to the gateway or the proxy in front of it.
        *("alt-svc", "strict-transport-security", "public-key-pins", "public-key-pins-report-only", "expect-ct"),
        # May outlive the project's name, and cover subdomains.
        *("nel", "report-to"),
        # Deletes the cookies of all hosts of the registrable domain.
        "clear-site-data",
        # Commands to a proxy or cache in front of the gateway; also among the prefixes.
        *("x-sendfile", "x-lighttpd-send-file", "x-reproxy-url", "x-reproxy-file"),
        *("cache-tag", "edge-cache-tag", "edge-control"),
    }
)
_PREFIXES_KEPT_FROM_PROJECTS_HOST: Final = (
    *("access-control-", "proxy-"),
    *("surrogate-", "x-accel-", "x-envoy-", "x-litespeed-"),
)
_BUFFERING: Final = "x-accel-buffering"
#: RFC 9213: a cache's own ``Cache-Control``, with the cache's name before it.
_CACHES_OWN: Final = "cdn-cache-control"
_REMEMBERED: Final = 1024


@lru_cache(maxsize=8)
def to_container(added: tuple[str, ...], *, conditional: bool, page: bool) -> Passes:
    """Which fields a container gets: known ones, and those that the operator has ``added``.

    ``conditional``: including conditions, which allow 304. ``page``: including those about the requesting page.
    """
    names = _TO_CONTAINER | {name.lower() for name in added}
    names = names if conditional else names - _CONDITIONS
    names = names if page else names - _OF_PAGES
    prefixes = tuple(prefix for prefix in _PREFIXES_TO_CONTAINER if page or prefix not in _OF_PAGES)
    return _remembering(lambda name: name in names or name.startswith(prefixes))


def has_condition(request: web.Request) -> bool:
    """Whether the client has an answer stored that a 304 would bring back."""
    return not _CONDITIONS.isdisjoint(name.lower() for name in request.headers)


def on_gateways_host(answer: Answer, *, has_condition: bool) -> CIMultiDict[str]:
    """The response's fields on the gateway's own host, where nothing may be cached; see ``sandbox``.

    ``has_condition``: of the client's request; it has not been forwarded.
    """
    if answer.status == 304 and has_condition:
        # A browser would use what it has stored, with the policy that this had.
        raise UpstreamUnreachable("The project's container answered 304 to a request without a condition.")
    headers = to_client(answer.headers, passes=_passes_on_gateways_host)
    if "no-transform" in answer.headers.get(hdrs.CACHE_CONTROL, "").lower():
        headers[hdrs.CACHE_CONTROL] = "no-store, no-transform"
    return headers


def on_projects_host(answer: Answer, *, is_marked: bool) -> CIMultiDict[str]:
    """The response's fields on the project's own host; ``is_marked``: see ``cookies``."""
    headers = to_client(answer.headers, passes=_passes_on_projects_host)
    headers.add("Cross-Origin-Resource-Policy", "same-origin")
    # Access is checked for each request.
    headers.add(hdrs.CACHE_CONTROL, "private")
    for cookie in answer.headers.getall(hdrs.SET_COOKIE, ()):
        headers.extend((hdrs.SET_COOKIE, one) for one in for_browser(cookie, is_marked=is_marked))
    return headers


def _is_for_gateways_host(name: str) -> bool:
    return name in _ON_GATEWAYS_HOST or name.startswith(_PREFIXES_ON_GATEWAYS_HOST)


def _is_for_projects_host(name: str) -> bool:
    if name == _BUFFERING:
        return True
    return not (
        name in ("set-cookie", "set-cookie2")
        or name in _KEPT_FROM_PROJECTS_HOST
        or name.startswith(_PREFIXES_KEPT_FROM_PROJECTS_HOST)
        or name.endswith(_CACHES_OWN)
    )


class _Remembered(dict[str, bool]):
    """Decisions by name as spelled; looked up for each field of each request."""

    def __init__(self, decide: Passes) -> None:
        super().__init__()
        self._decide = decide

    def __missing__(self, name: str) -> bool:
        passes = self._decide(name.lower())
        # Bounded, since clients can invent names.
        if len(self) < _REMEMBERED and len(name) <= MAX_FIELD_NAME:
            self[name] = passes
        return passes


def _remembering(decide: Passes) -> Passes:
    """``decide``, which takes lower-case names, for names in any case."""
    return _Remembered(decide).__getitem__


_passes_on_gateways_host = _remembering(_is_for_gateways_host)
_passes_on_projects_host = _remembering(_is_for_projects_host)
