"""What a provider's answer means, as values; whatever a provider sends becomes one of these."""

from datetime import datetime

import attrs


@attrs.frozen(kw_only=True)
class Granted:
    """Tokens. What the provider did not say is None."""

    access_token: str = attrs.field(repr=False)
    refresh_token: str | None = attrs.field(default=None, repr=False)
    expires_at: datetime | None = None
    refresh_expires_at: datetime | None = None
    scopes: tuple[str, ...] | None = None
    #: Whom the provider knows the user as.
    subject: str | None = None


@attrs.frozen(kw_only=True)
class DeviceGranted:
    """A code to show to a person, and one to ask with whether they have entered it."""

    device_code: str = attrs.field(repr=False)
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None = None
    expires_in: float
    interval: float


@attrs.frozen(kw_only=True)
class CodeGranted:
    """A device login that ends with an authorization code and the verifier that the provider made for it."""

    code: str = attrs.field(repr=False)
    verifier: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Waiting:
    """The person has not decided yet. ``interval``: seconds between questions, where the provider asks for its own."""

    slow_down: bool = False
    interval: float | None = None


@attrs.frozen(kw_only=True)
class Refused:
    """The provider said no, for good. ``error``: a word of RFC 6749 or RFC 8628, whatever the provider calls it."""

    error: str
    #: What it said beside that, fit to be shown: no secrets, no control characters, short.
    description: str = ""


@attrs.frozen(kw_only=True)
class Unavailable:
    """No answer that decides anything; asked again it may be another.

    ``unanswered``: the request may have been carried out all the same.
    """

    reason: str
    retry_after: float | None = None
    unanswered: bool = False


@attrs.frozen(kw_only=True)
class Malformed:
    """An answer that is none; whether the request was carried out cannot be told."""

    reason: str


Failure = Refused | Unavailable | Malformed
TokenAnswer = Granted | Waiting | Failure
