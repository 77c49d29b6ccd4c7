"""The outcomes of calls to providers, as values."""

from datetime import datetime

import attrs


@attrs.frozen(kw_only=True)
class Granted:
    """Tokens; None for what the provider does not say."""

    access_token: str = attrs.field(repr=False)
    refresh_token: str | None = attrs.field(default=None, repr=False)
    expires_at: datetime | None = None
    refresh_expires_at: datetime | None = None
    scopes: tuple[str, ...] | None = None
    #: The user's name at the provider.
    subject: str | None = None


@attrs.frozen(kw_only=True)
class DeviceGranted:
    """A user code to show, and a device code to poll with."""

    device_code: str = attrs.field(repr=False)
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None = None
    expires_in: float
    interval: float


@attrs.frozen(kw_only=True)
class CodeGranted:
    """The end of a device login with an authorization code and the provider's PKCE verifier."""

    code: str = attrs.field(repr=False)
    verifier: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Waiting:
    """The user has not decided yet. ``interval``: seconds between polls, if the provider names them."""

    slow_down: bool = False
    interval: float | None = None


@attrs.frozen(kw_only=True)
class Refused:
    """The provider refused for good. ``error``: an error code of RFC 6749 or RFC 8628."""

    error: str
    #: The provider's explanation, safe to show: masked, short, without control characters.
    description: str = ""


@attrs.frozen(kw_only=True)
class Unavailable:
    """No decision; a retry may give one.

    ``unanswered``: the request may still have been carried out.
    """

    reason: str
    retry_after: float | None = None
    unanswered: bool = False


@attrs.frozen(kw_only=True)
class Malformed:
    """An invalid response; the request may have been carried out."""

    reason: str


Failure = Refused | Unavailable | Malformed
TokenAnswer = Granted | Waiting | Failure
