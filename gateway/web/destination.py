"""What a request is for: told once, from its host, its route and its target. Nobody behind this reads them again.

A request is addressed to the gateway or to a project's own host (``gateway.identity.sites``), where every path is the
container's. On the gateway's host the route table says whose it is: ``/api/projects/{id}/acp/…`` is for the container's
ACP port (4097), ``/api/projects/{id}/opencode/…`` for OpenCode's (4096), unless a handler of ours has it. The rest of
such a path and the query reach the container byte for byte.
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

#: RFC 9112 3.2.2: what a proxy is asked; a server must understand it, too.
_ABSOLUTE_FORM = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
#: A request target of RFC 9112 3.2: a path whose fourth part names the port, maybe behind a scheme and an authority.
_TARGET = re.compile(r"(?:https?://[^/?]*)?(?:/[^/?]+){3}/([^/?]+)(.*)", re.DOTALL | re.IGNORECASE)
#: The same without looking into the path.
_ORIGIN_FORM = re.compile(r"(?:https?://[^/?]*)?(/.*)", re.DOTALL | re.IGNORECASE)
#: More than is passed through, and nothing less: how a path is split into names is the router's affair.
_BELOW = re.compile(r"/api/projects/.+?/(?:acp|opencode)(?:/|\Z)", re.DOTALL)

#: The name of the route of OpenCode's own events, which are streamed as ours where a project records them.
OPENCODE_EVENTS: Final = "opencode_events"
#: The names of the routes whose answer is an event stream of ours, with what a client of it understands.
_STREAMS: Mapping[str | None, Dialect] = {"project_events": OWN, "session_events": OWN, OPENCODE_EVENTS: OPENCODE}
#: The names of the routes that operators' machinery asks, without identity.
_OPERATIONS: Final = frozenset({"healthz", "readyz", "metrics"})
#: How metrics call what has no route, and all of a container's OpenCode on its project's own host.
UNMATCHED: Final = "unmatched"
OWN_HOST: Final = "project-host"

#: Each route with its line of the table.
ENDPOINT_OF = web.AppKey("endpoint_of", dict[web.AbstractRoute, Endpoint])

Port = Literal["acp", "opencode"]


@attrs.frozen(kw_only=True)
class Target:
    """A place in a project's container: the port, the raw path and query there, and the prefix that was cut off."""

    port: Port
    raw: str
    prefix: str


@attrs.frozen(kw_only=True)
class Destination:
    """What a request is for."""

    #: What it is addressed to.
    asked: Asked
    #: How metrics call it.
    label: str
    #: Its line of the route table; None where no route fits, and on a project's own host, where none is meant.
    endpoint: Endpoint | None = None
    #: The project that is meant, whether or not there is one.
    project_id: str | None = None
    #: What it means in the project's container, unless a handler of ours has it.
    target: Target | None = None
    #: Whether its answer may be a container's, below the gateway's own host.
    is_below: bool = False
    #: Why it cannot be told for certain.
    wrong: BadRequest | None = None

    @property
    def on_own_host(self) -> bool:
        """Whether the host is the project's own, and every path there its container's."""
        return self.asked.project_id is not None

    @property
    def is_public(self) -> bool:
        """Whether it is answered without asking who asks."""
        return self.endpoint is not None and self.endpoint.is_public

    @property
    def least_role(self) -> Role:
        """What its caller must be in the project at least."""
        if self.on_own_host:
            return Role.OPERATOR
        return (self.endpoint.role if self.endpoint is not None else None) or Role.VIEWER

    @property
    def is_operations(self) -> bool:
        """Whether operators' machinery asks it, which has no account and calls by whatever address it has."""
        return self.endpoint is not None and self.endpoint.name in _OPERATIONS

    @property
    def stream(self) -> Dialect | None:
        """What its clients understand, where the answer is an event stream of ours or, unrecorded, of OpenCode's."""
        return None if self.endpoint is None else _STREAMS.get(self.endpoint.name)


DESTINATION = web.RequestKey("destination", Destination)


def destination_of(request: web.Request) -> Destination:
    """Nothing is looked up for it."""
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
    """What the request is addressed to, read strictly; ``BadRequest`` where it cannot be told for certain."""
    field, target = request.headers.get(hdrs.HOST), request.raw_path
    if not target.startswith("/") and target != "*":
        field = _of_absolute_form(target, field)
    if field is None:
        return UNNAMED
    asked = request.app[IDENTITY].sites.asked(field)
    if asked is None:
        raise BadRequest(f"The Host {field[:100]!r} is no host name with or without a port.")
    return asked


def _of_absolute_form(target: str, field: str | None) -> str:
    """The ``Host`` field, which alone is checked and told to containers; the target's host where there is none.

    RFC 9112 3.2.2 has a server believe the target, and has clients send the same in both.
    """
    found = _ABSOLUTE_FORM.match(target)
    if found is None:
        raise BadRequest("The request's target must be a path, or begin with http:// or https://.")
    if parse_host(found[1]) is None:
        raise BadRequest("The request's target names no host.")
    return found[1] if field is None else field
