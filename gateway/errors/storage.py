"""The database and the vault."""

from gateway.errors.base import GatewayError


class DatabaseUnavailable(GatewayError):
    """The database cannot be used right now."""

    status, code = 503, "database_unavailable"


class VaultNotConfigured(GatewayError):
    """This gateway has no key to seal secrets with."""

    status, code = 503, "vault_not_configured"

    def __init__(self) -> None:
        super().__init__(
            "This gateway has no key to seal secrets with, so it stores none. Its operator makes one with "
            '"acp-gateway key new --config FILE", where FILE names it as key_file of [vault], and starts the gateway '
            "again."
        )


class VaultKeyMissing(GatewayError):
    """The key that sealed this secret is not among this gateway's keys."""

    status, code = 503, "vault_key_missing"


class SecretUnreadable(GatewayError):
    """A stored secret cannot be opened; store it again."""

    status, code = 503, "secret_unreadable"
