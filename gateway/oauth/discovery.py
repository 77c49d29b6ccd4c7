"""A provider's endpoints from its metadata (OpenID Connect Discovery 1.0, RFC 8414)."""

import asyncio
from collections.abc import Mapping
from typing import Any

import attrs

from gateway.errors import ProviderAnswerInvalid, ProviderUnavailable
from gateway.oauth.configured import flaw_of_address
from gateway.oauth.edge import Edge
from gateway.oauth.protocol.provider import Provider
from gateway.oauth.protocol.replies import NoReply, Reply, members_of
from gateway.oauth.protocol.requests import Request

#: How long metadata is cached.
REMEMBER_SECONDS = 3600.0
_NAMES = {
    "authorize_url": "authorization_endpoint",
    "token_url": "token_endpoint",
    "device_url": "device_authorization_endpoint",
    "revoke_url": "revocation_endpoint",
}


class Discovery:
    """Completes providers with their metadata."""

    def __init__(self, edge: Edge, *, allow_http_loopback: bool) -> None:
        self._edge = edge
        self._allow_http_loopback = allow_http_loopback
        self._known: dict[str, tuple[Mapping[str, Any], float]] = {}

    async def completed(self, provider: Provider) -> Provider:
        """The provider with its endpoints. Raises ``ProviderUnavailable`` or ``ProviderAnswerInvalid``."""
        if not provider.discover or not provider.issuer:
            return provider
        found = await self._metadata(provider)
        given = {
            name: found[member] for name, member in _NAMES.items() if not getattr(provider, name) and member in found
        }
        for name, address in given.items():
            flaw = flaw_of_address(address, self._allow_http_loopback) if isinstance(address, str) else "no address"
            if flaw:
                raise ProviderAnswerInvalid(f"The metadata of {provider.name} has a {_NAMES[name]} that {flaw}.")
        says_iss = found.get("authorization_response_iss_parameter_supported") is True
        completed = attrs.evolve(provider, **given, require_iss=provider.require_iss or says_iss)
        if not completed.token_url:
            raise ProviderAnswerInvalid(f"The metadata of {provider.name} has no token_endpoint.")
        return completed

    async def _metadata(self, provider: Provider) -> Mapping[str, Any]:
        now = asyncio.get_running_loop().time()
        known = self._known.get(provider.issuer)
        if known is not None and known[1] > now:
            return known[0]
        url = f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration"
        reply = await self._edge.send(Request(method="GET", url=url, headers={"Accept": "application/json"}))
        found = metadata_of(reply, provider)
        self._known[provider.issuer] = (found, now + REMEMBER_SECONDS)
        return found


def metadata_of(reply: Reply | NoReply, provider: Provider) -> Mapping[str, Any]:
    """The metadata if it is the issuer's own (RFC 8414 3.3), since another's could redirect secrets."""
    if isinstance(reply, NoReply):
        raise ProviderUnavailable(f"The metadata of {provider.name} is not to be had: {reply.reason}.")
    found = members_of(reply) if reply.status == 200 else None
    if found is None:
        raise ProviderAnswerInvalid(f"{provider.name} answered {reply.status} where its metadata should be.")
    if found.get("issuer") != provider.issuer:
        raise ProviderAnswerInvalid(f"The metadata of {provider.name} is another issuer's than {provider.issuer!r}.")
    return found
