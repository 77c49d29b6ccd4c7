"""What a provider's failure means for a user: an error that says what went wrong and what to do."""

from gateway.errors import (
    DeviceFlowDisabled,
    GatewayError,
    LoginDenied,
    LoginExpired,
    LoginRefused,
    ProviderAnswerInvalid,
    ProviderMisconfigured,
    ProviderUnavailable,
)
from gateway.oauth.protocol.outcomes import Failure, Malformed, Refused, Unavailable
from gateway.oauth.protocol.provider import Provider

#: Errors that only the operator can fix.
OPERATORS = frozenset(
    {"invalid_client", "invalid_scope", "invalid_redirect_uri", "unsupported_grant_type", "unsupported_response_type",
     "invalid_request", "invalid_target"}
)  # fmt: skip
DENIED, EXPIRED, FAILED = "denied", "expired", "failed"


def verdict(failure: Failure, provider: Provider) -> GatewayError:
    """The error that a login ends with."""
    name = provider.name
    match failure:
        case Unavailable(reason=reason, retry_after=wait):
            headers = {"Retry-After": str(max(1, round(wait)))} if wait else {}
            return ProviderUnavailable(f"{name} is not to be had: {reason}. Start the login again.", headers=headers)
        case Malformed(reason=reason):
            return ProviderAnswerInvalid(f"{name}: {reason}. Start the login again; if it stays so, tell the operator.")
        case Refused(error="access_denied"):
            return LoginDenied(f"The login at {name} was declined there{_said(failure)}. Nothing has changed.")
        case Refused(error="expired_token"):
            return LoginExpired(f"The code for {name} was not entered in time; start the login again.")
        case Refused(error="device_flow_disabled"):
            return DeviceFlowDisabled(
                f"{name} has the login with a code switched off for this gateway; log in another way, or ask the "
                f"gateway's operator to switch it on there."
            )
        case Refused(error=error) if error in OPERATORS:
            return ProviderMisconfigured(f"{name} refuses this gateway: {error}{_said(failure)}. Tell its operator.")
        case Refused(error="invalid_grant"):
            return LoginRefused(
                f"{name} does not accept the code (used, expired, or of another login){_said(failure)}. "
                "Start the login again."
            )
        case Refused(error=error):
            return LoginRefused(f"{name} refused the login: {error}{_said(failure)}. Start it again.")


def outcome_of(error: GatewayError) -> str:
    """The login's state for an error."""
    if isinstance(error, LoginDenied):
        return DENIED
    return EXPIRED if isinstance(error, LoginExpired) else FAILED


def _said(failure: Refused) -> str:
    return f" ({failure.description})" if failure.description else ""
