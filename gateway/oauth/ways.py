"""The ways to connect an account for an agent: at a provider, by a pasted credential, or by the agent's own login."""

from collections.abc import Sequence

import attrs

from gateway.credentials.store import API_KEY, TOKEN
from gateway.errors import NoLoginHere
from gateway.oauth.pending import AGENTS_OWN
from gateway.oauth.protocol.pasted import asked_for
from gateway.oauth.protocol.provider import Provider

PASTE_API_KEY, PASTE_TOKEN = "api_key", "paste_token"
_PASTES = {API_KEY: PASTE_API_KEY, TOKEN: PASTE_TOKEN}


@attrs.frozen(kw_only=True)
class Way:
    """One way: at ``provider``, or by a credential of ``token_type``, which ``asks`` describes."""

    flow: str
    provider: Provider | None = None
    token_type: str | None = None
    asks: str = ""


def ways_for(agent_id: str, providers: Sequence[Provider], kinds: Sequence[str]) -> list[Way]:
    """All ways, the preferred one first; the agent's own login is last."""
    at_providers = [Way(flow=flow, provider=provider) for provider in providers for flow in provider.usable_flows]
    pasted = [
        Way(flow=_PASTES[kind], token_type=kind, asks=asked_for(agent_id, kind)) for kind in kinds if kind in _PASTES
    ]
    return [*at_providers, *pasted, Way(flow=AGENTS_OWN)]


def chosen(ways: Sequence[Way], *, flow: str | None, provider_id: str | None) -> Way:
    """The first way that matches; ``NoLoginHere`` lists the existing ones."""
    for way in ways:
        fits_provider = provider_id is None or (way.provider is not None and way.provider.id == provider_id)
        if flow in (None, way.flow) and fits_provider:
            return way
    known = ", ".join(f"{way.flow} at {way.provider.id}" if way.provider else way.flow for way in ways)
    raise NoLoginHere(f"There is no such way to log in for this agent. There are: {known}.")
