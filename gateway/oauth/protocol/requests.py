"""Requests to providers as values: the authorization URL, and each call."""

from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import quote, quote_plus, urlencode, urlsplit, urlunsplit

import attrs
import msgspec

from gateway.oauth.protocol.pkce import Verifier
from gateway.oauth.protocol.provider import GITHUB, JSON, NO_PKCE, Provider

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@attrs.frozen(kw_only=True)
class Request:
    """A call to a provider. ``secrets``: values to mask in what is shown of the response."""

    method: str = "POST"
    url: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)


def authorize_url(
    provider: Provider, *, redirect_uri: str, state: str, verifier: Verifier, scopes: tuple[str, ...]
) -> str:
    """The authorization URL (RFC 6749 4.1.1, RFC 7636 4.3)."""
    asked = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(scopes),
        "state": state,
    }
    if provider.pkce != NO_PKCE:
        asked |= {"code_challenge": verifier.challenge, "code_challenge_method": "S256"}
    # The operator's parameters cannot override those that the login's security depends on.
    asked = {**provider.extra_authorize_params, **{name: value for name, value in asked.items() if value}}
    parts = urlsplit(provider.authorize_url)
    # Spaces as %20, because some servers do not decode "+".
    query = "&".join(filter(None, (parts.query, urlencode(asked, quote_via=quote))))
    return urlunsplit(parts._replace(query=query))


def exchange(provider: Provider, *, code: str, verifier: str | None, redirect_uri: str, state: str | None) -> Request:
    """The code exchange (RFC 6749 4.1.3, RFC 7636 4.5)."""
    sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
    if verifier is not None and provider.pkce != NO_PKCE:
        sent["code_verifier"] = verifier
    if provider.bodies.send_state and state is not None:
        sent["state"] = state
    secrets = tuple(filter(None, (code, verifier, state)))
    return _call(provider, provider.token_url, sent, provider.bodies.exchange, secrets)


def refresh(provider: Provider, *, refresh_token: str, scopes: tuple[str, ...]) -> Request:
    """The refresh (RFC 6749 6)."""
    sent = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    if provider.bodies.scope_on_refresh and scopes:
        sent["scope"] = " ".join(scopes)
    return _call(provider, provider.token_url, sent, provider.bodies.refresh, (refresh_token,))


def device_authorization(provider: Provider, *, scopes: tuple[str, ...]) -> Request:
    """The device authorization (RFC 8628 3.1)."""
    sent = {"scope": " ".join(scopes)} if scopes else {}
    return _call(provider, provider.device_url, sent, "form", ())


def device_poll(provider: Provider, *, device_code: str) -> Request:
    """A poll of a device login (RFC 8628 3.4)."""
    sent = {"grant_type": DEVICE_GRANT, "device_code": device_code}
    return _call(provider, provider.token_url, sent, "form", (device_code,))


def revoke(provider: Provider, *, token: str, hint: str) -> Request:
    """The revocation of a token (RFC 7009 2.1), or GitHub's own call for it."""
    if provider.bodies.revoke == GITHUB:
        url = provider.revoke_url.replace("{client_id}", quote(provider.client_id, safe=""))
        headers = {"Accept": "application/vnd.github+json", "Content-Type": "application/json"} | _basic(provider)
        body = msgspec.json.encode({"access_token": token})
        return Request(method="DELETE", url=url, headers=headers, body=body, secrets=(token, *provider.secrets))
    sent = {"token": token, "token_type_hint": hint}
    return _call(provider, provider.revoke_url, sent, provider.bodies.revoke, (token,))


def _call(provider: Provider, url: str, members: Mapping[str, str], encoding: str, secrets: tuple[str, ...]) -> Request:
    sent, headers = dict(members), {"Accept": "application/json"}
    if provider.client_secret and provider.client_auth == "basic":
        headers |= _basic(provider)
    else:
        sent["client_id"] = provider.client_id
        if provider.client_secret:
            sent["client_secret"] = provider.client_secret
    if encoding == JSON:
        headers["Content-Type"] = "application/json"
        body = msgspec.json.encode(sent)
    else:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(sent).encode()
    return Request(url=url, headers=headers, body=body, secrets=(*secrets, *provider.secrets))


def _basic(provider: Provider) -> dict[str, str]:
    # RFC 6749 2.3.1: each half is encoded as in a form before they are joined.
    pair = f"{quote_plus(provider.client_id)}:{quote_plus(provider.client_secret)}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
