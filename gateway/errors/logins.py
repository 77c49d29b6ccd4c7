"""Between a person and the provider of their account."""

from typing import Final

from gateway.errors.base import GatewayError
from gateway.errors.requests import BadRequest, Conflict
from gateway.errors.storage import VaultNotConfigured


class NoLoginHere(Conflict):
    """There is no such way to log in for this agent."""

    code = "no_login_here"


class LoginError(BadRequest):
    """The login could not be completed."""

    code = "login_failed"


class LoginUnknown(LoginError):
    """This login is unknown, has been completed, or is somebody else's."""

    status, code = 404, "login_unknown"


class LoginUnreadable(LoginError):
    """What was pasted is no answer of a provider."""

    code = "login_unreadable"


class LoginIssuerMismatch(LoginError):
    """The answer comes from another provider than the one that was asked."""

    code = "login_issuer_mismatch"


class LoginRefused(LoginError):
    """The provider did not accept this login."""

    code = "login_refused"


class LoginDenied(LoginError):
    """The login was declined at the provider."""

    status, code = 403, "login_denied"


class LoginExpired(LoginError):
    """The login was not completed in time."""

    status, code = 410, "login_expired"


class LoginSuperseded(LoginError):
    """Another login has been started since."""

    status, code = 409, "login_superseded"


class LoginNotPending(LoginError):
    """No login of yours waits for a code here."""

    status, code = 409, "login_not_pending"


class LoginAmbiguous(LoginError):
    """More than one login of yours waits for a code."""

    status, code = 409, "login_ambiguous"


class ProviderError(GatewayError):
    """The provider of the account could not be used."""

    status, code = 502, "provider_error"


class ProviderAnswerInvalid(ProviderError):
    """The provider gave an answer that makes no sense."""

    code = "provider_answer_invalid"


class ProviderMisconfigured(ProviderError):
    """The provider does not accept this gateway as it is configured; its operator can mend that."""

    code = "provider_misconfigured"


class DeviceFlowDisabled(ProviderMisconfigured):
    """The provider has the login with a code switched off for this gateway."""

    code = "device_flow_disabled"


class ProviderUnavailable(ProviderError):
    """The provider cannot be used right now; try again later."""

    status, code = 503, "provider_unavailable"


#: Where an account is connected, whichever way.
ACCOUNT: Final = (NoLoginHere, VaultNotConfigured)
#: What goes wrong between a person and the provider of their account.
LOGIN: Final = (
    *(LoginError, LoginUnknown, LoginUnreadable, LoginIssuerMismatch, LoginRefused),
    *(LoginDenied, LoginExpired, LoginSuperseded, LoginNotPending, LoginAmbiguous),
)
PROVIDER: Final = (
    *(ProviderError, ProviderAnswerInvalid, ProviderMisconfigured),
    *(DeviceFlowDisabled, ProviderUnavailable),
)
