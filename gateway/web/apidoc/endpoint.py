"""A line of the route table: handler, authorization, request and responses."""

from collections.abc import Mapping
from typing import Any, Literal

import attrs
from aiohttp.typedefs import Handler

from gateway.errors import GatewayError
from gateway.identity.roles import Role


@attrs.frozen(kw_only=True)
class Parameter:
    """A query parameter or header of a request; ``kind`` is its type with limits."""

    name: str
    kind: Any
    description: str
    place: Literal["query", "header"] = "query"


@attrs.frozen(kw_only=True)
class Content:
    """A response that is not JSON, or JSON with extra headers."""

    description: str
    media_types: tuple[str, ...] = ("application/json",)
    kind: Any = str
    headers: tuple[str, ...] = ()
    #: Of an event stream: the schema of the events' ``data``.
    item: str = "Event"


@attrs.frozen
class Endpoint:
    """One line of the route table.

    ``role``: the minimum role in the project; None if the path names no project. ``of_user``: it concerns what the
    caller owns outside one project, so the credential must not be limited to projects and must allow at least this
    role. ``is_public``: no authentication.

    For the API's description and the checks of requests: ``body``, its type; ``parameters``; ``answers``, by status a
    type, ``Content``, or None for no body; ``errors`` that only this endpoint has (those that come with a project, a
    body, … are added). ``reaches_container``: container errors are possible.
    """

    method: str
    path: str
    handler: Handler
    role: Role | None
    name: str | None = None
    is_public: bool = False
    of_user: Role | None = attrs.field(default=None, kw_only=True)
    body: type | None = attrs.field(default=None, kw_only=True)
    parameters: tuple[Parameter, ...] = attrs.field(default=(), kw_only=True)
    answers: Mapping[int, Any] = attrs.field(factory=dict, kw_only=True)
    errors: tuple[type[GatewayError], ...] = attrs.field(default=(), kw_only=True)
    reaches_container: bool = attrs.field(default=False, kw_only=True)
    #: In place of what is derived from the handler.
    operation_id: str = attrs.field(default="", kw_only=True)
    #: Requests are forwarded; the container's response comes beside our ``answers``.
    is_passed_on: bool = attrs.field(default=False, kw_only=True)

    @property
    def is_stream(self) -> bool:
        """Whether it answers with one of our event streams."""
        kinds = [kind for kind in self.answers.values() if isinstance(kind, Content)]
        return any("text/event-stream" in kind.media_types for kind in kinds)

    @property
    def query(self) -> frozenset[str]:
        """The names of its query parameters."""
        return frozenset(one.name for one in self.parameters if one.place == "query")
