"""OpenAI's device login, which is not RFC 8628: JSON bodies, and an authorization code in the end.

The provider makes the code's verifier itself, and gives both once the person has entered the code; they are exchanged
as in any other login, for an address of the provider's own.
"""

from urllib.parse import urlsplit, urlunsplit

import msgspec

from gateway.oauth.protocol.provider import Provider
from gateway.oauth.protocol.requests import Request

#: It does not say how long its codes last.
EXPIRES_SECONDS = 900.0
_HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}


def begin(provider: Provider) -> Request:
    body = msgspec.json.encode({"client_id": provider.client_id})
    return Request(url=provider.device_url, headers=_HEADERS, body=body)


def poll(provider: Provider, *, device_code: str, user_code: str) -> Request:
    body = msgspec.json.encode({"device_auth_id": device_code, "user_code": user_code})
    return Request(url=provider.device_token_url, headers=_HEADERS, body=body, secrets=(device_code,))


def redirect_uri(provider: Provider) -> str:
    """The address that its codes are made for."""
    parts = urlsplit(provider.token_url)
    return urlunsplit((parts.scheme, parts.netloc, "/deviceauth/callback", "", ""))
