"""Which header fields of a request reach a container, and which of a container's answer reach whoever asked.

What a container gets is named here, whatever way callers are identified: single sign-on proxies add tokens and names
of users under names of their own, and no list of those is ever whole. So is what comes back on the gateway's own host:
browsers keep many fields for a whole origin, and learn new ones every year. On its project's own host a container has
an origin to itself, so there only that is kept back which reaches beyond it.
"""

from functools import lru_cache
from typing import Final

from aiohttp import hdrs
from multidict import CIMultiDict

from gateway.config.schema import MAX_FIELD_NAME
from gateway.errors import UpstreamUnreachable
from gateway.proxy.answer import Answer
from gateway.proxy.headers import Passes, to_client
from gateway.web.middleware.cookies import for_browser

#: What a client says of its message, of the answer that it wants, of the trace and the page that it is part of.
_TO_CONTAINER: Final = frozenset(
    {
        # RFC 9110 8, 9530: the body.
        *("content-type", "content-length", "content-encoding", "content-language", "content-location"),
        *("content-range", "content-disposition", "content-digest", "content-md5", "digest", "repr-digest"),
        # RFC 9110 12 to 14: which answer.
        *("accept", "accept-charset", "accept-encoding", "accept-language", "range", "if-range"),
        *("if-match", "if-none-match", "if-modified-since", "if-unmodified-since"),
        *("want-content-digest", "want-digest", "want-repr-digest", "prefer", "priority", "save-data"),
        # RFC 9110 7 and 10, 9111: who asks, and on which ways.
        *("user-agent", "referer", "origin", "date", "via", "max-forwards", "cache-control", "pragma"),
        *("dnt", "sec-gpc", "sec-purpose", "purpose", "upgrade-insecure-requests"),
        *("access-control-request-headers", "access-control-request-method", "service-worker"),
        # Event streams, calls that are sent again, traces.
        *("last-event-id", "idempotency-key", "traceparent", "tracestate", "x-request-id", "x-correlation-id"),
        # What pages set so that no foreign form can be behind a request.
        *("x-requested-with", "x-csrf-token", "x-csrftoken", "x-xsrf-token"),
        # RFC 4918: WebDAV.
        *("depth", "destination", "if", "lock-token", "overwrite", "timeout"),
    }
)
#: Browsers' own fields, which no page can set; and those of OpenCode, ACP and MCP.
_PREFIXES_TO_CONTAINER: Final = ("sec-fetch-", "sec-ch-", "sec-websocket-", "x-opencode-", "acp-", "mcp-")
#: Which page a request comes from has been looked at here, and an agent host answers none: it is asked by the gateway.
_OF_PAGES: Final = frozenset({"origin", "sec-fetch-"})
#: With these a client is told that what it has stored is still right.
_CONDITIONS: Final = frozenset({"if-none-match", "if-modified-since"})

#: What an answer says of itself and of nothing else.
_ON_GATEWAYS_HOST: Final = frozenset(
    {
        *("content-type", "content-length", "content-encoding", "content-language", "content-location"),
        *("content-range", "content-disposition", "content-digest", "content-md5", "digest", "repr-digest"),
        *("accept-patch", "accept-post", "accept-ranges", "allow", "date", "etag", "last-modified", "location"),
        *("preference-applied", "retry-after", "server", "vary", "via", "warning", "deprecation", "sunset"),
        *("ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"),
        *("x-request-id", "x-correlation-id", "x-next-cursor", "dav", "lock-token"),
        # Whether a proxy in front may hold a stream back, which the container knows best.
        "x-accel-buffering",
    }
)
_PREFIXES_ON_GATEWAYS_HOST: Final = ("sec-websocket-", "x-opencode-", "acp-", "mcp-")

#: What reaches beyond the origin that a project's host is.
_KEPT_FROM_PROJECTS_HOST: Final = frozenset(
    {
        # Credentials are the gateway's to ask for; a container is not sent them.
        *("www-authenticate", "authentication-info"),
        # Who may read an answer, or show it in a page, is the gateway's to say.
        *("cross-origin-resource-policy", "timing-allow-origin"),
        # Connections are the gateway's, or those of the proxy in front of it.
        *("alt-svc", "strict-transport-security", "public-key-pins", "public-key-pins-report-only", "expect-ct"),
        # Kept for longer than a project has its name, and with subdomains.
        *("nel", "report-to"),
        # Takes the cookies of all hosts below the same registrable domain.
        "clear-site-data",
        # Commands to a proxy or a cache in front of the gateway; and below.
        *("x-sendfile", "x-lighttpd-send-file", "x-reproxy-url", "x-reproxy-file"),
        *("cache-tag", "edge-cache-tag", "edge-control"),
    }
)
_PREFIXES_KEPT_FROM_PROJECTS_HOST: Final = (
    *("access-control-", "proxy-"),
    *("surrogate-", "x-accel-", "x-envoy-", "x-litespeed-"),
)
_BUFFERING: Final = "x-accel-buffering"
#: RFC 9213: a cache's own ``Cache-Control``, under its own name.
_CACHES_OWN: Final = "cdn-cache-control"
_REMEMBERED: Final = 1024


@lru_cache(maxsize=8)
def to_container(added: tuple[str, ...], *, conditional: bool, page: bool) -> Passes:
    """Which fields a container gets: those that are known, and those that the operator has ``added``.

    ``conditional``: whether it may answer that what its client has stored is still right. ``page``: whether it is told
    which page a request comes from.
    """
    names = _TO_CONTAINER | {name.lower() for name in added}
    names = names if conditional else names - _CONDITIONS
    names = names if page else names - _OF_PAGES
    prefixes = tuple(prefix for prefix in _PREFIXES_TO_CONTAINER if page or prefix not in _OF_PAGES)
    return _remembering(lambda name: name in names or name.startswith(prefixes))


def on_gateways_host(answer: Answer) -> CIMultiDict[str]:
    """An answer as it may come below the gateway's own host, where none is to be kept; see ``sandbox``."""
    if answer.status == 304:
        # Nobody has asked whether anything has changed. A browser would take what it stored before this rule was here.
        raise UpstreamUnreachable("The project's container answered 304 to a request without a condition.")
    headers = to_client(answer.headers, passes=_passes_on_gateways_host)
    if "no-transform" in answer.headers.get(hdrs.CACHE_CONTROL, "").lower():
        headers[hdrs.CACHE_CONTROL] = "no-store, no-transform"
    return headers


def on_projects_host(answer: Answer, *, is_marked: bool) -> CIMultiDict[str]:
    """An answer as it may come on the project's own host; ``is_marked``: see ``cookies``."""
    headers = to_client(answer.headers, passes=_passes_on_projects_host)
    headers.add("Cross-Origin-Resource-Policy", "same-origin")
    # Who may have it is decided anew for each request.
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
    """What has been decided, by a name as it was spelled: looked up for each field of each request."""

    def __init__(self, decide: Passes) -> None:
        super().__init__()
        self._decide = decide

    def __missing__(self, name: str) -> bool:
        passes = self._decide(name.lower())
        # Anybody can invent names.
        if len(self) < _REMEMBERED and len(name) <= MAX_FIELD_NAME:
            self[name] = passes
        return passes


def _remembering(decide: Passes) -> Passes:
    """``decide``, which takes names in lower case, for names in any."""
    return _Remembered(decide).__getitem__


_passes_on_gateways_host = _remembering(_is_for_gateways_host)
_passes_on_projects_host = _remembering(_is_for_projects_host)
