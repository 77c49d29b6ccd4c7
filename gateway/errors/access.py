"""Who asks, and what they may do."""

from gateway.errors.base import GatewayError


class Unauthenticated(GatewayError):
    """The gateway does not know who asks."""

    status, code = 401, "unauthenticated"

    def __init__(self, detail: str, *, error: str | None = None) -> None:
        """``error``: what is wrong with a credential that was shown, by RFC 6750 3.1."""
        self.error = error
        challenge = 'Bearer realm="acp-gateway"' + (f', error="{error}"' if error else "")
        super().__init__(detail, headers={"WWW-Authenticate": challenge})


class IdentityUnavailable(GatewayError):
    """Who asks cannot be found out just now."""

    status, code = 503, "identity_unavailable"


class SignInLinkGone(GatewayError):
    """The sign-in link has been used, has expired, or was ended by a start of the gateway; print another."""

    status, code = 410, "sign_in_link_gone"


class Forbidden(GatewayError):
    """This is not allowed."""

    status, code = 403, "forbidden"


class InsufficientRole(Forbidden):
    """The caller's role in this project does not allow this."""

    code = "insufficient_role"


class TokenLimited(Forbidden):
    """The API token is limited to some projects, and this concerns all that its user has."""

    code = "token_limited"
