"""A line of the route table: who handles it, who may use it, what it takes and what it answers."""

from collections.abc import Mapping
from typing import Any, Literal

import attrs
from aiohttp.typedefs import Handler

from gateway.errors import GatewayError
from gateway.identity.roles import Role


@attrs.frozen(kw_only=True)
class Parameter:
    """A query parameter or a header of a request; ``kind`` is its type with its limits."""

    name: str
    kind: Any
    description: str
    place: Literal["query", "header"] = "query"


@attrs.frozen(kw_only=True)
class Content:
    """An answer that is no JSON, or JSON with headers of its own."""

    description: str
    #: One media type, or several to choose from.
    media_types: tuple[str, ...] = ("application/json",)
    kind: Any = str
    headers: tuple[str, ...] = ()
    #: Of a stream, the schema of what its events have in ``data``.
    item: str = "Event"


@attrs.frozen
class Endpoint:
    """One line of the route table. ``role``: the least that its caller must have in the project, None where there is
    no project to have one in. ``of_user``: it concerns what is its caller's own beyond one project, so their credential
    must be limited to no projects, and allow this role at least. ``is_public``: it answers anybody, without asking who
    they are.

    What follows is for the API's description, and what requests are held to: ``body``, the type of the body;
    ``parameters``; ``answers``, by status the type of the answer, ``Content``, or None for no body; and ``errors``,
    those that this endpoint alone can have (what comes with a project, a body, … in the path is added by itself).
    ``reaches_container``: it can fail as the container can.
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
    #: What it does, and its name, where its handler's do not say it.
    describes: str = attrs.field(default="", kw_only=True)
    operation_id: str = attrs.field(default="", kw_only=True)
    #: It is the container's to answer, beside ``answers`` of ours: whatever is asked is passed on.
    is_passed_on: bool = attrs.field(default=False, kw_only=True)

    @property
    def is_stream(self) -> bool:
        """Whether its answer is an event stream of ours."""
        kinds = [kind for kind in self.answers.values() if isinstance(kind, Content)]
        return any("text/event-stream" in kind.media_types for kind in kinds)

    @property
    def query(self) -> frozenset[str]:
        """The names of the query parameters that it knows."""
        return frozenset(one.name for one in self.parameters if one.place == "query")
