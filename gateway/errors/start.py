"""On the command line, and never over HTTP."""

from gateway.errors.base import GatewayError


class ConfigError(GatewayError):
    """The configuration is wrong."""

    code = "config_error"


class StartError(GatewayError):
    """The program cannot start."""

    code = "start_error"


class UsageError(GatewayError):
    """The command cannot be done as it was given."""

    code = "usage_error"


class TokenNotFound(GatewayError):
    """There is no such API token."""

    code = "token_not_found"
