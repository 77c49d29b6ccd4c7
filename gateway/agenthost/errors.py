"""The agent host's own errors, in addition to `gateway.errors`."""

from typing import Any

from gateway.errors import GatewayError


class Unauthorized(GatewayError):
    """This agent host needs `Authorization: Bearer …` with its shared secret."""

    status, code = 401, "unauthorized"


class AgentFailed(GatewayError):
    """The agent could not be started, or answered what no client can use."""

    status, code = 502, "agent_failed"


class AgentDied(AgentFailed):
    """The agent's process ended."""

    code = "agent_died"


class AgentStopped(AgentFailed):
    """The agent was stopped."""

    code = "agent_stopped"


class AgentTimeout(GatewayError):
    """The agent did not answer in time."""

    status, code = 504, "agent_timeout"


class AuthRequired(GatewayError):
    """The agent needs a credential that it has not been given."""

    status, code = 403, "auth_required"


class AgentRefused(GatewayError):
    """The agent answered with an error."""

    status, code = 502, "agent_error"

    def __init__(self, detail: str, *, rpc_code: int, data: Any = None) -> None:
        super().__init__(detail)
        self.rpc_code = rpc_code
        self.data = data


class OutsideWorkspace(GatewayError):
    """The path leads out of the workspace."""

    status, code = 400, "outside_workspace"
