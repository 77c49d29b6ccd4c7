"""The configured providers: presets, overridden by tables of the same name, and further ones."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from gateway.agenthost.catalogue import canonical
from gateway.config.schema import OAuthConfig, ProviderConfig
from gateway.errors import ConfigError
from gateway.oauth.protocol import provider as words
from gateway.oauth.protocol.answers import is_loopback_name, is_web_address
from gateway.oauth.protocol.presets import GENERIC, PRESETS
from gateway.oauth.protocol.provider import (
    DEVICE,
    FLOWS,
    FORM,
    GITHUB,
    JSON,
    OPENAI_DEVICE,
    PKCE,
    REDIRECT_MODES,
    Provider,
)

logger = logging.getLogger(__name__)

_CHOICES = {
    "client_auth": ("body", "basic"),
    "pkce": (words.S256, words.NO_PKCE),
    "redirect_mode": REDIRECT_MODES,
}
_BODIES = {"exchange": (FORM, JSON), "refresh": (FORM, JSON), "revoke": (FORM, JSON, GITHUB)}
_ADDRESSES = ("authorize_url", "token_url", "device_url", "device_token_url", "verification_url", "revoke_url")
#: The settings that each flow requires.
_NEEDS = {
    PKCE: ("authorize_url", "token_url"),
    DEVICE: ("device_url", "token_url"),
    OPENAI_DEVICE: ("device_url", "device_token_url", "verification_url", "token_url"),
}


class Providers:
    """All configured providers by id, enabled or not."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = dict(providers)

    def change(self, others: "Providers") -> None:
        self._providers = dict(others._providers)

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._providers.values())

    def get(self, provider_id: str | None) -> Provider | None:
        """The provider with this id, enabled or not: its tokens are still refreshed and revoked."""
        return None if provider_id is None else self._providers.get(provider_id)

    def serving(self, agent_id: str) -> list[Provider]:
        """The enabled providers for this agent, in the order of the configuration."""
        names = {agent_id, canonical(agent_id)}
        return [provider for provider in self if provider.is_on and not names.isdisjoint(provider.agents)]


def configured(tables: Mapping[str, ProviderConfig], config: OAuthConfig) -> Providers:
    """The configured providers; a ``ConfigError`` names every wrong table and setting, and what would be right."""
    own = {name: _merged(name, table) for name, table in tables.items()}
    wrong = [
        f"providers.{name}.{flaw}"
        for name, one in own.items()
        for flaw in _flaws(one, allow_http_loopback=config.allow_http_loopback)
    ]
    if wrong:
        raise ConfigError("; ".join(wrong))
    for one in own.values():
        if one.client_id and one.policy_note:
            said = "provider is on" if one.is_on else "provider is off"
            logger.warning(said, extra={"provider": one.id, "note": one.policy_note})
    return Providers(own | {name: preset for name, preset in PRESETS.items() if name not in own})


def _merged(name: str, table: ProviderConfig) -> Provider:
    preset = PRESETS.get(name) or attrs.evolve(PRESETS[GENERIC], id=name, name=name)
    given = _given(table, without=("body", "expiry"))
    return attrs.evolve(
        preset,
        **given,
        bodies=attrs.evolve(preset.bodies, **_given(table.body)),
        expiry=attrs.evolve(preset.expiry, **_given(table.expiry)),
    )


def _given(table: Any, without: tuple[str, ...] = ()) -> dict[str, Any]:
    names = (field.name for field in attrs.fields(type(table)) if field.name not in without)
    return {name: value for name in names if (value := getattr(table, name)) is not None}


def _flaws(one: Provider, *, allow_http_loopback: bool) -> Iterator[str]:
    for name, choices in _CHOICES.items():
        if getattr(one, name) not in choices:
            yield f"{name}: must be one of {', '.join(choices)}, not {getattr(one, name)!r}"
    for name, choices in _BODIES.items():
        if getattr(one.bodies, name) not in choices:
            yield f"body.{name}: must be one of {', '.join(choices)}, not {getattr(one.bodies, name)!r}"
    if unknown := [flow for flow in one.flows if flow not in FLOWS] or ([] if one.flows else ["none"]):
        yield f"flows: must be some of {', '.join(FLOWS)}, not {unknown[0]!r}"
    for name in (*_ADDRESSES, "issuer"):
        if (address := getattr(one, name)) and (flaw := flaw_of_address(address, allow_http_loopback)):
            yield f"{name}: {flaw}"
    if one.redirect_uri and not is_web_address(one.redirect_uri):
        yield f"redirect_uri: must be an https:// address, or an http:// one of this machine, not {one.redirect_uri!r}"
    if one.enabled and one.client_id:
        yield from _missing(one)


def _missing(one: Provider) -> Iterator[str]:
    """The settings that an enabled provider lacks."""
    if one.discover and not one.issuer and not one.token_url:
        yield "issuer: missing; its metadata says where the provider is asked, or name authorize_url and token_url"
    if not one.discover or not one.issuer:
        needed = dict.fromkeys(name for flow in one.flows for name in _NEEDS.get(flow, ()))
        yield from (f"{name}: missing" for name in needed if not getattr(one, name))
    if one.pastes and not one.redirect_uri:
        yield f"redirect_uri: missing; redirect_mode {one.redirect_mode} ends there"
    if one.require_iss and not one.issuer:
        yield "issuer: missing; require_iss compares with it"
    if not one.usable_flows:
        yield "client_secret: missing; the provider's login in the browser works with one only"
    if not one.agents:
        yield "agents: missing; name those that its tokens are for"
    if one.bodies.revoke == GITHUB and one.revoke_url and not one.client_secret and PKCE in one.usable_flows:
        yield "client_secret: missing; github's revocation needs it"


def flaw_of_address(address: str, allow_http_loopback: bool) -> str | None:
    """Why the gateway does not call this address, or None."""
    parts = urlsplit(address.replace("{client_id}", "x"))
    if not is_web_address(address.replace("{client_id}", "x")) or "@" in parts.netloc or parts.fragment:
        return f"must be an https:// address, not {address!r}"
    if parts.scheme != "https" and not (allow_http_loopback and is_loopback_name(parts.hostname or "")):
        return f"must be an https:// address, not {address!r} (see oauth.allow_http_loopback)"
    return None
