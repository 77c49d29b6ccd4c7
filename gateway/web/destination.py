"""Classifies a request once, by host, route and target; later code uses the result.

On a project's own host (``gateway.identity.sites``) every path is forwarded to the container. On the gateway's host the
route table decides: ``/api/projects/{id}/acp/…`` is forwarded to the container's ACP port (4097) and
``/api/projects/{id}/opencode/…`` to OpenCode (4096), unless we have a handler for it. The rest of the path and the
query reach the container byte for byte.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import unquote

import attrs
from aiohttp import hdrs, web

from gateway.errors import BadRequest
from gateway.identity.roles import Role
from gateway.identity.room import IDENTITY
from gateway.identity.sites import UNNAMED, Asked
from gateway.stream.dialects import OPENCODE, OWN, Dialect
from gateway.web.apidoc.endpoint import Endpoint
from gateway.wire.hosts import parse_host

#: RFC 9112 3.2.2: sent to proxies, but servers must accept it too.
_ABSOLUTE_FORM = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
#: A request target (RFC 9112 3.2) whose fourth path segment names the port, perhaps in absolute form.
_TARGET = re.compile(r"(?:https?://[^/?]*)?(?:/[^/?]+){3}/([^/?]+)(.*)", re.DOTALL | re.IGNORECASE)
_ORIGIN_FORM = re.compile(r"(?:https?://[^/?]*)?(/.*)", re.DOTALL | re.IGNORECASE)
#: Matches at least all paths that are forwarded, however the router splits them.
_BELOW = re.compile(r"/api/projects/.+?/(?:acp|opencode)(?:/|\Z)", re.DOTALL)

#: The names of the routes that answer with one of our event streams, and its dialect. Those of OpenCode's streams are
#: called as these; we serve them from the log if the project records them.
_STREAMS: Mapping[str, Dialect] = {"project_events": OWN, "session_events": OWN, **OPENCODE}
#: The names of the routes for probes and metrics, which need no identity.
_OPERATIONS: Final = frozenset({"healthz", "readyz", "metrics"})
#: Labels in metrics: a path without a route, and everything on a project's own host.
UNMATCHED: Final = "unmatched"
OWN_HOST: Final = "project-host"

ENDPOINT_OF = web.AppKey("endpoint_of", dict[web.AbstractRoute, Endpoint])

Port = Literal["acp", "opencode"]


@attrs.frozen(kw_only=True)
class Target:
    """Where to forward: the port, the raw path and query, and the prefix that was removed."""

    port: Port
    raw: str
    prefix: str


@attrs.frozen(kw_only=True)
class Destination:
    """What a request is for."""

    asked: Asked
    #: In metrics.
    label: str
    #: None if no route matches, and on a project's own host.
    endpoint: Endpoint | None = None
    #: As named in the request; the project may not exist.
    project_id: str | None = None
    #: Where it is forwarded to, unless one of our handlers answers.
    target: Target | None = None
    #: Whether a container may answer it on the gateway's own host.
    is_below: bool = False
    #: Why the request is ambiguous.
    wrong: BadRequest | None = None

    @property
    def on_own_host(self) -> bool:
        """Whether the host is the project's own."""
        return self.asked.project_id is not None

    @property
    def is_public(self) -> bool:
        return self.endpoint is not None and self.endpoint.is_public

    @property
    def least_role(self) -> Role:
        """The minimum role in the project."""
        if self.on_own_host:
            return Role.OPERATOR
        return (self.endpoint.role if self.endpoint is not None else None) or Role.VIEWER

    @property
    def is_operations(self) -> bool:
        """Whether it is a probe or a scrape, which has no account and uses any address."""
        return self.endpoint is not None and self.endpoint.name in _OPERATIONS

    @property
    def stream(self) -> Dialect | None:
        """The dialect of the event stream that it opens, if it opens one."""
        return None if self.endpoint is None else _STREAMS.get(self.endpoint.name or "")


DESTINATION = web.RequestKey("destination", Destination)


def destination_of(request: web.Request) -> Destination:
    """Classify a request; nothing is looked up in the database."""
    route = request.match_info.route
    resource = route.resource
    label = UNMATCHED if resource is None else resource.canonical
    is_below = _BELOW.match(request.path) is not None
    try:
        asked = _asked(request)
    except BadRequest as exc:
        return Destination(asked=UNNAMED, label=label, is_below=is_below, wrong=exc)
    if asked.project_id is not None:
        found = _ORIGIN_FORM.fullmatch(request.raw_path)
        target = Target(port="opencode", raw=found[1] if found else "/", prefix="")
        return Destination(asked=asked, label=OWN_HOST, project_id=asked.project_id, target=target)
    endpoint, project_id = request.app[ENDPOINT_OF].get(route), request.match_info.get("project_id")
    return Destination(
        asked=asked,
        label=label,
        endpoint=endpoint,
        project_id=project_id,
        target=None if project_id is None else _below_prefix(project_id, request.raw_path),
        is_below=is_below,
    )


def _below_prefix(project_id: str, raw_path: str) -> Target | None:
    found = _TARGET.fullmatch(raw_path)
    if found is None:
        return None
    named = found[1] if "%" not in found[1] else unquote(found[1])
    if named not in ("acp", "opencode"):
        return None
    port: Port = "acp" if named == "acp" else "opencode"
    return Target(port=port, raw=found[2], prefix=f"/api/projects/{project_id}/{port}")


def _asked(request: web.Request) -> Asked:
    """The host that the request is addressed to; ``BadRequest`` if it is not clear."""
    field, target = request.headers.get(hdrs.HOST), request.raw_path
    if not target.startswith("/") and target != "*":
        field = _of_absolute_form(target, field)
    if field is None:
        return UNNAMED
    asked = request.app[IDENTITY].sites.asked(field)
    if asked is None:
        raise BadRequest(f"The Host {field[:100]!r} is not a host name with or without a port.")
    return asked


def _of_absolute_form(target: str, field: str | None) -> str:
    """The ``Host`` field, or else the host of the target. Only ``Host`` is checked and forwarded.

    RFC 9112 3.2.2: servers use the target; clients send the same host in both.
    """
    found = _ABSOLUTE_FORM.match(target)
    if found is None:
        raise BadRequest("The request's target must be a path, or begin with http:// or https://.")
    if parse_host(found[1]) is None:
        raise BadRequest("The request's target names no host.")
    return found[1] if field is None else field
