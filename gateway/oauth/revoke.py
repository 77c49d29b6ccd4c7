"""Telling a provider that tokens are over. Here they are forgotten whatever it answers."""

import asyncio
import logging

import attrs

from gateway.errors import GatewayError
from gateway.oauth import requests
from gateway.oauth.answers import revocation_answer
from gateway.oauth.discovery import Discovery
from gateway.oauth.edge import Edge
from gateway.oauth.outcomes import Failure, Malformed, Refused, Unavailable
from gateway.oauth.provider import GITHUB, Provider
from gateway.tasks import Tasks

logger = logging.getLogger(__name__)

#: Seconds after which a provider that could not be had is told again; after the last one it is left.
RETRIES = (5.0, 30.0, 120.0, 600.0)
REVOKED, RETRYING, REFUSED, UNSUPPORTED = "revoked", "retrying", "refused", "unsupported"


@attrs.frozen(kw_only=True)
class Revoked:
    """What became of a revocation. ``outcome``: revoked, retrying, refused, or unsupported (it has no such call)."""

    outcome: str
    message: str


class Revocation:
    """Revokes tokens. What a provider could not be told at once is kept in memory and told it later, a few times."""

    def __init__(self, edge: Edge, discovery: Discovery) -> None:
        self._edge = edge
        self._discovery = discovery
        self._tasks = Tasks()

    async def revoke(self, provider: Provider, access_token: str, refresh_token: str | None) -> Revoked:
        """The refresh token first: with it a provider ends all that was granted."""
        try:
            provider = await self._discovery.completed(provider)
        except GatewayError as exc:
            self._later(provider, access_token, refresh_token)
            return Revoked(outcome=RETRYING, message=f"{exc} It is told again in a while.")
        if not provider.revoke_url or (provider.bodies.revoke == GITHUB and not provider.client_secret):
            where = f"take it away there if you want it gone: {provider.name} has no call for it"
            return Revoked(outcome=UNSUPPORTED, message=f"Forgotten here; {where}, or none that this gateway may use.")
        failure = await self._tell(provider, access_token, refresh_token)
        match failure:
            case None:
                return Revoked(outcome=REVOKED, message=f"Forgotten here, and over at {provider.name}.")
            case Unavailable(reason=reason):
                self._later(provider, access_token, refresh_token)
                message = f"Forgotten here. {provider.name} could not be told ({reason}) and is told again in a while."
                return Revoked(outcome=RETRYING, message=message)
            case Refused() | Malformed():
                said = failure.error if isinstance(failure, Refused) else failure.reason
                message = f"Forgotten here. {provider.name} did not take it back ({said}); do that there."
                return Revoked(outcome=REFUSED, message=message)

    def in_background(self, provider: Provider, access_token: str, refresh_token: str | None) -> None:
        """Tokens that nobody will ever use."""
        self._tasks.start(self._told(provider, access_token, refresh_token), name="revoke")

    async def close(self) -> None:
        await self._tasks.close()

    async def _told(self, provider: Provider, access_token: str, refresh_token: str | None) -> None:
        revoked = await self.revoke(provider, access_token, refresh_token)
        logger.info("unused tokens revoked", extra={"provider": provider.id, "outcome": revoked.outcome})

    async def _tell(self, provider: Provider, access_token: str, refresh_token: str | None) -> Failure | None:
        hinted = [(refresh_token, "refresh_token")] if refresh_token and provider.bodies.revoke != GITHUB else []
        failures = []
        for token, hint in (*hinted, (access_token, "access_token")):
            request = requests.revoke(provider, token=token, hint=hint)
            failure = revocation_answer(await self._edge.send(request), secrets=request.secrets)
            if isinstance(failure, Unavailable):
                return failure
            failures.append(failure)
        # Where the refresh token is over, all is: some take access tokens back by nothing but their end.
        return failures[0]

    def _later(self, provider: Provider, access_token: str, refresh_token: str | None) -> None:
        self._tasks.start(self._retry(provider, access_token, refresh_token), name="revoke again")

    async def _retry(self, provider: Provider, access_token: str, refresh_token: str | None) -> None:
        for wait in RETRIES:
            await asyncio.sleep(wait)
            try:
                completed = await self._discovery.completed(provider)
            except GatewayError:
                continue
            failure = await self._tell(completed, access_token, refresh_token)
            if not isinstance(failure, Unavailable):
                return
        logger.warning("tokens not revoked", extra={"provider": provider.id})
