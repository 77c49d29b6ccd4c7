"""OpenAI's device login, which is not RFC 8628: it has JSON bodies and ends with an authorization code.

The provider makes the PKCE verifier, and returns it with the code once the user has entered the device code. They are
exchanged as usual, with a redirect URI of the provider.
"""

from urllib.parse import urlsplit, urlunsplit

import msgspec

from gateway.oauth.protocol.provider import Provider
from gateway.oauth.protocol.requests import Request

#: OpenAI does not say how long its codes are valid.
EXPIRES_SECONDS = 900.0
_HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}


def begin(provider: Provider) -> Request:
    body = msgspec.json.encode({"client_id": provider.client_id})
    return Request(url=provider.device_url, headers=_HEADERS, body=body)


def poll(provider: Provider, *, device_code: str, user_code: str) -> Request:
    body = msgspec.json.encode({"device_auth_id": device_code, "user_code": user_code})
    return Request(url=provider.device_token_url, headers=_HEADERS, body=body, secrets=(device_code,))


def redirect_uri(provider: Provider) -> str:
    """The redirect URI that its codes are bound to."""
    parts = urlsplit(provider.token_url)
    return urlunsplit((parts.scheme, parts.netloc, "/deviceauth/callback", "", ""))
