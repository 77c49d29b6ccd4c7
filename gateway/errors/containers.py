"""What comes of a call to a project's container."""

from typing import Final

from gateway.errors.base import GatewayError
from gateway.errors.requests import BadRequest, Conflict, NotFound


class UpstreamError(GatewayError):
    """The project's container could not be used."""

    status, code = 502, "upstream_error"
    #: There was no connection: what was to be sent has had no effect for certain.
    unsent = False


class UpstreamUnreachable(UpstreamError):
    """The project's container could not be reached."""

    code = "upstream_unreachable"


class UpstreamForbidden(UpstreamError):
    """The project's container is at an address that this gateway does not connect to."""

    code = "upstream_forbidden"
    unsent = True


class UpstreamFailed(UpstreamError):
    """The project's container answered with an error."""

    code = "upstream_failed"


class UpstreamRefused(UpstreamError):
    """The project's container refused the connection."""

    status, code = 503, "upstream_refused"
    unsent = True


class UpstreamTimeout(UpstreamError):
    """The project's container did not answer in time."""

    status, code = 504, "upstream_timeout"


class AgentUnavailable(UpstreamError):
    """The agent's program is not installed in the project's container."""

    status, code = 503, "agent_unavailable"


class AgentNotFound(NotFound):
    """The project's container knows no such agent."""

    code = "agent_not_found"


class RefusedByContainer(BadRequest):
    """The project's container does not take this."""

    code = "refused_by_container"


class ConflictInContainer(Conflict):
    """The request does not fit the present state of the project's container."""

    code = "conflict_in_container"


#: What a container may say to a call that it was given, beside failing.
REFUSALS: Final = (RefusedByContainer, ConflictInContainer)
